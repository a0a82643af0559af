//! The contract of `trait PackageManager`, the same for every package manager: apt in a Debian root, dnf 4 in a root with
//! rpm, opkg where this machine has one, and the simulated one. dnf 5 is in a target of its own (`make dnf5`): its suite
//! changes every day.

use std::{
    cell::{Cell, RefCell},
    cmp::Ordering,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use wharf_frames::{
    Cause, Failure, OperationId, PackageVersion,
    inspect::Format,
    installer::{Dependency, Found, JobPhase, SealedPackage},
};
use wharf_installers::{
    device::{Device, Installation},
    inspector::{Held, Inspector},
};
use wharf_managers::{
    Brought, Dependencies, Install, InstallOptions, PackageFile, PackageManager, Supervisor, Times,
    apt::Apt, dnf::Dnf, opkg::Opkg, simulated::SimulatedManager,
};
use wharf_root::{Change, Root, limits, pattern::Pattern};
use wharf_services::{Services, none::NoServiceManager, simulated};
use wharf_tests::{
    command::output_of,
    debian_root::DebianRoot,
    folder::Folder,
    opkg_feed::OpkgFeed,
    opkg_root::OpkgRoot,
    programs::Reachable,
    repository::Repository,
    rpm_repository::RpmRepository,
    rpm_root::{RpmRoot, is_dnf5},
    scratch_root::{ScratchRoot, WHARF_INSPECT},
    waiting,
};

use crate::machine::{Deb, Place, Script, name, wharf_inspect};

pub(crate) const PLAIN: InstallOptions = InstallOptions {
    allow_downgrade: false,
    reinstall: false,
};
pub(crate) const QUIET: Supervisor<'static> = Supervisor {
    report: &|_| (),
    begin: &|_| Ok(()),
    is_wanted: &|| true,
    printed: &|_, _| (),
};

fn plain(file: &PackageFile) -> Install {
    Install {
        file: file.clone(),
        options: PLAIN,
    }
}

/// Installs one file, without dependencies.
pub(crate) fn install_alone(
    manager: &dyn PackageManager,
    file: &PackageFile,
    options: InstallOptions,
    supervisor: Supervisor<'_>,
) -> Result<Change, Failure> {
    let file = file.clone();
    let installs = [Install { file, options }];
    let installed = manager.install(&installs, &Dependencies::None, supervisor);
    installed.map_err(Failure::from)
}

/// Attempts with a time limit that is long enough for all that comes before it counts. A loaded machine needs a longer
/// one, so each attempt has twice the limit of the last. It returns nothing if its limit was too short.
pub(crate) fn with_enough_time<T>(attempt: impl Fn(Duration) -> Option<T>) -> T {
    let mut limit = Duration::from_secs(2);
    loop {
        if let Some(done) = attempt(limit) {
            return done;
        }
        assert!(limit < waiting::LIMIT, "{limit:?} was too short");
        limit *= 2;
    }
}

/// A package manager with its services, in a root of its own.
pub(crate) struct Bench {
    pub(crate) place: Place,
    device: Device,
    packages: Folder,
    repository: Mutex<Option<Repository>>,
    rpm_repository: Mutex<Option<RpmRepository>>,
    feed: Mutex<Option<OpkgFeed>>,
    _programs: Reachable,
    /// The versions that tests describe, by the full versions that the package manager makes of them.
    described: Mutex<BTreeMap<String, PackageVersion>>,
}

impl Bench {
    pub(crate) fn apt() -> Self {
        Self::apt_that_waits(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// With this timeout for locks, and this time limit for maintainer scripts.
    pub(crate) fn apt_that_waits(lock_wait: Duration, time_limit: Duration) -> Self {
        let place = Place::Debian(DebianRoot::new());
        let root = Root::new(place.path());
        let times = Times {
            lock_wait,
            limit: time_limit,
        };
        let apt = Arc::new(Apt::open(&root, times).unwrap());
        let (services, database) = (Box::new(NoServiceManager), Apt::database(&root));
        Self::with(place, apt, services, database, inspector(Apt::format()))
    }

    pub(crate) fn dnf4() -> Self {
        Self::dnf(
            RpmRoot::dnf4(),
            Duration::from_secs(1),
            Duration::from_secs(60),
        )
    }

    pub(crate) fn dnf5() -> Self {
        Self::dnf(
            RpmRoot::dnf5(),
            Duration::from_secs(1),
            Duration::from_secs(60),
        )
    }

    /// With this timeout for locks, and this time limit for scripts.
    pub(crate) fn dnf(root: RpmRoot, lock_wait: Duration, time_limit: Duration) -> Self {
        let place = Place::Rpm(root);
        let root = Root::new(place.path());
        let times = Times {
            lock_wait,
            limit: time_limit,
        };
        let dnf = Arc::new(Dnf::open(&root, times).unwrap());
        let (services, database) = (Box::new(NoServiceManager), Dnf::database(&root));
        Self::with(place, dnf, services, database, inspector(Dnf::format()))
    }

    /// None where this machine has no opkg.
    pub(crate) fn opkg() -> Option<Self> {
        Self::opkg_that_ends_scripts_after(Duration::from_secs(60))
    }

    pub(crate) fn opkg_that_ends_scripts_after(limit: Duration) -> Option<Self> {
        let place = Place::Opkg(OpkgRoot::new()?);
        let root = Root::new(place.path());
        let times = Times {
            lock_wait: Duration::from_secs(1),
            limit,
        };
        let (programs, inspector) = inspector(Opkg::format());
        let contents = Arc::new(inspector.clone());
        let opkg = Arc::new(Opkg::open(&root, times, contents).unwrap());
        let (services, database) = (Box::new(NoServiceManager), Opkg::database(&root));
        let inspector = (programs, inspector);
        Some(Self::with(place, opkg, services, database, inspector))
    }

    fn simulated() -> Self {
        let place = Place::Scratch(ScratchRoot::new());
        let root = Root::new(place.path());
        let manager = Arc::new(SimulatedManager::open(&root).unwrap());
        let services = Box::new(simulated::SimulatedServices::open(&root).unwrap());
        let database = SimulatedManager::database(&root);
        let inspector = inspector(SimulatedManager::format());
        Self::with(place, manager, services, database, inspector)
    }

    fn with(
        place: Place,
        packages: Arc<dyn PackageManager>,
        services: Box<dyn Services>,
        database: PathBuf,
        (programs, inspector): (Reachable, Inspector),
    ) -> Self {
        Self {
            place,
            _programs: programs,
            device: Device {
                packages,
                services,
                inspector,
                held: Held::default(),
                database,
            },
            packages: Folder::new(),
            repository: Mutex::default(),
            rpm_repository: Mutex::default(),
            feed: Mutex::default(),
            described: Mutex::default(),
        }
    }

    pub(crate) fn manager(&self) -> &dyn PackageManager {
        self.device.packages.as_ref()
    }

    pub(crate) fn is_apt(&self) -> bool {
        self.manager().name() == "apt"
    }

    fn is_simulated(&self) -> bool {
        self.manager().name() == "simulated"
    }

    /// A package file inside the root, as a sealed one is.
    pub(crate) fn file(&self, deb: &Deb, package: &str, version: &str) -> PackageFile {
        let built = self.place.build(deb, self.packages.path());
        let (full, architecture) = match &self.place {
            Place::Rpm(_) if version.contains('-') => (version.to_owned(), "noarch"),
            Place::Rpm(_) => (format!("{version}-1"), "noarch"),
            _ => (version.to_owned(), "all"),
        };
        let path = self
            .place
            .path()
            .join(format!("tmp/{package}-{}", version.replace(':', "_")));
        fs::copy(built, &path).unwrap();
        let described = PackageVersion::new(version).unwrap();
        self.described
            .lock()
            .unwrap()
            .insert(full.clone(), described);
        PackageFile {
            package: SealedPackage {
                name: name(package),
                version: PackageVersion::new(&full).unwrap(),
                architecture: architecture.into(),
                length: fs::metadata(&path).unwrap().len(),
                signer: None,
                components: Vec::new(),
            },
            path,
        }
    }

    pub(crate) fn plain(&self, package: &str, version: &str) -> PackageFile {
        self.file(&Deb::new(package, version), package, version)
    }

    pub(crate) fn version(&self, package: &str) -> Option<String> {
        let whole = self.found(package).filter(Found::is_whole);
        whole.map(|found| found.version.to_string())
    }

    /// With the version as the test described it.
    pub(crate) fn found(&self, package: &str) -> Option<Found> {
        let mut found = self.device.found(&name(package)).unwrap();
        if let Some(found) = &mut found {
            let described = self.described.lock().unwrap();
            if let Some(version) = described.get(found.version.as_str()) {
                found.version = version.clone();
            }
        }
        found
    }

    /// Makes the sources of the device offer this package. The device fetches their lists only if told so.
    pub(crate) fn offer(&self, deb: &Deb, package: &str, fetches: bool) {
        match &self.place {
            Place::Debian(root) => {
                let mut repository = self.repository.lock().unwrap();
                let repository = repository.get_or_insert_with(|| Repository::new(&root.path()));
                repository.offer(deb);
                if fetches {
                    repository.fetch();
                }
            }
            Place::Scratch(root) => {
                let built = deb.build_simulated(self.packages.path());
                let sources = root.path().join("srv/wharf-simulated");
                fs::create_dir_all(&sources).unwrap();
                fs::copy(built, sources.join(package)).unwrap();
                if fetches {
                    let names = fs::read_dir(&sources).unwrap().flatten();
                    let names = names.map(|it| it.file_name().into_string().unwrap());
                    let names: Vec<String> = names.collect();
                    let index = root.path().join("var/lib/wharf-simulated/index");
                    fs::write(index, names.join("\n")).unwrap();
                }
            }
            Place::Rpm(root) => {
                let mut repository = self.rpm_repository.lock().unwrap();
                let repository = repository.get_or_insert_with(|| RpmRepository::new(&root.path()));
                repository.offer(&deb.as_rpm());
                if fetches {
                    repository.fetch();
                }
            }
            Place::Opkg(root) => {
                let mut feed = self.feed.lock().unwrap();
                let feed = feed.get_or_insert_with(|| OpkgFeed::new(root));
                feed.offer(deb);
                if fetches {
                    feed.fetch(root);
                }
            }
            _ => panic!("there are no sources"),
        }
    }

    /// Installs these files in one run. Returns each set of packages that came along.
    pub(crate) fn install_with(
        &self,
        files: &[PackageFile],
        dependencies: &Dependencies,
    ) -> Result<Vec<Brought>, Failure> {
        let installs: Vec<Install> = files.iter().map(plain).collect();
        let begun = RefCell::new(Vec::new());
        let supervisor = Supervisor {
            begin: &|brought| {
                begun.borrow_mut().push(brought.clone());
                Ok(())
            },
            printed: &|program, text| println!("{program}: {text}"),
            ..QUIET
        };
        self.manager()
            .install(&installs, dependencies, supervisor)?;
        Ok(begun.into_inner())
    }

    /// Puts a package on hold, as an administrator does.
    fn hold(&self, package: &str) {
        match &self.place {
            Place::Debian(root) => {
                drop(output_of(root.command("apt-mark").args(["hold", package])))
            }
            Place::Rpm(root) => root.lock_versions(package, "1-1"),
            Place::Opkg(root) => drop(output_of(
                root.command("opkg").args(["flag", "hold", package]),
            )),
            _ => drop(tell(self, "held")),
        }
    }

    /// A script that can stop a removal, and what the removal leaves then. The last script of rpm and opkg stops nothing.
    fn stopped_removal(&self) -> (Script, &'static str) {
        match &self.place {
            Place::Rpm(_) | Place::Opkg(_) => (Script::Prerm, "acme 1"),
            _ => (Script::Postrm, "acme 1 (half-installed)"),
        }
    }

    pub(crate) fn install(&self, file: &PackageFile) -> Result<Change, Cause> {
        let unit_files = self.device.unit_files(&file.path);
        let installation = Installation {
            install: &plain(file),
            unit_files: &unit_files.map_err(|not_done| Failure::from(not_done).cause)?,
            operation: OperationId::from_bytes([1; 16]),
            adopts: false,
        };
        let installed = self
            .device
            .install(&[installation], &Dependencies::None, QUIET);
        installed.map_err(|error| Failure::from(error).cause)
    }
}

/// wharf-inspect, and the folder in which its user can read it.
fn inspector(format: Format) -> (Reachable, Inspector) {
    let programs = Reachable::of(wharf_inspect().parent().unwrap());
    let inspector = Inspector {
        program: programs.path().join("wharf-inspect"),
        uid: WHARF_INSPECT.id,
        gid: WHARF_INSPECT.id,
        time_limit: limits::INSPECTION,
        format,
    };
    (programs, inspector)
}

pub(crate) fn each(test: impl Fn(&Bench)) {
    for bench in benches() {
        test(&bench);
        assert_eq!(
            bench.manager().audit().unwrap(),
            [""; 0],
            "{} is left whole",
            bench.manager().name()
        );
    }
}

/// As [`each`], without those that delete the configuration with the package.
pub(crate) fn each_that_keeps_configuration(test: impl Fn(&Bench)) {
    each(|bench| match bench.place {
        Place::Rpm(_) | Place::Opkg(_) => {}
        _ => test(bench),
    });
}

/// As [`each`], without those that install one file in a run.
fn each_with_several_files(test: impl Fn(&Bench)) {
    each(|bench| match bench.place {
        Place::Opkg(_) => {}
        _ => test(bench),
    });
}

/// A package manager of each kind; dnf 5 where that alone is asked for.
fn benches() -> Vec<Bench> {
    match is_dnf5() {
        true => vec![Bench::dnf5()],
        false => [Bench::simulated(), Bench::apt(), Bench::dnf4()]
            .into_iter()
            .chain(Bench::opkg())
            .collect(),
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
            install_alone(bench.manager(), &second, again, QUIET),
            Ok(Change::Changed)
        );
        if !bench.is_simulated() {
            assert!(bench.place.path().join("usr/share/acme/more").exists());
        }
    });
}

#[test]
fn a_script_that_fails_is_told_and_leaves_a_whole_device() {
    each(|bench| {
        let failing = Deb::new("acme", "1").script(Script::Postinst, "exit 3");
        let file = bench.file(&failing, "acme", "1");
        if bench.is_simulated() {
            tell(bench, "fail-install");
        }
        assert_eq!(bench.install(&file), Err(Cause::Script));
        assert_eq!(bench.version("acme"), None);
        // rpm leaves it in part.
        let in_part = bench.found("acme").is_some();
        assert_eq!(!bench.manager().audit().unwrap().is_empty(), in_part);
        bench.manager().remove(&name("acme"), QUIET).unwrap();
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
fn what_a_failed_removal_left_is_told_and_can_be_removed() {
    each(|bench| {
        let fault = tell(bench, "fail-postrm");
        let (script, left_behind) = bench.stopped_removal();
        // 0: the last version goes.
        let commands = "[ $1 != remove -a $1 != 0 ] || [ ! -e /etc/wharf-simulated/fail-postrm ]";
        let deb = Deb::new("acme", "1").script(script, commands);
        bench.install(&bench.file(&deb, "acme", "1")).unwrap();
        for _ in 0..2 {
            let removed = bench.manager().remove(&name("acme"), QUIET);
            assert_eq!(removed.map_err(|failure| failure.cause), Err(Cause::Script));
            let left = bench.found("acme").expect("a part of it");
            assert_eq!(left.to_string(), left_behind);
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
        let needed = match &bench.place {
            Place::Debian(_) => "libnowhere (>= 2)",
            Place::Opkg(_) => "libnowhere",
            _ => "libnowhere >= 2",
        };
        let failure = install_alone(bench.manager(), &file, PLAIN, QUIET).unwrap_err();
        assert_eq!(failure.cause, Cause::Dependency);
        assert!(failure.detail.as_str().contains(needed), "{failure}");
    });
}

#[test]
fn several_files_that_need_each_other_are_installed_in_one_run() {
    each_with_several_files(|bench| {
        let acme = Deb::new("acme", "1").depends("lamp");
        let acme = bench.file(&acme, "acme", "1");
        let lamp = Deb::new("lamp", "1").depends("acme");
        let lamp = bench.file(&lamp, "lamp", "1");
        let failure = bench
            .install_with(std::slice::from_ref(&acme), &Dependencies::None)
            .unwrap_err();
        assert_eq!(failure.cause, Cause::Dependency, "{failure}");
        let both = [acme, lamp];
        for begun in [vec![Brought::default()], vec![]] {
            assert_eq!(bench.install_with(&both, &Dependencies::None), Ok(begun));
            let versions = ["acme", "lamp"].map(|name| bench.version(name));
            assert_eq!(versions, [Some("1".to_owned()), Some("1".to_owned())]);
        }
        let more = [both[0].clone(), bench.plain("tool", "1"), both[1].clone()];
        let begun = bench.install_with(&more, &Dependencies::None);
        assert_eq!(begun, Ok(vec![Brought::default()]));
        assert_eq!(bench.version("tool").as_deref(), Some("1"));
    });
}

#[test]
fn of_several_files_none_is_installed_if_one_cannot_be() {
    each_with_several_files(|bench| {
        let needy = Deb::new("acme", "1").depends("libnowhere");
        let files = [bench.plain("tool", "1"), bench.file(&needy, "acme", "1")];
        let failure = bench.install_with(&files, &Dependencies::None).unwrap_err();
        assert_eq!(failure.cause, Cause::Dependency, "{failure}");
        assert_eq!((bench.found("tool"), bench.found("acme")), (None, None));
    });
}

/// The packages that [`with_libraries`] offers.
fn libraries(bench: &Bench) -> [Dependency; 2] {
    let version = match &bench.place {
        Place::Rpm(_) => "2-1",
        _ => "2",
    };
    ["libbar", "libfoo"].map(|library| Dependency {
        name: name(library),
        version: PackageVersion::new(version).unwrap(),
    })
}

/// acme, which needs libfoo, which needs libbar. The sources offer the libraries.
fn with_libraries(bench: &Bench, fetches: bool) -> PackageFile {
    bench.offer(&Deb::new("libbar", "2"), "libbar", fetches);
    bench.offer(
        &Deb::new("libfoo", "2").depends("libbar"),
        "libfoo",
        fetches,
    );
    let acme = Deb::new("acme", "1").depends("libfoo (>= 2)");
    bench.file(&acme, "acme", "1")
}

#[test]
fn dependencies_come_from_the_sources_as_policy_says_and_are_unused_after_a_removal() {
    each(|bench| {
        let acme = [with_libraries(bench, true)];
        let listed = Dependencies::Listed(vec![Pattern::new("libfoo").unwrap()]);
        for (dependencies, cause) in [
            (Dependencies::None, Cause::Dependency),
            (listed, Cause::Plan),
        ] {
            let failure = bench.install_with(&acme, &dependencies).unwrap_err();
            assert_eq!(failure.cause, cause, "{failure}");
            let found = ["acme", "libfoo", "libbar"].map(|name| bench.found(name));
            assert_eq!(found, [None, None, None]);
        }
        let listed = Dependencies::Listed(vec![Pattern::new("lib*").unwrap()]);
        for dependencies in [Dependencies::ConfiguredSources, listed] {
            let planned = bench
                .manager()
                .plan(&acme.each_ref().map(plain), &dependencies);
            let planned = planned.unwrap().into_iter();
            let planned: BTreeMap<_, _> = planned
                .map(|it| (it.name.to_string(), (it.is_dependency, it.replaces)))
                .collect();
            let new = |name: &str, is_dependency| (name.to_owned(), (is_dependency, None));
            let expected = [new("acme", false), new("libbar", true), new("libfoo", true)];
            assert_eq!(planned, expected.into());

            let begun = bench.install_with(&acme, &dependencies).unwrap();
            let [
                Brought {
                    dependencies: came,
                    refreshed: false,
                },
            ] = begun.as_slice()
            else {
                panic!("{begun:?}");
            };
            let mut came = came.clone();
            came.sort();
            assert_eq!(came, libraries(bench));
            let version = bench.version("libbar");
            assert_eq!(version.as_deref(), Some(came[0].version.as_str()));
            assert_eq!(bench.manager().unused(), Ok([].into()));
            bench.manager().remove(&name("acme"), QUIET).unwrap();
            let unused = libraries(bench).map(|it| it.name).into();
            assert_eq!(bench.manager().unused(), Ok(unused));
            for library in ["libfoo", "libbar"] {
                bench.manager().remove(&name(library), QUIET).unwrap();
            }
        }
    });
}

#[test]
fn stale_lists_of_the_sources_are_fetched_once_and_that_is_told() {
    each(|bench| {
        bench.offer(&Deb::new("other", "1"), "other", true);
        let acme = [with_libraries(bench, false)];
        let begun = bench
            .install_with(&acme, &Dependencies::ConfiguredSources)
            .unwrap();
        let told: Vec<bool> = begun.iter().map(|brought| brought.refreshed).collect();
        assert_eq!(told, [true]);
        assert_eq!(bench.version("acme").as_deref(), Some("1"));

        let needy = Deb::new("tool", "1").depends("libnowhere");
        let needy = [bench.file(&needy, "tool", "1")];
        let failure = bench
            .install_with(&needy, &Dependencies::ConfiguredSources)
            .unwrap_err();
        assert_eq!(failure.cause, Cause::Dependency, "{failure}");
        assert!(failure.detail.as_str().contains("libnowhere"), "{failure}");
    });
}

#[test]
fn no_installed_package_is_upgraded_for_a_new_one() {
    each(|bench| {
        bench.install(&bench.plain("libfoo", "1")).unwrap();
        let acme = [with_libraries(bench, true)];
        let failure = bench
            .install_with(&acme, &Dependencies::ConfiguredSources)
            .unwrap_err();
        assert_eq!(failure.cause, Cause::Plan, "{failure}");
        assert!(failure.detail.as_str().contains("libfoo"), "{failure}");
        let found = ["acme", "libfoo", "libbar"].map(|name| bench.version(name));
        assert_eq!(found, [None, Some("1".to_owned()), None]);
    });
}

#[test]
fn a_package_on_hold_is_not_changed() {
    each(|bench| {
        bench.install(&bench.plain("acme", "1")).unwrap();
        bench.hold("acme");
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
        let rows = match &bench.place {
            Place::Debian(_) => [
                ("1~rc1", "1", Ordering::Less),
                ("1:0", "9", Ordering::Greater),
                ("1.0-0", "1.0", Ordering::Equal),
            ],
            Place::Rpm(_) => [
                ("1~rc1-1", "1-1", Ordering::Less),
                ("1:0-1", "9-1", Ordering::Greater),
                ("1_0-1", "1.0-1", Ordering::Equal),
            ],
            _ => [
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
        install_alone(bench.manager(), &file, PLAIN, supervisor).unwrap();
        assert!(told.borrow().contains(&JobPhase::Applying), "{told:?}");
    });
}

#[test]
fn the_versions_of_the_programs_and_the_holder_of_a_lock_are_told() {
    each(|bench| {
        let version = bench.manager().version().unwrap();
        let numbered = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
        let numbers = version.split_whitespace().filter(|word| numbered(word));
        let programs = match bench.manager().name() {
            "simulated" | "opkg" => 1,
            _ => 2,
        };
        assert_eq!(numbers.count(), programs, "{version}");

        let held = || {
            let locks = bench.manager().locks().unwrap();
            let held = locks.into_iter().filter_map(|lock| lock.holder);
            held.collect::<Vec<String>>()
        };
        let during = RefCell::new(Vec::new());
        let supervisor = Supervisor {
            begin: &|_| {
                during.replace(held());
                Ok(())
            },
            ..QUIET
        };
        assert_eq!(held(), [""; 0]);
        let file = bench.plain("acme", "1");
        install_alone(bench.manager(), &file, PLAIN, supervisor).unwrap();
        // The simulated one takes no lock.
        assert_eq!(during.take().is_empty(), bench.is_simulated());
        assert_eq!(held(), [""; 0]);
    });
}

#[test]
fn nothing_is_changed_before_it_is_begun_and_nothing_unless_it_is() {
    each(|bench| {
        let (one, two) = (bench.plain("acme", "1"), bench.plain("acme", "2"));
        let begun = Cell::new(0);
        let before = RefCell::new(None);
        let (begin, refuse) = (
            |_: &Brought| {
                begun.set(begun.get() + 1);
                assert_eq!(bench.version("acme"), *before.borrow());
                Ok(())
            },
            |_: &Brought| Err(Failure::new(Cause::Policy, "not now")),
        );
        let supervisor = |begin| Supervisor { begin, ..QUIET };
        let refused = |done: Result<Change, Failure>| done.unwrap_err().cause;
        let install = |file, supervisor| install_alone(bench.manager(), file, PLAIN, supervisor);
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
fn a_run_that_is_not_wanted_any_more_is_not_begun() {
    each(|bench| {
        let (one, two) = (bench.plain("acme", "1"), bench.plain("acme", "2"));
        bench.install(&one).unwrap();
        let supervisor = Supervisor {
            begin: &|_| panic!("{}: it is begun", bench.manager().name()),
            is_wanted: &|| false,
            ..QUIET
        };
        for done in [
            install_alone(bench.manager(), &two, PLAIN, supervisor),
            bench.manager().remove(&name("acme"), supervisor),
        ] {
            assert_eq!(done.unwrap_err().cause, Cause::GaveUp);
        }
        assert_eq!(bench.version("acme").as_deref(), Some("1"));
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
        if !bench.is_simulated() {
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
            install: &plain(&bench.plain("acme", "2")),
            unit_files: &[],
            operation,
            adopts: false,
        };
        let supervisor = Supervisor {
            begin: &|_| Err(Failure::new(Cause::Policy, "not now")),
            ..QUIET
        };
        let refused = bench
            .device
            .install(&[refused], &Dependencies::None, supervisor);
        assert!(refused.is_err());
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
        assert!(installed != before, "{}", bench.manager().name());
        bench.manager().remove(&name("acme"), QUIET).unwrap();
        assert!(written() != installed, "{}", bench.manager().name());
    });
}
