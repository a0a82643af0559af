//! The contract of `trait PackageManager`, the same for every package manager: apt in a Debian root, and the simulated one.

use std::{
    cell::{Cell, RefCell},
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use wharf_frames::{
    Cause, Failure, OperationId, PackageVersion,
    inspect::Format,
    installer::{Found, JobPhase, Package},
};
use wharf_installers::{
    device::{Device, Installation},
    inspector::Inspector,
};
use wharf_managers::{
    InstallOptions, PackageFile, PackageManager, Supervisor, Times, apt::Apt, simulated::Simulated,
};
use wharf_root::{Change, Root, limits};
use wharf_services::{Services, none::NoServiceManager, simulated};
use wharf_tests::{
    command::output_of,
    debian_root::DebianRoot,
    folder::Folder,
    programs::Reachable,
    scratch_root::{ScratchRoot, WHARF_INSPECT},
    waiting::wait_until,
};

pub(crate) use wharf_tests::debian_root::frontend_lock;

use crate::machine::{Deb, Place, Script, name, place_script, wharf_inspect};

const PLAIN: InstallOptions = InstallOptions {
    allow_downgrade: false,
    reinstall: false,
};
pub(crate) const QUIET: Supervisor<'static> = Supervisor {
    report: &|_| (),
    begin: &|| Ok(()),
    printed: &|_, _| (),
};

/// A package manager with its services, in a root of its own.
pub(crate) struct Bench {
    pub(crate) place: Place,
    device: Device,
    packages: Folder,
    _programs: Reachable,
}

impl Bench {
    pub(crate) fn apt() -> Self {
        Self::apt_that_waits(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// With this timeout for locks, and this time limit for maintainer scripts.
    fn apt_that_waits(lock_wait: Duration, time_limit: Duration) -> Self {
        let place = Place::Debian(DebianRoot::new());
        let root = Root::new(place.path());
        let times = Times {
            lock_wait,
            limit: time_limit,
        };
        let apt = Arc::new(Apt::open(&root, times).unwrap());
        let (services, database) = (Box::new(NoServiceManager), Apt::database(&root));
        Self::with(place, apt, services, database, Apt::format())
    }

    fn simulated() -> Self {
        let place = Place::Scratch(ScratchRoot::new());
        let root = Root::new(place.path());
        let manager = Arc::new(Simulated::open(&root).unwrap());
        let services = Box::new(simulated::Simulated::open(&root).unwrap());
        let database = Simulated::database(&root);
        Self::with(place, manager, services, database, Simulated::format())
    }

    fn with(
        place: Place,
        packages: Arc<dyn PackageManager>,
        services: Box<dyn Services>,
        database: PathBuf,
        format: Format,
    ) -> Self {
        let programs = Reachable::of(wharf_inspect().parent().unwrap());
        let inspector = Inspector {
            program: programs.path().join("wharf-inspect"),
            uid: WHARF_INSPECT.id,
            gid: WHARF_INSPECT.id,
            time_limit: limits::INSPECTION,
            format,
        };
        Self {
            place,
            _programs: programs,
            device: Device {
                packages,
                services,
                inspector,
                database,
            },
            packages: Folder::new(),
        }
    }

    pub(crate) fn manager(&self) -> &dyn PackageManager {
        self.device.packages.as_ref()
    }

    pub(crate) fn is_apt(&self) -> bool {
        self.manager().name() == "apt"
    }

    /// A package file inside the root, as a sealed one is.
    pub(crate) fn file(&self, deb: &Deb, package: &str, version: &str) -> PackageFile {
        let built = self.place.build(deb, self.packages.path());
        let path = self
            .place
            .path()
            .join(format!("tmp/{package}-{}", version.replace(':', "_")));
        fs::copy(built, &path).unwrap();
        PackageFile {
            package: Package {
                name: name(package),
                version: PackageVersion::new(version).unwrap(),
                architecture: "all".into(),
                length: fs::metadata(&path).unwrap().len(),
                signer: None,
            },
            path,
        }
    }

    fn plain(&self, package: &str, version: &str) -> PackageFile {
        self.file(&Deb::new(package, version), package, version)
    }

    pub(crate) fn version(&self, package: &str) -> Option<String> {
        let whole = self.found(package).filter(Found::is_whole);
        whole.map(|found| found.version.to_string())
    }

    pub(crate) fn found(&self, package: &str) -> Option<Found> {
        self.device.found(&name(package)).unwrap()
    }

    pub(crate) fn install(&self, file: &PackageFile) -> Result<Change, Cause> {
        let unit_files = self.device.unit_files(&file.path);
        let installation = Installation {
            file,
            options: PLAIN,
            unit_files: &unit_files.map_err(|not_done| Failure::from(not_done).cause)?,
            operation: OperationId::from_bytes([1; 16]),
            adopts: false,
        };
        let installed = self.device.install(installation, QUIET);
        installed.map_err(|failure| failure.cause)
    }
}

pub(crate) fn each(test: impl Fn(&Bench)) {
    for bench in [Bench::simulated(), Bench::apt()] {
        test(&bench);
        assert_eq!(
            bench.manager().audit().unwrap(),
            [""; 0],
            "{} is left whole",
            bench.manager().name()
        );
    }
}

#[test]
fn installing_upgrading_and_removing_change_the_device_once() {
    each(|bench| {
        let [lower, higher] = match bench.is_apt() {
            true => ["1.0-1", "1:0.1"],
            false => ["9", "10.0"],
        };
        let (one, two) = (bench.plain("acme", lower), bench.plain("acme", higher));
        assert_eq!(bench.version("acme"), None);
        for change in [Change::Changed, Change::Unchanged] {
            assert_eq!(bench.install(&one), Ok(change));
            assert_eq!(bench.version("acme").as_deref(), Some(lower));
        }
        assert_eq!(bench.install(&two), Ok(Change::Changed));
        assert_eq!(bench.version("acme").as_deref(), Some(higher));
        for change in [Change::Changed, Change::Unchanged] {
            assert_eq!(bench.manager().remove(&name("acme"), QUIET), Ok(change));
            assert_eq!(bench.version("acme"), None);
            assert_eq!(bench.found("acme"), None);
        }
    });
}

#[test]
fn the_same_version_of_other_bytes_is_installed_again_when_asked() {
    each(|bench| {
        let first = bench.plain("acme", "1");
        bench.install(&first).unwrap();
        let second = bench.file(
            &Deb::new("acme", "1").file("/usr/share/acme/more", "x"),
            "acme",
            "1",
        );
        let again = InstallOptions {
            reinstall: true,
            ..PLAIN
        };
        assert_eq!(
            bench.manager().install(&second, again, QUIET),
            Ok(Change::Changed)
        );
        if bench.is_apt() {
            assert!(bench.place.path().join("usr/share/acme/more").exists());
        }
    });
}

#[test]
fn a_script_that_fails_is_told_and_leaves_a_whole_device() {
    each(|bench| {
        let failing = Deb::new("acme", "1").script(Script::Postinst, "exit 3");
        let file = bench.file(&failing, "acme", "1");
        if !bench.is_apt() {
            tell(bench, "fail-install");
        }
        assert_eq!(bench.install(&file), Err(Cause::Script));
        assert_eq!(bench.version("acme"), None);
    });
}

pub(crate) fn tell(bench: &Bench, fault: &str) -> PathBuf {
    let folder = bench.place.path().join("etc/wharf-simulated");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(fault), "").unwrap();
    folder.join(fault)
}

#[test]
fn what_a_failed_upgrade_left_is_damaged_and_can_be_removed_and_replaced() {
    each(|bench| {
        let failing = Deb::new("acme", "2").script(Script::Postinst, "exit 1");
        let failing = bench.file(&failing, "acme", "2");
        for next in [Some("3"), None] {
            bench.install(&bench.plain("acme", "1")).unwrap();
            let fault = tell(bench, "fail-postinst");
            assert_eq!(bench.install(&failing), Err(Cause::Script));
            fs::remove_file(fault).unwrap();
            let left = bench.found("acme").expect("a part of it");
            assert_eq!((left.version.as_str(), left.is_whole()), ("2", false));
            if bench.is_apt() {
                assert_eq!(left.to_string(), "acme 2 (half-configured)");
            }
            if let Some(next) = next {
                assert_eq!(
                    bench.install(&bench.plain("acme", next)),
                    Ok(Change::Changed)
                );
                assert_eq!(bench.version("acme").as_deref(), Some(next));
            }
            let removed = bench.manager().remove(&name("acme"), QUIET);
            assert_eq!(removed, Ok(Change::Changed));
            assert_eq!(bench.found("acme"), None);
        }
    });
}

#[test]
fn what_a_failed_removal_left_is_damaged_and_can_be_removed() {
    each(|bench| {
        let fault = tell(bench, "fail-postrm");
        let script = "[ $1 != remove ] || [ ! -e /etc/wharf-simulated/fail-postrm ]";
        let deb = Deb::new("acme", "1").script(Script::Postrm, script);
        bench.install(&bench.file(&deb, "acme", "1")).unwrap();
        for _ in 0..2 {
            let removed = bench.manager().remove(&name("acme"), QUIET);
            assert_eq!(removed.map_err(|failure| failure.cause), Err(Cause::Script));
            let left = bench.found("acme").expect("a part of it");
            assert_eq!(left.to_string(), "acme 1 (half-installed)");
        }
        fs::remove_file(fault).unwrap();
        let removed = bench.manager().remove(&name("acme"), QUIET);
        assert_eq!(removed, Ok(Change::Changed));
        assert_eq!(bench.found("acme"), None);
    });
}

#[test]
fn a_dependency_that_is_not_there_is_named() {
    each(|bench| {
        let file = bench.file(
            &Deb::new("acme", "1").depends("libnowhere (>= 2)"),
            "acme",
            "1",
        );
        if !bench.is_apt() {
            tell(bench, "needs");
        }
        let failure = bench.manager().install(&file, PLAIN, QUIET).unwrap_err();
        assert_eq!(failure.cause, Cause::Dependency);
        if bench.is_apt() {
            assert!(
                failure.detail.as_str().contains("libnowhere (>= 2)"),
                "{failure}"
            );
        }
    });
}

#[test]
fn an_apt_that_cannot_be_run_is_a_failure_of_the_package_manager() {
    let bench = Bench::apt();
    let folder = Root::new(bench.place.path()).run().join("apt");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let _ = fs::remove_dir_all(&folder);
    fs::write(&folder, "no folder").unwrap();
    let installed = bench.install(&bench.plain("acme", "1"));
    assert_eq!(installed, Err(Cause::PackageManager));
    assert_eq!(bench.version("acme"), None);
}

#[test]
fn a_package_on_hold_is_not_changed() {
    each(|bench| {
        bench.install(&bench.plain("acme", "1")).unwrap();
        match &bench.place {
            Place::Debian(root) => {
                let held = root
                    .command("apt-mark")
                    .args(["hold", "acme"])
                    .output()
                    .unwrap();
                assert!(held.status.success());
            }
            _ => drop(tell(bench, "held")),
        }
        assert_eq!(bench.install(&bench.plain("acme", "2")), Err(Cause::Held));
        assert_eq!(bench.version("acme").as_deref(), Some("1"));
    });
}

#[test]
fn names_are_compared_exactly() {
    each(|bench| {
        bench.install(&bench.plain("hello", "1")).unwrap();
        for text in [
            "hello+",
            "hell.*",
            ".*",
            "?essential",
            "~nhello",
            "-oDebug::x=1",
            "hello:all",
            "hel",
            "hello-",
        ] {
            assert_eq!(bench.version(text), None, "{text}");
            let removed = bench.manager().remove(&name(text), QUIET);
            assert!(
                !matches!(removed, Ok(Change::Changed)),
                "{text}: {removed:?}"
            );
            assert_eq!(bench.version("hello").as_deref(), Some("1"), "{text}");
        }
    });
}

#[test]
fn a_repair_of_a_sound_device_changes_nothing() {
    each(|bench| {
        let file = bench.plain("acme", "1");
        for installed in [None, Some("1")] {
            let repaired = bench
                .manager()
                .repair(&name("acme"), Some(&file.path), QUIET.printed);
            assert_eq!(repaired, Ok(Change::Unchanged));
            assert_eq!(bench.version("acme").as_deref(), installed);
            bench.install(&file).unwrap();
        }
    });
}

#[test]
fn versions_are_ordered_by_the_package_manager() {
    each(|bench| {
        let version = |text| PackageVersion::new(text).unwrap();
        let rows = match bench.is_apt() {
            true => [
                ("1~rc1", "1", Ordering::Less),
                ("1:0", "9", Ordering::Greater),
                ("1.0-0", "1.0", Ordering::Equal),
            ],
            false => [
                ("2", "2.0", Ordering::Less),
                ("10", "9", Ordering::Greater),
                ("1.0", "1.0", Ordering::Equal),
            ],
        };
        for (left, right, order) in rows {
            assert_eq!(
                bench
                    .manager()
                    .compare_versions(&version(left), &version(right)),
                order
            );
        }
    });
}

#[test]
fn progress_is_told() {
    each(|bench| {
        let told = RefCell::new(Vec::new());
        let file = bench.plain("acme", "1");
        let supervisor = Supervisor {
            report: &|progress| told.borrow_mut().push(progress.phase),
            ..QUIET
        };
        bench.manager().install(&file, PLAIN, supervisor).unwrap();
        assert!(told.borrow().contains(&JobPhase::Applying), "{told:?}");
    });
}

#[test]
fn nothing_is_changed_before_it_is_begun_and_nothing_unless_it_is() {
    each(|bench| {
        let (one, two) = (bench.plain("acme", "1"), bench.plain("acme", "2"));
        let begun = Cell::new(0);
        let before = RefCell::new(None);
        let (begin, refuse) = (
            || {
                begun.set(begun.get() + 1);
                assert_eq!(bench.version("acme"), *before.borrow());
                Ok(())
            },
            || Err(Failure::new(Cause::Policy, "not now")),
        );
        let supervisor = |begin| Supervisor { begin, ..QUIET };
        let refused = |done: Result<Change, Failure>| done.unwrap_err().cause;
        let install = |file, supervisor| bench.manager().install(file, PLAIN, supervisor);
        let remove = |supervisor| bench.manager().remove(&name("acme"), supervisor);

        assert_eq!(refused(install(&one, supervisor(&refuse))), Cause::Policy);
        assert_eq!(bench.version("acme"), None);
        assert_eq!(install(&one, supervisor(&begin)), Ok(Change::Changed));
        before.replace(Some("1".to_owned()));
        assert_eq!(refused(install(&two, supervisor(&refuse))), Cause::Policy);
        assert_eq!(refused(remove(supervisor(&refuse))), Cause::Policy);
        assert_eq!(install(&one, supervisor(&refuse)), Ok(Change::Unchanged));
        assert_eq!(remove(supervisor(&begin)), Ok(Change::Changed));
        assert_eq!(remove(supervisor(&refuse)), Ok(Change::Unchanged));
        assert_eq!(begun.get(), 2);
    });
}

#[test]
fn a_package_is_inactive_from_each_installation_until_it_is_activated() {
    each(|bench| {
        let (acme, operation) = (name("acme"), OperationId::from_bytes([2; 16]));
        let services = bench.device.services.as_ref();
        let is_active = || bench.found("acme").is_some_and(|found| found.active);
        bench.install(&bench.plain("acme", "1")).unwrap();
        assert!(!is_active());
        if bench.is_apt() {
            for done in [
                services.activate(&acme, operation),
                services.deactivate(&acme),
            ] {
                assert_eq!(done.unwrap_err().cause, Cause::NoServiceManager);
            }
            return;
        }
        for change in [Change::Changed, Change::Unchanged] {
            assert_eq!(services.activate(&acme, operation), Ok(change));
            assert!(is_active());
        }
        let refused = Installation {
            file: &bench.plain("acme", "2"),
            options: PLAIN,
            unit_files: &[],
            operation,
            adopts: false,
        };
        let supervisor = Supervisor {
            begin: &|| Err(Failure::new(Cause::Policy, "not now")),
            ..QUIET
        };
        assert!(bench.device.install(refused, supervisor).is_err());
        assert!(is_active(), "nothing is held before the work begins");
        assert_eq!(
            bench.install(&bench.plain("acme", "1")),
            Ok(Change::Unchanged)
        );
        assert!(is_active(), "nor if there is no work");
        bench.install(&bench.plain("acme", "2")).unwrap();
        assert!(!is_active());
        services.activate(&acme, operation).unwrap();
        for change in [Change::Changed, Change::Unchanged] {
            assert_eq!(services.deactivate(&acme), Ok(change));
            assert!(!is_active());
        }
        services.activate(&acme, operation).unwrap();
        assert_eq!(bench.device.remove(&acme, QUIET), Ok(Change::Changed));
        bench.install(&bench.plain("acme", "3")).unwrap();
        assert!(!is_active(), "a removal stops it");
    });
}

#[test]
fn a_package_owns_its_files_until_it_is_removed() {
    each(|bench| {
        let about = "usr/share/acme/about";
        let deb = Deb::new("acme", "1").file(&format!("/{about}"), "x");
        bench.install(&bench.file(&deb, "acme", "1")).unwrap();
        let asked = [about, "usr/share/acme/other"].map(str::to_owned);
        let owners = || bench.manager().owners(&asked.clone().into()).unwrap();
        let lists_it = || {
            let (path, found) = (bench.place.path().join(about), Cell::new(false));
            let visit = &mut |it: &Path| found.set(found.get() || it == path);
            bench.manager().each_path(&name("acme"), visit).unwrap();
            found.get()
        };
        assert!(lists_it());
        let acme = [(about.to_owned(), ["acme".to_owned()].into())];
        assert_eq!(owners(), acme.into());
        bench.manager().remove(&name("acme"), QUIET).unwrap();
        assert!(!lists_it());
        assert_eq!(owners(), [].into());
    });
}

#[test]
fn the_database_changes_with_each_change_of_packages() {
    each(|bench| {
        let written = || fs::read(&bench.device.database).unwrap_or_default();
        let before = written();
        bench.install(&bench.plain("acme", "1")).unwrap();
        let installed = written();
        assert_ne!(installed, before);
        bench.manager().remove(&name("acme"), QUIET).unwrap();
        assert_ne!(written(), installed);
    });
}

// Tests that need apt.

#[test]
fn a_plan_that_changes_others_is_refused() {
    let bench = Bench::apt();
    bench.install(&bench.plain("base", "1")).unwrap();
    bench
        .install(&bench.file(&Deb::new("user", "1").depends("base (= 1)"), "user", "1"))
        .unwrap();
    let conflicting = Deb::new("rival", "1")
        .field("Conflicts", "user")
        .field("Replaces", "user");
    let refused = bench.install(&bench.file(&conflicting, "rival", "1"));
    assert!(
        matches!(refused, Err(Cause::Plan | Cause::Dependency)),
        "{refused:?}"
    );
    let removed = bench
        .manager()
        .remove(&name("base"), QUIET)
        .map_err(|failure| failure.cause);
    assert_eq!(removed, Err(Cause::Plan));
    let removed = bench
        .manager()
        .remove(&name("dpkg"), QUIET)
        .map_err(|failure| failure.cause);
    assert_eq!(removed, Err(Cause::Plan));
    assert_eq!(bench.version("user").as_deref(), Some("1"));
    assert_eq!(bench.version("base").as_deref(), Some("1"));
}

#[test]
fn a_refusal_names_the_packages_that_it_is_about() {
    let bench = Bench::apt();
    let put = |package: &str, field: (&str, &str)| {
        let deb = Deb::new(package, "1").field(field.0, field.1);
        bench.install(&bench.file(&deb, package, "1")).unwrap();
    };
    bench.install(&bench.plain("timed", "1")).unwrap();
    put("clock", ("Depends", "timed (= 1)"));
    put("mailer", ("Provides", "mail-agent"));
    put("guard", ("Breaks", "newcomer (<< 3)"));
    for (version, field, expected) in [
        (
            "1",
            ("Depends", "nowhere (>= 1) | nobody"),
            "acme depends on nowhere (>= 1) or nobody, and none of them is installed",
        ),
        (
            "1",
            ("Depends", "timed (>= 2), nowhere"),
            "acme depends on timed (>= 2), and here is timed 1; acme depends on nowhere, which is not installed",
        ),
        (
            "1",
            ("Pre-Depends", "nowhere"),
            "acme depends on nowhere, which is not installed",
        ),
        (
            "1",
            ("Conflicts", "timed"),
            "acme conflicts with timed, which is installed",
        ),
        (
            "1",
            ("Breaks", "timed (<< 2)"),
            "acme breaks timed (<< 2), and timed 1 is installed",
        ),
        (
            "1",
            ("Conflicts", "mail-agent"),
            "acme conflicts with mailer, which is installed",
        ),
    ] {
        let deb = Deb::new("acme", version).field(field.0, field.1);
        refused_in_words(&bench, &bench.file(&deb, "acme", version), expected);
    }
    refused_in_words(
        &bench,
        &bench.plain("newcomer", "2"),
        "guard, which is installed, breaks newcomer (<< 3)",
    );
    refused_in_words(
        &bench,
        &bench.plain("timed", "2"),
        "clock, which is installed, depends on timed (= 1)",
    );
    let removed = bench.manager().remove(&name("timed"), QUIET).unwrap_err();
    assert_eq!(
        removed.to_string(),
        "cannot remove timed: clock depends on it"
    );
    assert_eq!(removed.cause, Cause::Plan);
}

/// Expects this reason before the device is changed.
fn refused_in_words(bench: &Bench, file: &PackageFile, expected: &str) {
    let begun = Cell::new(false);
    let supervisor = Supervisor {
        begin: &|| {
            begun.set(true);
            Ok(())
        },
        ..QUIET
    };
    let failure = bench
        .manager()
        .install(file, PLAIN, supervisor)
        .unwrap_err();
    assert_eq!(failure.to_string(), expected);
    let is_told = matches!(failure.cause, Cause::Plan | Cause::Dependency);
    assert!(is_told, "{failure:?}");
    assert!(!begun.get(), "{failure:?}");
}

#[test]
fn what_a_killed_dpkg_left_of_a_first_installation_can_be_removed() {
    let bench = Bench::apt();
    let killed = Deb::new("acme", "1").script(Script::Preinst, "kill -9 $PPID");
    let file = bench.file(&killed, "acme", "1");
    let root = bench.place.debian();
    let inside = format!("/tmp/{}", file.path.file_name().unwrap().display());
    let dpkg = root.command("dpkg").args(["-i", &inside]).output().unwrap();
    assert!(!dpkg.status.success());
    let left = bench.found("acme").expect("a part of it");
    assert_eq!(left.to_string(), "acme 1 (half-installed, reinstreq)");
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
    assert_eq!(bench.found("acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn the_administrators_conffile_is_kept() {
    let bench = Bench::apt();
    let with = |version: &str, text: &str| {
        let deb = Deb::new("acme", version).conffile("/etc/acme.conf", text);
        bench.file(&deb, "acme", version)
    };
    bench.install(&with("1", "one\n")).unwrap();
    let conffile = bench.place.path().join("etc/acme.conf");
    fs::write(&conffile, "mine\n").unwrap();
    assert_eq!(
        bench.install(&with("1", "one\n")),
        Ok(Change::Unchanged),
        "a changed conffile is no damage"
    );
    assert_eq!(bench.install(&with("2", "two\n")), Ok(Change::Changed));
    assert_eq!(fs::read_to_string(&conffile).unwrap(), "mine\n");
}

#[test]
fn damaged_files_of_the_same_version_are_installed_again() {
    let bench = Bench::apt();
    let file = bench.plain("acme", "1");
    bench.install(&file).unwrap();
    let damaged = bench.place.path().join("usr/share/acme/version");
    fs::write(&damaged, "rubbish").unwrap();
    assert_eq!(bench.install(&file), Ok(Change::Changed));
    assert_eq!(fs::read_to_string(&damaged).unwrap(), "1\n");
}

#[test]
fn another_package_than_was_sealed_is_not_installed() {
    let bench = Bench::apt();
    let mut file = bench.plain("acme", "1");
    file.package.version = PackageVersion::new("2").unwrap();
    assert_eq!(bench.install(&file), Err(Cause::Malformed));
    file = bench.plain("acme", "1");
    file.package.name = name("bulb");
    assert_eq!(bench.install(&file), Err(Cause::Plan));
    assert_eq!(bench.version("acme"), None);
}

#[test]
fn a_lock_that_another_holds_too_long_is_told() {
    let bench = Bench::apt();
    let lock = frontend_lock(&bench.place.path());
    assert_eq!(bench.install(&bench.plain("acme", "1")), Err(Cause::Locked));
    drop(lock);
    assert_eq!(
        bench.install(&bench.plain("acme", "1")),
        Ok(Change::Changed)
    );
}

/// Changes a package under another program's lock, while our apt waits for the lock.
fn while_apt_waits<T: Send>(
    bench: &Bench,
    ours: impl FnOnce(&dyn PackageManager) -> T + Send,
    others: impl FnOnce(),
) -> T {
    let root = bench.place.path();
    let lock = frontend_lock(&root);
    let manager = bench.manager();
    thread::scope(|scope| {
        let ours = scope.spawn(|| ours(manager));
        wait_for_apt_to_wait(&root);
        others();
        drop(lock);
        ours.join().unwrap()
    })
}

pub(crate) fn wait_for_apt_to_wait(root: &Path) {
    let folder = root.join("run/wharf-installer/apt");
    wait_until("apt that waits for the lock", || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut outputs = entries
            .map(|entry| entry.path())
            .filter(|path| path.file_stem().is_some_and(|stem| stem == "output"));
        let waits = outputs.any(|path| {
            let printed = fs::read_to_string(path).unwrap_or_default();
            printed.contains("lock")
        });
        waits.then_some(())
    });
}

#[test]
fn a_wait_for_a_lock_that_came_is_not_the_reason() {
    let bench = Bench::apt_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    let deb = Deb::new("acme", "1").depends("nowhere");
    let file = bench.file(&deb, "acme", "1");
    let failed = while_apt_waits(&bench, |apt| apt.install(&file, PLAIN, QUIET), || {});
    let failure = failed.unwrap_err();
    assert_eq!(failure.cause, Cause::Dependency, "{failure}");
    let expected = "acme depends on nowhere, which is not installed";
    assert_eq!(failure.to_string(), expected);
}

/// dpkg as another front end calls it.
pub(crate) fn dpkg(bench: &Bench, arguments: &[&str]) {
    let root = bench.place.debian();
    let mut command = root.command("dpkg");
    output_of(command.env("DPKG_FRONTEND_LOCKED", "1").args(arguments));
}

#[test]
fn what_came_to_need_a_package_while_apt_waited_stays_with_it() {
    let bench = Bench::apt_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    bench.install(&bench.plain("needed", "1")).unwrap();
    bench.file(&Deb::new("user", "1").depends("needed"), "user", "1");
    let removed = while_apt_waits(
        &bench,
        |manager| manager.remove(&name("needed"), QUIET),
        || dpkg(&bench, &["--install", "/tmp/user-1"]),
    );
    let failure = removed.unwrap_err();
    assert_eq!(failure.cause, Cause::Plan, "{failure}");
    let expected = "cannot remove needed: user depends on it";
    assert_eq!(failure.to_string(), expected);
    assert_eq!(bench.version("needed").as_deref(), Some("1"));
    assert_eq!(bench.version("user").as_deref(), Some("1"));
    dpkg(&bench, &["--remove", "user"]);
    let removed = bench.manager().remove(&name("needed"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
}

#[test]
fn what_was_left_half_way_while_apt_waited_is_left_to_whom_it_belongs() {
    let bench = Bench::apt_that_waits(Duration::from_secs(60), Duration::from_secs(60));
    bench.plain("foreign", "1");
    let file = bench.plain("acme", "1");
    let installed = while_apt_waits(
        &bench,
        |manager| manager.install(&file, PLAIN, QUIET),
        || dpkg(&bench, &["--unpack", "/tmp/foreign-1"]),
    );
    let failure = installed.unwrap_err();
    assert_eq!(failure.cause, Cause::Plan, "{failure}");
    assert!(
        failure.detail.as_str().contains("Conf foreign"),
        "{failure}"
    );
    assert_eq!(bench.found("acme"), None);
}

#[test]
fn the_administrators_hooks_and_the_history_stay() {
    let bench = Bench::apt();
    let root = bench.place.path();
    fs::write(
        root.join("etc/apt/apt.conf.d/99hook"),
        "DPkg::Pre-Install-Pkgs { \"cat >>/hooked\"; };\nDPkg::Tools::Options::cat::Version \"2\";\n",
    )
    .unwrap();
    bench.install(&bench.plain("acme", "1")).unwrap();
    bench.manager().remove(&name("acme"), QUIET).unwrap();
    let hooked = fs::read_to_string(root.join("hooked")).unwrap();
    assert!(hooked.contains("acme 1 > - **REMOVE**"), "{hooked}");
    let history = fs::read_to_string(root.join("var/log/apt/history.log")).unwrap();
    for line in ["Install: acme:", "Remove: acme:"] {
        assert!(history.contains(line), "{history}");
    }
}

/// Replaces apt-get with this script, which can call the original as apt-get.real.
pub(crate) fn replace_apt_get(root: &Path, script: &str) {
    let apt = root.join("usr/bin/apt-get");
    fs::rename(&apt, root.join("usr/bin/apt-get.real")).unwrap();
    place_script(&format!("#!/bin/sh\n{script}\n"), &apt);
}

/// A script that drops each word of the command line that contains one of these.
pub(crate) fn apt_get_without(words: &[&str]) -> String {
    let pattern: Vec<String> = words.iter().map(|word| format!("*{word}*")).collect();
    format!(
        "for word; do shift; case $word in {}) word=Left::Out=1;; esac; set -- \"$@\" \"$word\"; done\n\
         exec /usr/bin/apt-get.real \"$@\"",
        pattern.join("|")
    )
}

/// The cause of the failure if consent is refused.
fn refused_by(manager: &dyn PackageManager, file: &PackageFile) -> Cause {
    let supervisor = Supervisor {
        begin: &|| Err(Failure::new(Cause::Policy, "not now")),
        ..QUIET
    };
    let installed = manager.install(file, PLAIN, supervisor);
    installed.expect_err("nothing without consent").cause
}

#[test]
fn no_file_of_apts_configuration_takes_consent_away() {
    for text in [
        "#clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Tools;\n#clear APT::Keep-Fds;\n#clear DPkg::Options;\n",
        "DPkg::Pre-Install-Pkgs \"true\";\nDPkg::Tools::Options::sed { Version \"1\"; InfoFD \"20\"; };\n",
        "Binary::apt-get { DPkg::Pre-Install-Pkgs \"true\"; DPkg::Tools::Options::sed::InfoFD \"20\"; };\n",
    ] {
        let bench = Bench::apt();
        let last = bench.place.path().join("etc/apt/apt.conf.d/zz-last");
        fs::write(last, text).unwrap();
        let file = bench.plain("acme", "1");
        let manager = bench.manager();
        assert_eq!(refused_by(manager, &file), Cause::Policy, "{text}");
        assert_eq!(bench.version("acme"), None, "{text}");
        assert_eq!(bench.install(&file), Ok(Change::Changed), "{text}");
    }
}

#[test]
fn a_configuration_that_was_changed_after_its_first_line_is_written_anew_and_takes_no_consent_away()
{
    let bench = Bench::apt();
    let root = Root::new(bench.place.path());
    bench.install(&bench.plain("base", "1")).unwrap();
    let path = root.run().join("apt/apt.conf");
    let whole = fs::read_to_string(&path).unwrap();
    let clears = "#clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Options;\n";
    fs::write(&path, format!("{whole}{clears}")).unwrap();

    // Repeated calls, by the same manager and by a new one.
    let file = bench.plain("acme", "1");
    assert_eq!(refused_by(bench.manager(), &file), Cause::Policy);
    let times = Times {
        lock_wait: Duration::from_secs(1),
        limit: Duration::from_secs(3600),
    };
    let later = Apt::open(&root, times).unwrap();
    assert_eq!(refused_by(&later, &file), Cause::Policy);
    assert_eq!(bench.version("acme"), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}

#[test]
fn an_apt_that_does_not_ask_for_consent_gets_nothing_done() {
    let bench = Bench::apt();
    replace_apt_get(&bench.place.path(), &apt_get_without(&["Pre-Install-Pkgs"]));
    let ran = "touch /ran";
    let deb = Deb::new("acme", "1").script(Script::Preinst, ran);
    let file = bench.file(&deb, "acme", "1");
    let failure = bench.manager().install(&file, PLAIN, QUIET).unwrap_err();
    assert_eq!(failure.cause, Cause::PackageManager);
    let words = "without asking wharfd for consent";
    assert!(failure.detail.as_str().contains(words), "{failure}");
    assert_eq!(bench.version("acme"), None);
    assert!(!bench.place.path().join("ran").exists());
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn a_hook_that_never_answers_is_ended_and_nothing_is_changed() {
    let bench = Bench::apt_that_waits(Duration::from_secs(1), Duration::from_secs(2));
    let root = bench.place.path();
    let hook = "DPkg::Pre-Install-Pkgs { \"echo $$ >/waits; exec sleep 1000\"; };\n";
    fs::write(root.join("etc/apt/apt.conf.d/99waits"), hook).unwrap();
    let failure = bench
        .manager()
        .install(&bench.plain("acme", "1"), PLAIN, QUIET)
        .unwrap_err();
    assert_eq!(failure.cause, Cause::PackageManager);
    assert!(failure.detail.as_str().contains("hooks"), "{failure}");
    assert_eq!(bench.version("acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
    let waited = fs::read_to_string(root.join("waits")).unwrap();
    wait_until("the end of the hook", || {
        let there = Path::new("/proc").join(waited.trim()).join("exe");
        there.read_link().is_err().then_some(())
    });
}

#[test]
fn what_is_printed_is_told_whether_it_succeeds_or_fails() {
    let bench = Bench::apt();
    let told = RefCell::new(Vec::new());
    let supervisor = Supervisor {
        printed: &|program, text| {
            told.borrow_mut()
                .push((program.to_owned(), text.to_owned()))
        },
        ..QUIET
    };
    let prints = |version: &str, then: &str| {
        let script = format!("echo to stdout {version}\necho to stderr {version} >&2\n{then}");
        let deb = Deb::new("acme", version).script(Script::Postinst, &script);
        let deb = deb.script(Script::Prerm, "echo it goes");
        bench.file(&deb, "acme", version)
    };
    let runs = |programs: &[&str], words: &[&str]| {
        let told = told.take();
        let ran: Vec<&str> = told.iter().map(|(program, _)| program.as_str()).collect();
        assert_eq!(ran, programs, "{told:?}");
        let printed: String = told.iter().map(|(_, text)| text.as_str()).collect();
        for words in words {
            assert!(printed.contains(words), "{words} is not in {printed}");
        }
    };
    let install = |file: &PackageFile| bench.manager().install(file, PLAIN, supervisor);

    let failed = install(&prints("1", "exit 3"));
    assert_eq!(failed.unwrap_err().cause, Cause::Script);
    let words = [
        "to stdout 1\nto stderr 1\n",
        "exit status 3",
        "Removing acme",
    ];
    runs(&["apt", "dpkg"], &words);
    install(&prints("2", "")).unwrap();
    runs(
        &["apt"],
        &["Setting up acme (2)", "to stdout 2\nto stderr 2\n"],
    );
    install(&prints("2", "")).unwrap();
    runs(&[], &[]);
    bench.manager().remove(&name("acme"), supervisor).unwrap();
    runs(&["apt"], &["it goes"]);
}

#[test]
fn a_script_that_does_not_end_is_ended_and_told() {
    let bench = Bench::apt_that_waits(Duration::from_secs(1), Duration::from_secs(2));
    let hanging = Deb::new("acme", "1").script(Script::Postinst, "sleep 1000");
    assert_eq!(
        bench.install(&bench.file(&hanging, "acme", "1")),
        Err(Cause::Script)
    );
    assert_eq!(bench.version("acme"), None);
    assert_eq!(bench.manager().audit().unwrap(), [""; 0]);
}

#[test]
fn an_install_goes_on_when_dpkg_alone_is_killed() {
    let kill = "if mkdir /killed 2>/dev/null; then kill -9 $PPID $$; fi";
    for script in [Script::Preinst, Script::Postinst] {
        let bench = Bench::apt();
        let file = bench.file(&Deb::new("acme", "1").script(script, kill), "acme", "1");
        assert_eq!(bench.install(&file), Ok(Change::Changed), "{script:?}");
        assert!(bench.place.path().join("killed").exists(), "{script:?}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{script:?}");
    }
}

#[test]
fn damage_that_was_there_before_is_told_and_left() {
    let bench = Bench::apt();
    let update = bench.place.path().join("var/lib/dpkg/updates/0001");
    fs::write(&update, "Package: foreign\nStatus: install ok unpacked\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n").unwrap();
    assert_eq!(
        bench.install(&bench.plain("acme", "1")),
        Err(Cause::Interrupted)
    );
    assert!(update.exists());
}

#[test]
fn each_state_that_a_killed_dpkg_leaves_is_repaired() {
    for (script, killed_at) in [
        (Script::Preinst, "install"),
        (Script::Postinst, "upgrade"),
        (Script::Prerm, "upgrade"),
        (Script::Postrm, "upgrade"),
    ] {
        let bench = Bench::apt();
        // Only the first run kills, so that the repair's run of the script succeeds: it kills apt and dpkg, then
        // itself.
        let kill = "if mkdir /killed 2>/dev/null; then kill -9 $(cat /proc/$PPID/stat | cut -d' ' -f4) $PPID $$; fi";
        let scripted = |version: &str, with: bool| {
            let deb = Deb::new("acme", version);
            let deb = if with { deb.script(script, kill) } else { deb };
            bench.file(&deb, "acme", version)
        };
        let old_is_killed = matches!(script, Script::Prerm | Script::Postrm);
        if killed_at == "upgrade" {
            bench.install(&scripted("1", old_is_killed)).unwrap();
        }
        let proc = bench.place.path().join("proc");
        nix::mount::mount(
            Some("proc"),
            &proc,
            Some("proc"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let file = scripted("2", !old_is_killed);
        let killed = bench.manager().install(&file, PLAIN, QUIET);
        assert!(killed.is_err(), "{script:?}: {killed:?}");
        let told = RefCell::new(String::new());
        let printed = |_: &str, text: &str| told.borrow_mut().push_str(text);
        let repaired = bench
            .manager()
            .repair(&name("acme"), Some(&file.path), &printed);
        assert!(repaired.is_ok(), "{script:?}: {repaired:?}");
        let has_run = told.borrow().contains("acme");
        assert_eq!(
            repaired == Ok(Change::Changed),
            has_run,
            "{script:?}: {told:?}"
        );
        assert!(bench.install(&file).is_ok(), "{script:?}");
        assert_eq!(bench.version("acme").as_deref(), Some("2"), "{script:?}");
        assert_eq!(bench.manager().audit().unwrap(), [""; 0], "{script:?}");
        nix::mount::umount(&proc).unwrap();
    }
}
