//! Files that keep units from starting. Each unit has a drop-in with a condition, which fails while the flag of the package
//! exists. The files are in /etc and /var, so they survive a power cut in the middle of an installation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Root, durable};

use super::{gate::Ours, unit_name::UnitName};

/// The first of all drop-ins by name: no empty `ConditionPathExists=` of another one comes before it.
const NAME: &str = "00-wharfd-held.conf";

/// Writes the drop-ins and the flag of a package. The caller reloads systemd. Drop-ins without the flag hold nothing, so a
/// crash leaves the hold either whole or without effect.
pub(super) fn put(root: &Root, package: &PackageName, units: &Ours) -> Result<(), Failure> {
    let put = || -> io::Result<()> {
        for unit in units.units() {
            write_drop_in(root, package, unit)?;
        }
        fault::point("hold.drop-ins");
        durable::private_folder(&root.held())?;
        durable::write(&flag(root, package), b"")?;
        fault::point("hold.flag");
        Ok(())
    };
    put().map_err(|error| failed("hold back", package, &error))
}

/// Removes the drop-ins of the package, except those of `kept`. Removes the flag if nothing is kept. The caller reloads
/// systemd.
pub(super) fn release(
    root: &Root,
    package: &PackageName,
    kept: &BTreeSet<UnitName>,
) -> Result<(), Failure> {
    let release = || -> io::Result<()> {
        if kept.is_empty() {
            durable::remove(&flag(root, package))?;
            fault::point("hold.released");
        }
        let held = units_held(root)?.remove(package);
        for unit in held.into_iter().flatten() {
            if !kept.contains(&unit) {
                remove_drop_in(root, &unit)?;
            }
        }
        Ok(())
    };
    release().map_err(|error| failed("release", package, &error))
}

/// Whether units of the package are held.
pub(super) fn is_held(root: &Root, package: &PackageName) -> bool {
    flag(root, package).exists()
}

/// The packages that have a flag.
pub(super) fn held_packages(root: &Root) -> Vec<PackageName> {
    let entries = fs::read_dir(root.held()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| PackageName::new(entry.file_name().to_str()?).ok());
    names
        .filter(|name| !name.as_str().starts_with('.'))
        .collect()
}

/// Removes these drop-ins of the package. Removes the flag if no other one is left.
pub(super) fn release_some(
    root: &Root,
    package: &PackageName,
    gone: &BTreeSet<UnitName>,
) -> Result<(), Failure> {
    let held = units_held(root).map_err(|error| failed("release", package, &error))?;
    let held = held.get(package).into_iter().flatten();
    let kept: BTreeSet<UnitName> = held.filter(|unit| !gone.contains(unit)).cloned().collect();
    release(root, package, &kept)
}

/// The units with a drop-in of ours, by the package that holds them.
pub(super) fn units_held(root: &Root) -> io::Result<BTreeMap<PackageName, BTreeSet<UnitName>>> {
    let mut held: BTreeMap<PackageName, BTreeSet<UnitName>> = BTreeMap::new();
    let entries = match fs::read_dir(folder(root)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(held),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        let unit = || UnitName::new(entry.file_name().to_str()?.strip_suffix(".d")?);
        let Ok(found) = fs::read_to_string(entry.path().join(NAME)) else {
            continue; // most have none
        };
        if let (Some(unit), Some(package)) = (unit(), package_of(root, &found)) {
            held.entry(package).or_default().insert(unit);
        }
    }
    Ok(held)
}

fn package_of(root: &Root, found: &str) -> Option<PackageName> {
    let name = found.strip_prefix("# wharfd: ")?.split(' ').next()?;
    let package = PackageName::new(name).ok()?;
    (found == text(root, &package)).then_some(package)
}

fn write_drop_in(root: &Root, package: &PackageName, unit: &UnitName) -> io::Result<()> {
    let path = drop_in(root, unit);
    let text = text(root, package);
    if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(&path);
    if folder.is_symlink() {
        let why = format!(
            "{} is a link, so the owner of its drop-ins is unknown",
            folder.display()
        );
        return Err(io::Error::other(why));
    }
    fs::create_dir_all(folder)?;
    durable::write(&path, text.as_bytes())?;
    // Every user may read the configuration of systemd (`systemctl cat`).
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    durable::sync_folder_of(folder)
}

fn remove_drop_in(root: &Root, unit: &UnitName) -> io::Result<()> {
    let path = drop_in(root, unit);
    durable::remove(&path)?;
    match path.parent().map_or(Ok(()), fs::remove_dir) {
        // Others have drop-ins for it, or the folder is gone.
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// systemd.unit(5): a condition that fails leaves the unit inactive, and its start job successful.
fn text(root: &Root, package: &PackageName) -> String {
    let flag = root.seen_inside(&flag(root, package));
    let flag = flag.display().to_string().replace('%', "%%");
    format!(
        "# wharfd: {package} is installed and not yet activated (`wharfd` removes this file).\n\
         [Unit]\nConditionPathExists=!{flag}\n"
    )
}

fn flag(root: &Root, package: &PackageName) -> PathBuf {
    root.held().join(package.as_str())
}

fn drop_in(root: &Root, unit: &UnitName) -> PathBuf {
    folder(root).join(format!("{unit}.d")).join(NAME)
}

fn folder(root: &Root) -> PathBuf {
    root.path(Path::new("etc/systemd/system"))
}

pub(super) fn unreadable(error: &io::Error) -> Failure {
    let detail = format!("cannot look for held units in /etc/systemd/system: {error}");
    Failure::new(Cause::Unavailable, detail)
}

fn failed(what: &str, package: &PackageName, error: &io::Error) -> Failure {
    let detail = format!("cannot {what} the units of {package}: {error}");
    Failure::new(Cause::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> UnitName {
        UnitName::new(text).unwrap()
    }

    fn package(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    struct Bench {
        _folder: tempfile::TempDir,
        root: Root,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            fs::create_dir_all(root.path("etc/systemd/system")).unwrap();
            Self {
                _folder: folder,
                root,
            }
        }

        fn drop_ins(&self) -> Vec<String> {
            let entries = fs::read_dir(self.root.path("etc/systemd/system")).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        }
    }

    #[test]
    fn what_is_held_is_released_and_other_packages_drop_ins_stay() {
        let bench = Bench::new();
        let units = |names: &[&str]| names.iter().map(|name| unit(name)).collect::<BTreeSet<_>>();
        let (acme, other) = (package("acme"), package("other"));
        let ours = |names: &[&str]| Ours::for_a_test(&units(names));
        put(&bench.root, &acme, &ours(&["a.service", "a@.service"])).unwrap();
        put(&bench.root, &other, &ours(&["o.service"])).unwrap();
        let drop_in = bench.root.path("etc/systemd/system/a.service.d").join(NAME);
        let text = fs::read_to_string(&drop_in).unwrap();
        let condition = "[Unit]\nConditionPathExists=!/var/lib/wharf-installer/held/acme\n";
        assert!(text.ends_with(condition), "{text}");
        let mode = fs::metadata(&drop_in).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert!(is_held(&bench.root, &acme));

        release(&bench.root, &acme, &units(&["a.service"])).unwrap();
        assert!(is_held(&bench.root, &acme), "something is kept");
        assert_eq!(bench.drop_ins(), ["a.service.d", "o.service.d"]);
        release(&bench.root, &acme, &units(&[])).unwrap();
        assert!(!is_held(&bench.root, &acme));
        assert_eq!(bench.drop_ins(), ["o.service.d"]);
        assert_eq!(held_packages(&bench.root), [other]);
    }

    #[test]
    fn drop_ins_of_the_administrator_stay() {
        let bench = Bench::new();
        let units = Ours::for_a_test(&BTreeSet::from([unit("a.service")]));
        put(&bench.root, &package("acme"), &units).unwrap();
        let own = bench.root.path("etc/systemd/system/a.service.d/own.conf");
        fs::write(&own, "").unwrap();
        release(&bench.root, &package("acme"), &BTreeSet::new()).unwrap();
        assert!(own.exists());
        assert!(!own.with_file_name(NAME).exists());
    }

    #[test]
    fn a_folder_of_drop_ins_that_is_a_link_gets_none() {
        let bench = Bench::new();
        let folder = bench.root.path("etc/systemd/system");
        fs::create_dir(folder.join("ssh.service.d")).unwrap();
        std::os::unix::fs::symlink("ssh.service.d", folder.join("a.service.d")).unwrap();
        let units = Ours::for_a_test(&BTreeSet::from([unit("a.service")]));
        let refused = put(&bench.root, &package("acme"), &units).unwrap_err();
        assert!(
            refused.detail.as_str().contains("a.service.d is a link"),
            "{refused}"
        );
        assert!(!is_held(&bench.root, &package("acme")));
        assert!(!folder.join("ssh.service.d").join(NAME).exists());
    }

    #[test]
    fn some_are_released_and_the_flag_goes_with_the_last() {
        let bench = Bench::new();
        let acme = package("acme");
        let (a, b) = (
            BTreeSet::from([unit("a.service")]),
            BTreeSet::from([unit("b.service")]),
        );
        let both = a.union(&b).cloned().collect();
        put(&bench.root, &acme, &Ours::for_a_test(&both)).unwrap();
        assert_eq!(units_held(&bench.root).unwrap()[&acme], both);
        release_some(&bench.root, &acme, &a).unwrap();
        assert_eq!(bench.drop_ins(), ["b.service.d"]);
        assert!(is_held(&bench.root, &acme));
        release_some(&bench.root, &acme, &b).unwrap();
        assert!(!is_held(&bench.root, &acme));
    }

    #[test]
    fn a_drop_in_of_an_older_release_is_written_anew() {
        let bench = Bench::new();
        let acme = package("acme");
        let units = BTreeSet::from([unit("a.service")]);
        put(&bench.root, &acme, &Ours::for_a_test(&units)).unwrap();
        let drop_in = bench.root.path("etc/systemd/system/a.service.d").join(NAME);
        fs::write(&drop_in, "# wharfd: acme, in other words\n").unwrap();
        put(&bench.root, &acme, &Ours::for_a_test(&units)).unwrap();
        assert_eq!(units_held(&bench.root).unwrap()[&acme], units);
    }

    #[test]
    fn a_drop_in_that_is_right_is_not_written_again() {
        let bench = Bench::new();
        let acme = package("acme");
        let units = BTreeSet::from([unit("a.service")]);
        let put = || put(&bench.root, &acme, &Ours::for_a_test(&units)).unwrap();
        put();
        let drop_in = bench.root.path("etc/systemd/system/a.service.d").join(NAME);
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&drop_in).unwrap());
        let before = inode();
        put();
        assert_eq!(inode(), before);
    }

    #[test]
    fn nothing_is_held_without_a_folder_and_a_folder_that_cannot_be_read_is_an_error() {
        let bench = Bench::new();
        let folder = bench.root.path("etc/systemd/system");
        fs::remove_dir(&folder).unwrap();
        assert_eq!(units_held(&bench.root).unwrap(), BTreeMap::new());
        fs::write(&folder, "").unwrap();
        assert!(units_held(&bench.root).is_err());
        assert!(release(&bench.root, &package("acme"), &BTreeSet::new()).is_err());
    }

    #[test]
    fn a_unit_whose_drop_ins_are_gone_already_is_released() {
        let bench = Bench::new();
        remove_drop_in(&bench.root, &unit("a.service")).unwrap();
    }
}
