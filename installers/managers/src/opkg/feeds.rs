//! The dependencies of an installation, from the feeds of the device. opkg resolves and downloads them before the run that
//! installs them: that run knows a feed of downloaded packages alone, so opkg marks them as dependencies.
//!
//! opkg works on a copy of the lists, since it deletes a list whose signature it does not accept. It checks the signature of
//! each feed that it takes a package of. Each file must be the one of that feed's list, by SHA-256: opkg is often built
//! without that.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use wharf_frames::{
    Cause, Failure, PackageName,
    installer::{Dependency, SealedPackage},
};
use wharf_root::{Root, process};

use super::{
    complaint,
    configuration::{Configuration, Feeds},
    downloads::{Downloaded, Downloads, package},
    files,
    index::{self, Offer},
    manager::{Opkg, configuration, unreadable},
    plan,
    run::Ran,
};
use crate::{Dependencies, Supervisor, addresses};

/// An order that needs packages of feeds.
#[derive(Clone, Copy)]
pub(super) struct Needy<'a> {
    pub(super) package: &'a SealedPackage,
    /// Its file, as a program in the root sees it.
    pub(super) inside: &'a Path,
    /// The options for opkg.
    pub(super) options: &'a str,
    /// The failure without feeds. It names what is missing.
    pub(super) missing: &'a Failure,
}

/// The feeds of the device at this time, and a folder for one attempt.
struct Attempt {
    configuration: Configuration,
    downloads: Downloads,
}

/// A package that has to come, and who offers it.
struct Coming {
    name: PackageName,
    offers: Vec<Offer>,
}

impl Opkg {
    /// Downloads what this order needs. Stale lists are fetched again once. Returns whether they were.
    pub(super) fn downloaded(
        &self,
        needy: Needy<'_>,
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<(Downloads, bool), Failure> {
        let told = |failure: &Failure| {
            Failure::new(
                failure.cause,
                needy.missing.detail.followed_by(&failure.detail),
            )
        };
        let first = match self.download(needy, dependencies, supervisor) {
            Ok(downloads) => return Ok((downloads, false)),
            Err(failure) if failure.cause != Cause::Dependency => return Err(failure),
            Err(failure) => failure,
        };
        supervisor.go_on()?;
        let fetched = self.run_by(&configuration(&self.root)?, Feeds::Fetched, |it| {
            it.fetch(&[OsStr::new("update")], supervisor.is_wanted, &|| None)
        })?;
        let printed = addresses::without_paths(&fetched.printed);
        (supervisor.printed)("opkg", &printed);
        match self.download(needy, dependencies, supervisor) {
            Ok(downloads) => Ok((downloads, true)),
            Err(failure) if failure.cause == Cause::Dependency && fetched.code != Some(0) => {
                // opkg may have lost the lists that tell who has the packages.
                let away = complaint::failure("opkg update", &printed);
                let detail = first.detail.followed_by(&away.detail);
                Err(told(&Failure::new(Cause::Dependency, detail)))
            }
            Err(failure) if failure.cause == Cause::Dependency => Err(told(&failure)),
            Err(failure) => Err(failure),
        }
    }

    /// The packages that would come with this order, by the lists as they are. The best offer counts.
    pub(super) fn offered(&self, needy: Needy<'_>) -> Result<Vec<Dependency>, Failure> {
        let coming = self.resolved(needy, &self.attempt()?)?;
        let best = coming.into_iter().filter_map(|it| {
            let version = it.offers.into_iter().next()?.version;
            Some(Dependency {
                name: it.name,
                version,
            })
        });
        Ok(best.collect())
    }

    fn download(
        &self,
        needy: Needy<'_>,
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Downloads, Failure> {
        supervisor.go_on()?;
        let attempt = self.attempt()?;
        let coming = self.resolved(needy, &attempt)?;
        let Attempt {
            configuration,
            mut downloads,
        } = attempt;
        let planned = coming.iter().filter_map(|it| {
            Some(Dependency {
                name: it.name.clone(),
                version: it.offers.first()?.version.clone(),
            })
        });
        // A plan that policy refuses costs no data.
        dependencies.permit(&planned.collect::<Vec<_>>())?;
        let sizes = coming
            .iter()
            .map(|it| it.offers.iter().filter_map(|it| it.size).max());
        let announced = sizes.flatten().fold(0_u64, u64::saturating_add);
        let room = downloads.room().map_err(|error| no_folder(&error))?;
        if announced > room {
            let detail =
                format!("the dependencies have {announced} bytes, and there is room for {room}");
            return Err(Failure::new(Cause::DiskFull, detail));
        }
        let fetched = self.fetched(needy, &configuration, &downloads, announced, supervisor)?;
        let printed = addresses::without_paths(&fetched.printed);
        (supervisor.printed)("opkg", &printed);
        if fetched.code != Some(0) {
            return Err(not_downloaded(&coming, &printed));
        }
        let mut paragraphs = String::new();
        for it in coming {
            let (package, paragraph) = self.taken(&downloads, it, &fetched.printed)?;
            paragraphs += &paragraph;
            downloads.packages.push(package);
        }
        downloads
            .finish(&paragraphs)
            .map_err(|error| no_folder(&error))?;
        Ok(downloads)
    }

    /// Lets opkg download, at most what the lists announce.
    fn fetched(
        &self,
        needy: Needy<'_>,
        configuration: &Configuration,
        downloads: &Downloads,
        announced: u64,
        supervisor: Supervisor<'_>,
    ) -> Result<Ran, Failure> {
        let fetched_to = downloads.folder.join("fetched");
        let refuses = || {
            let entries = fs::read_dir(&fetched_to).into_iter().flatten().flatten();
            let lengths = entries.filter_map(|it| it.metadata().ok().map(|it| it.len()));
            let length = lengths.fold(0_u64, u64::saturating_add);
            (length > announced.saturating_add(1 << 20)).then(|| {
                let detail = "a feed sends more bytes than its list announces";
                Failure::new(Cause::PackageManager, detail)
            })
        };
        let words = needy.options.split_whitespace().map(OsStr::new);
        let words: Vec<&OsStr> = [OsStr::new("--download-only")]
            .into_iter()
            .chain(words)
            .chain([OsStr::new("install"), needy.inside.as_os_str()])
            .collect();
        let feeds = Feeds::Configured(&downloads.inside);
        self.run_by(configuration, feeds, |it| {
            it.fetch(&words, supervisor.is_wanted, &refuses)
        })
    }

    /// Fails if the device has no feed.
    fn attempt(&self) -> Result<Attempt, Failure> {
        let configuration = configuration(&self.root)?;
        if configuration.feeds.is_empty() {
            return Err(Failure::new(
                Cause::Dependency,
                "there is no feed in the configuration of opkg",
            ));
        }
        Ok(Attempt {
            configuration,
            downloads: Downloads::new(&self.root).map_err(|error| no_folder(&error))?,
        })
    }

    /// The packages that have to come, by a copy of the lists. opkg checks the signatures of their feeds.
    fn resolved(&self, needy: Needy<'_>, attempt: &Attempt) -> Result<Vec<Coming>, Failure> {
        let Attempt {
            configuration,
            downloads,
        } = attempt;
        let package = needy.package;
        let what = format!("opkg install of {}", package.name);
        let lists = Configuration::outside(&self.root, &configuration.feed_lists);
        let copies = downloads.folder.join("configured");
        copy_lists(&lists, &copies).map_err(|error| unreadable(&lists, &error.to_string()))?;
        let feeds = Feeds::Configured(&downloads.inside);
        let planned = self.run_by(configuration, feeds, |it| {
            it.plan(needy.options, "install", needy.inside.as_os_str())
        })?;
        if planned.code != Some(0) {
            let told = addresses::without_paths(&planned.printed);
            return Err(complaint::failure(&what, &told));
        }
        let coming = plan::coming(package, &planned.printed)?;
        let names: BTreeSet<PackageName> = coming.iter().map(|(name, _)| name.clone()).collect();
        let offers = index::offers(&copies, &configuration.feeds, &names)
            .map_err(|error| unreadable(&copies, &error.to_string()))?;
        let mut found = Vec::new();
        for (name, shown) in coming {
            if let Some(entry) = self.entry(&name)? {
                let detail = format!(
                    "opkg would replace {name} {} by {shown}, and only new packages may come with an installation",
                    entry.version
                );
                return Err(Failure::new(Cause::Plan, detail));
            }
            let offers: Vec<Offer> = offers
                .iter()
                .filter(|it| it.name == name && plan::is_shown_as(it.version.as_str(), shown))
                .cloned()
                .collect();
            if offers.is_empty() {
                let detail = format!("no list of a feed can be read that has {name} {shown}");
                return Err(Failure::new(Cause::PackageManager, detail));
            }
            found.push(Coming { name, offers });
        }
        Ok(found)
    }

    /// The downloaded file of a package, if it is the one of the list of its feed.
    fn taken(
        &self,
        downloads: &Downloads,
        coming: Coming,
        printed: &str,
    ) -> Result<(Downloaded, String), Failure> {
        let Coming { name, offers } = coming;
        let offer = the_fetched(&name, offers, printed)?;
        let (Some(expected), Some(size)) = (&offer.sha256, offer.size) else {
            let detail = format!(
                "the list of feed {} has no SHA-256 of {name}, or no size",
                offer.feed
            );
            return Err(Failure::new(Cause::Plan, detail));
        };
        let fetched = downloads.folder.join("fetched");
        let file = package(&downloads.folder, name.as_str());
        let is_it = |name: &str| name == offer.file || name.ends_with(&format!("_{}", offer.file));
        let entries = fs::read_dir(&fetched).into_iter().flatten().flatten();
        for entry in entries.filter(|it| it.file_name().to_str().is_some_and(is_it)) {
            let from = downloads.inside.join("fetched").join(entry.file_name());
            let copied = copy(&self.root, &from, &file, size);
            if copied.is_ok_and(|sha256| sha256 == *expected) {
                let paragraph = format!("{}Filename: packages/{name}.ipk\n\n", offer.paragraph);
                let dependency = Dependency {
                    name,
                    version: offer.version,
                };
                return Ok((Downloaded { dependency, file }, paragraph));
            }
        }
        let detail = format!(
            "the file of {name} is not the one in the list of feed {} (its SHA-256 differs)",
            offer.feed
        );
        Err(Failure::new(Cause::Dependency, detail))
    }
}

/// The offer that opkg downloaded. opkg does not tell of which feed it is, and checks the signature of that feed alone. So
/// every offer with this address must have the same entry: another feed could state the SHA-256 of a file of its own.
fn the_fetched(name: &PackageName, offers: Vec<Offer>, printed: &str) -> Result<Offer, Failure> {
    let is_fetched = |offer: &Offer| {
        let told = format!("Downloading {}.", process::without_users(&offer.url));
        printed.lines().any(|line| line == told)
    };
    let mut fetched = offers.into_iter().filter(is_fetched);
    let Some(first) = fetched.next() else {
        let detail = format!("opkg did not download {name}");
        return Err(Failure::new(Cause::Dependency, detail));
    };
    match fetched.find(|it| it.paragraph != first.paragraph) {
        None => Ok(first),
        Some(other) => {
            let detail = format!(
                "the lists of feed {} and feed {} have the same file for {name}, and their entries differ",
                first.feed, other.feed
            );
            Err(Failure::new(Cause::Plan, detail))
        }
    }
}

/// Copies a file of the root as a program in the root sees it, at most this many bytes. Returns its SHA-256.
fn copy(root: &Root, from: &Path, to: &Path, most: u64) -> io::Result<String> {
    let from = files::open(root, from, OFlag::O_NONBLOCK)?;
    if !from.metadata()?.is_file() {
        return Err(io::Error::other("no plain file"));
    }
    let (mut from, mut to) = (from.take(most), File::create(to)?);
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let length = from.read(&mut buffer)?;
        match buffer.get(..length) {
            Some([]) | None => break,
            Some(bytes) => {
                digest.update(bytes);
                to.write_all(bytes)?;
            }
        }
    }
    to.sync_all()?;
    let digest = digest.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The lists and their signatures.
fn copy_lists(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The feeds have the packages, and they do not come.
fn not_downloaded(coming: &[Coming], printed: &str) -> Failure {
    let said = complaint::failure("opkg", printed);
    let offers = coming.iter().filter_map(|it| it.offers.first());
    let offers: Vec<String> = offers
        .map(|it| format!("feed {} has {} {}", it.feed, it.name, it.version))
        .collect();
    match said.cause {
        Cause::PackageManager => {
            let detail = format!(
                "{}, and it cannot be fetched: {}",
                offers.join(", "),
                said.detail.as_str()
            );
            Failure::new(Cause::Dependency, detail)
        }
        _ => said,
    }
}

fn no_folder(error: &io::Error) -> Failure {
    let detail = format!("no folder for dependencies can be written: {error}");
    Failure::new(Cause::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(feed: &str, url: &str, paragraph: &str) -> Offer {
        Offer {
            feed: feed.to_owned(),
            name: PackageName::new("libfoo").unwrap(),
            version: wharf_frames::PackageVersion::new("2").unwrap(),
            url: url.to_owned(),
            file: "libfoo.ipk".to_owned(),
            size: Some(1),
            sha256: Some("ab".to_owned()),
            paragraph: paragraph.to_owned(),
        }
    }

    #[test]
    fn feeds_with_one_address_must_agree_on_its_file() {
        let name = PackageName::new("libfoo").unwrap();
        let fetched = |others: &[Offer]| {
            let mut offers = vec![offer("base", "http://h/a/libfoo.ipk", "SHA256sum: ab")];
            offers.extend_from_slice(others);
            let printed = "Downloading http://h/a/libfoo.ipk.\n";
            the_fetched(&name, offers, printed).map(|it| it.feed)
        };
        let url = "http://h/a/libfoo.ipk";
        assert_eq!(fetched(&[]), Ok("base".to_owned()));
        let same = offer("same", url, "SHA256sum: ab");
        assert_eq!(fetched(&[same]), Ok("base".to_owned()));
        let elsewhere = offer("other", "http://h/b/libfoo.ipk", "SHA256sum: cd");
        assert_eq!(fetched(&[elsewhere]), Ok("base".to_owned()));
        let differs = fetched(&[offer("other", url, "SHA256sum: cd")]).unwrap_err();
        assert_eq!(differs.cause, Cause::Plan, "{differs}");
        let none = the_fetched(&name, vec![offer("base", url, "")], "").unwrap_err();
        assert_eq!(none.cause, Cause::Dependency, "{none}");
    }
}
