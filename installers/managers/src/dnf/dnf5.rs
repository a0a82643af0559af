//! dnf 5 executes a transaction that this module writes: `dnf5 replay` resolves it under rpm's lock and refuses anything
//! beyond it. Then it asks a question, as it asks an administrator. The answer is the consent.

use std::{
    ffi::OsString,
    fs,
    io::{self, PipeReader, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};
use serde_json::json;
use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Root, durable, limits, process::wait_for_event};

use super::{
    complaint,
    order::{Coming, Order, Way, told},
    plan::downgrade,
    programs::{self, not_started},
    rpm::Copy,
    run::{Agree, Asks, Run, folder, not_in_time},
};

/// The question of dnf 5, which has resolved the transaction by then.
const QUESTION: &str = "Is this ok [y/N]: ";

/// An installation by rpm that changes nothing, and waits for no lock. It tells each package that comes (`+++`) or goes (`---`)
/// among many other lines.
const LOOK: [&str; 6] = ["-U", "--test", "-vv", "--oldpackage", "--replacepkgs", "--"];

/// The installed database is all that dnf sees.
const DNF5: [&str; 3] = ["dnf5", "--setopt=reposdir=/nonexistent", "replay"];

/// The folder of dnf 5's own state: the reasons of installations.
const STATE: &str = "usr/lib/sysimage/libdnf5";

/// dnf 5 of one root.
pub(super) struct Dnf5 {
    root: Root,
}

/// A folder with a stored transaction, for one run.
pub(super) struct Stored {
    outside: PathBuf,
    inside: PathBuf,
}

impl Dnf5 {
    pub(super) fn open(root: &Root) -> Self {
        Self { root: root.clone() }
    }

    /// Deletes empty files of dnf 5's own state, which a power cut leaves. dnf 5 does not start with one, and makes a missing
    /// one again (dnf5-system-state(7)).
    pub(super) fn delete_empty_state(&self) {
        let entries = fs::read_dir(self.root.path(STATE)).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_state = path.extension().is_some_and(|end| end == "toml");
            if is_state && fs::read(&path).is_ok_and(|text| text.iter().all(|byte| *byte == 0)) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// A new folder with the transaction of the order.
    pub(super) fn stored(&self, order: Order<'_>) -> Result<Stored, Failure> {
        let failed = |error: io::Error| not_started("dnf5", &error);
        let made = folder(&self.root).and_then(|folder| {
            durable::unique(&folder.join("stored"), "", |path| fs::create_dir(path))
        });
        let (outside, ()) = made.map_err(failed)?;
        let stored = Stored {
            inside: self.root.seen_inside(&outside),
            outside,
        };
        let text = transaction(order).to_string();
        fs::write(stored.outside.join("transaction.json"), text).map_err(failed)?;
        Ok(stored)
    }

    /// The run of a stored transaction.
    pub(super) fn run<'a>(&self, stored: &Stored, agree: Agree<'a>) -> Run<'a> {
        Run {
            name: "dnf5",
            words: stored.words().collect(),
            asks: Asks::InOutput(QUESTION, agree),
            percent: |_, printed| percent(printed),
            works: |printed| printed.contains("Running transaction"),
        }
    }

    /// Refuses orders that dnf 5 would execute without a warning, and those that it would refuse only after consent.
    pub(super) fn agree(&self, order: Order<'_>, limit: Duration) -> Result<(), Failure> {
        match order {
            Order::Install(coming) => {
                let is_refused = |it: &&Coming| it.way() == Way::Downgrade && !it.allow_downgrade;
                match coming.iter().find(is_refused) {
                    Some(lower) => Err(downgrade(lower)),
                    None => self.look(coming, limit),
                }
            }
            Order::Remove(name, _) => self.refuse_locked(name),
        }
    }

    /// Refuses files that rpm alone would not install, or that obsolete another package. dnf 5 looks for file conflicts and
    /// free space only after consent.
    fn look(&self, coming: &[Coming], limit: Duration) -> Result<(), Failure> {
        let failed = |error: io::Error| not_started("rpm", &error);
        let (told_by_rpm, writer) = io::pipe().map_err(failed)?;
        let mut command = programs::program(&self.root, "rpm");
        command
            .args(LOOK)
            .args(coming.iter().map(|it| &it.path))
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        drop(command); // it has the other end of the pipe
        let said = said(told_by_rpm, Instant::now() + limit);
        let _ = child.kill(); // a child that has ended keeps its status
        let status = child.wait().map_err(failed)?;
        let Some(printed) = said.map_err(failed)? else {
            return Err(not_in_time("rpm --test", limit));
        };
        let is_other = |erased: &&str| !coming.iter().any(|it| it.name.as_str() == *erased);
        if let Some(other) = printed.lines().filter_map(erased).find(is_other) {
            let detail = format!("{} would remove {other}, which is obsoleted", told(coming));
            return Err(Failure::new(Cause::Plan, detail));
        }
        match status.success() {
            true => Ok(()),
            false => {
                let what = format!("rpm --test for {}", told(coming));
                Err(complaint::failure(&what, &printed))
            }
        }
    }

    /// The words of a download into this folder of the root, which does not exist.
    pub(super) fn download(folder: &Path, coming: &[Coming], refresh: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["dnf5", "-y", "--setopt=install_weak_deps=False"]
            .map(OsString::from)
            .into();
        words.extend(refresh.then(|| "--refresh".into()));
        let mut store = OsString::from("--store=");
        store.push(folder);
        words.extend(["install".into(), store]);
        words.extend(coming.iter().map(|it| it.path.clone().into()));
        words
    }

    /// The words of the question for unneeded packages.
    pub(super) fn unneeded() -> Vec<OsString> {
        let words = [
            "dnf5",
            "--setopt=reposdir=/nonexistent",
            "repoquery",
            "--unneeded",
            "--qf",
            "%{name}\n",
        ];
        words.map(OsString::from).into()
    }

    /// dnf 5 removes a package whose version is locked.
    fn refuse_locked(&self, name: &PackageName) -> Result<(), Failure> {
        let path = self.root.path("etc/dnf/versionlock.toml");
        let text = durable::read(&path).map_err(|error| {
            let detail = format!("cannot read {}: {error}", path.display());
            Failure::new(Cause::Unavailable, detail)
        })?;
        let text = text.unwrap_or_default();
        match is_locked(&String::from_utf8_lossy(&text), name.as_str()) {
            true => {
                let detail = format!(
                    "{name} is locked in {} (`dnf5 versionlock delete {name}` as root allows it)",
                    path.display()
                );
                Err(Failure::new(Cause::Held, detail))
            }
            false => Ok(()),
        }
    }
}

impl Stored {
    fn words(&self) -> impl Iterator<Item = OsString> {
        let words = DNF5.map(OsString::from).into_iter();
        words.chain([self.inside.clone().into()])
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outside);
    }
}

/// The format of `dnf5 --store`. It names each copy that goes: replay refuses to replace another one.
fn transaction(order: Order<'_>) -> serde_json::Value {
    let rpms: Vec<serde_json::Value> = match order {
        Order::Install(coming) => coming.iter().flat_map(entries).collect(),
        Order::Remove(name, copies) => gone(name, copies, "Remove").collect(),
    };
    json!({ "rpms": rpms, "version": "1.0" })
}

fn gone<'a>(
    name: &'a PackageName,
    copies: &'a [Copy],
    action: &'static str,
) -> impl Iterator<Item = serde_json::Value> + 'a {
    copies.iter().map(move |copy| {
        json!({
            "nevra": format!("{name}-{}.{}", copy.version, copy.architecture),
            "action": action,
            "reason": "User",
            "repo_id": "@System",
        })
    })
}

fn entries(coming: &Coming) -> impl Iterator<Item = serde_json::Value> + '_ {
    let action = match coming.way() {
        Way::Install => "Install",
        Way::Upgrade => "Upgrade",
        Way::Downgrade => "Downgrade",
        Way::Reinstall => "Reinstall",
    };
    let new = json!({
        "nevra": format!("{}-{}.{}", coming.name, coming.version, coming.architecture),
        "action": action,
        "reason": if coming.is_dependency { "Dependency" } else { "User" },
        "repo_id": "@stored_transaction(@commandline)",
        "package_path": coming.path.to_string_lossy(),
    });
    let replaced = gone(&coming.name, &coming.copies, "Replaced");
    [new].into_iter().chain(replaced)
}

/// The repositories of the dependencies in the table of a plan: `r has libfoo 0:1-1`. Its rows are name, architecture,
/// version and repository.
pub(super) fn offers(printed: &str) -> Option<String> {
    let (_, table) = printed.split_once("Installing dependencies:\n")?;
    let rows = table.lines().take_while(|line| line.starts_with(' '));
    let offers = rows.filter_map(|row| {
        let mut fields = row.split_whitespace();
        let (name, _, version) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{} has {name} {version}", fields.next()?))
    });
    Some(offers.collect::<Vec<_>>().join(", "))
}

/// Whether the file of the command versionlock names this package.
fn is_locked(text: &str, name: &str) -> bool {
    let value = |line: &str, key: &str| -> Option<String> {
        let value = line
            .trim()
            .strip_prefix(key)?
            .trim_start()
            .strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let mut entries = text.split("[[packages]]").skip(1);
    entries.any(|entry| {
        let mut names = entry.lines().filter_map(|line| value(line, "name"));
        names.next().as_deref() == Some(name)
    })
}

/// The lines of rpm up to their end, without those for its developers, but for packages that go. None if the end does not come
/// in time. Keeps a bounded part.
fn said(mut pipe: PipeReader, deadline: Instant) -> io::Result<Option<String>> {
    let (mut said, mut line, mut buffer) = (String::new(), Vec::new(), vec![0; 16 * 1024]);
    loop {
        let mut events = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        wait_for_event(&mut events, deadline)?;
        if events.iter().all(|event| event.any() != Some(true)) {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            continue;
        }
        let read = pipe.read(&mut buffer)?;
        if read == 0 {
            return Ok(Some(said));
        }
        let read = buffer.get(..read).unwrap_or_default();
        for part in read.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") || line.len() as u64 > limits::OUTPUT {
                let whole = String::from_utf8_lossy(&line);
                let is_kept = !whole.starts_with("D: ") || erased(&whole).is_some();
                if is_kept && (said.len() as u64) < limits::OUTPUT {
                    said += &whole;
                }
                line.clear();
            }
        }
    }
}

/// `acme` of `D: ========== --- acme-1.0-1 noarch/linux 0x0`.
fn erased(line: &str) -> Option<&str> {
    let (_, package) = line.strip_prefix("D: ")?.split_once(" --- ")?;
    package.split(' ').next()?.rsplitn(3, '-').nth(2)
}

/// `[3/4] Upgrading acme`: two of four steps are done.
fn percent(printed: &str) -> Option<u8> {
    let step = |line: &str| -> Option<u8> {
        let (at, of) = line
            .trim_start()
            .strip_prefix('[')?
            .split_once(']')?
            .0
            .split_once('/')?;
        let (at, of): (u32, u32) = (at.parse().ok()?, of.parse().ok()?);
        u8::try_from(
            at.checked_sub(1)?
                .checked_mul(100)?
                .checked_div(of)?
                .min(100),
        )
        .ok()
    };
    printed.lines().rev().find_map(step)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use wharf_frames::PackageVersion;

    #[test]
    fn what_goes_is_read_from_rpms_words() {
        for (line, name) in [
            (
                "D: ========== --- acme-tools-1.0-1 noarch/linux 0x0",
                Some("acme-tools"),
            ),
            ("D: ========== +++ acme-2.0-1 noarch-linux 0x0", None),
            ("error: Failed dependencies:", None),
        ] {
            assert_eq!(erased(line), name, "{line}");
        }
    }

    #[test]
    fn what_rpm_says_is_taken_to_its_end_and_kept_without_lines_for_developers() {
        let soon = || Instant::now() + Duration::from_secs(60);
        let (pipe, mut writer) = io::pipe().unwrap();
        let going = "D: ========== --- acme-1.0-1 noarch/linux 0x0\n";
        let lines = format!(
            "D: much\n{}\n{going}error: no\n",
            "D: more ".repeat(100_000)
        );
        let write = std::thread::spawn(move || writer.write_all(lines.as_bytes()));
        let kept = said(pipe, soon()).unwrap().unwrap();
        write.join().unwrap().unwrap();
        assert!(
            kept.ends_with(&format!("{going}error: no\n")) && !kept.contains("much"),
            "{kept}"
        );

        let (pipe, mut writer) = io::pipe().unwrap();
        let write =
            std::thread::spawn(move || writer.write_all("error: no\n".repeat(100_000).as_bytes()));
        let kept = said(pipe, soon()).unwrap().unwrap();
        write.join().unwrap().unwrap();
        assert!(
            kept.len() as u64 <= limits::OUTPUT + 16,
            "{} bytes",
            kept.len()
        );

        let (pipe, _writer) = io::pipe().unwrap();
        let late = Instant::now() + Duration::from_millis(20);
        assert_eq!(said(pipe, late).unwrap(), None);
    }

    #[test]
    fn progress_is_read_from_the_steps() {
        for (printed, expected) in [
            (
                "Running transaction\n[1/4] Verify package files   100% |\n",
                Some(0),
            ),
            (
                "[1/4] Verify\n[3/4] Upgrading acme-0:2-1.noarch   100% |\n>>> Running %preun\n",
                Some(50),
            ),
            ("[0/0] x\n", None),
            ("Repositories loaded.\n", None),
        ] {
            assert_eq!(percent(printed), expected, "{printed}");
        }
    }

    #[test]
    fn the_repository_of_a_dependency_is_read_from_the_table() {
        let printed = "Package Arch   Version Repository        Size\nInstalling:\n needs  noarch 0:1-1   @commandline   2.0   B\n\
                       Installing dependencies:\n libbar noarch 0:1-1   r              2.0   B\n libfoo noarch 0:2-1   s  \
                       2.0   B\n\nTransaction Summary:\n Installing:         3 packages\n";
        let expected = "r has libbar 0:1-1, s has libfoo 0:2-1";
        assert_eq!(offers(printed).as_deref(), Some(expected));
        assert_eq!(offers("Nothing to do.\n"), None);
    }

    #[test]
    fn a_locked_name_is_compared_exactly() {
        let text = "version = \"1.0\"\n\n[[packages]]\nname = \"acme\"\ncomment = \"x\"\n\n[[packages.conditions]]\nkey = \"evr\"\n";
        assert!(is_locked(text, "acme"));
        for name in ["acm", "acme2", "1.0", "evr", "x"] {
            assert!(!is_locked(text, name), "{name}");
        }
    }

    fn installed(version: &str, instance: u64) -> Copy {
        Copy {
            version: PackageVersion::new(version).unwrap(),
            architecture: "noarch".to_owned(),
            header: String::new(),
            instance,
        }
    }

    #[test]
    fn a_transaction_names_what_comes_and_each_copy_that_goes() {
        let coming = |name: &str, copies: &[Copy], is_dependency: bool| Coming {
            path: "/x.rpm".into(),
            name: PackageName::new(name).unwrap(),
            version: PackageVersion::new("2:1-1").unwrap(),
            architecture: "noarch".to_owned(),
            allow_downgrade: false,
            copies: copies.to_vec(),
            is_dependency,
        };
        let actions = |order: Order<'_>| -> Vec<String> {
            let transaction = transaction(order);
            let rpms = transaction["rpms"].as_array().unwrap();
            let text = |rpm: &serde_json::Value, key: &str| rpm[key].as_str().unwrap().to_owned();
            let told = rpms
                .iter()
                .map(|rpm| format!("{} {}", text(rpm, "action"), text(rpm, "nevra")));
            told.collect()
        };
        for (copies, expected) in [
            (vec![], vec!["Install acme-2:1-1.noarch"]),
            (
                vec![installed("9-1", 4)],
                vec!["Upgrade acme-2:1-1.noarch", "Replaced acme-9-1.noarch"],
            ),
            (
                vec![installed("3:1-1", 4)],
                vec!["Downgrade acme-2:1-1.noarch", "Replaced acme-3:1-1.noarch"],
            ),
            (
                vec![installed("2:1-1", 5), installed("1-1", 4)],
                vec![
                    "Reinstall acme-2:1-1.noarch",
                    "Replaced acme-2:1-1.noarch",
                    "Replaced acme-1-1.noarch",
                ],
            ),
        ] {
            let coming = [coming("acme", &copies, false)];
            assert_eq!(actions(Order::Install(&coming)), expected);
        }
        let both = [coming("acme", &[], false), coming("libfoo", &[], true)];
        let two = ["Install acme-2:1-1.noarch", "Install libfoo-2:1-1.noarch"];
        assert_eq!(actions(Order::Install(&both)), two);
        let reasons = transaction(Order::Install(&both));
        assert_eq!(reasons["rpms"][0]["reason"], "User");
        assert_eq!(reasons["rpms"][1]["reason"], "Dependency");
        let name = PackageName::new("acme").unwrap();
        let copies = [installed("2-1", 5), installed("1-1", 4)];
        let removed = ["Remove acme-2-1.noarch", "Remove acme-1-1.noarch"];
        assert_eq!(actions(Order::Remove(&name, &copies)), removed);
    }
}
