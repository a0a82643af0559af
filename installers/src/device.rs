//! The device: its package manager, its services and wharf-inspect together. None of them knows another. Jobs and answers
//! work on the device through here.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    inspect::Format,
    installer::Found,
    packed::{FileDigest, PackedFile},
};
use wharf_managers::{
    Dependencies, Install, OrderError, PackageManager, PutOff, Supervisor, Times,
    apt::Apt,
    dnf::Dnf,
    opkg::{Contents, Opkg},
};
use wharf_root::{
    Change, Owners, Root, limits,
    session::{Role, RunningProcess},
    users,
};
use wharf_services::{Packages, Presence, Services, none::NoServiceManager, systemd::Systemd};

use crate::{
    inspector::{Held, InspectError, Inspector},
    not_done::NotDone,
    policy::{PackageManagerName, Policy},
};

/// The device of one root.
pub struct Device {
    /// The package manager.
    pub packages: Arc<dyn PackageManager>,
    /// The services of its packages.
    pub services: Box<dyn Services>,
    /// Looks into package files.
    pub inspector: Inspector,
    /// The last of its judgements.
    pub held: Held,
    /// See [`database`].
    pub database: PathBuf,
}

/// [`Packages`] of a package manager.
struct PackagesOf(Arc<dyn PackageManager>);

/// One installation.
#[derive(Debug, Clone, Copy)]
pub struct Installation<'a> {
    /// The sealed package, and the options for the package manager.
    pub install: &'a Install,
    /// The files of the package that [`Device::unit_files`] returned.
    pub unit_files: &'a [PackedFile],
    /// The operation of the job.
    pub operation: OperationId,
    /// The device had the package before wharfd: its services stay as they are.
    pub adopts: bool,
}

/// A package manager before it is opened.
struct UnopenedManager {
    database: fn(&Root) -> PathBuf,
    format: fn() -> Format,
    open: OpenManager,
}

type OpenManager = fn(&Root, &Policy) -> Result<Arc<dyn PackageManager>, Failure>;

impl UnopenedManager {
    fn of<M: PackageManager>(open: OpenManager) -> Self {
        Self {
            database: M::database,
            format: M::format,
            open,
        }
    }
}

/// The only place that knows which type is which package manager.
fn manager(name: PackageManagerName) -> UnopenedManager {
    match name {
        PackageManagerName::Apt => {
            UnopenedManager::of::<Apt>(|root, policy| Ok(Arc::new(Apt::open(root, times(policy))?)))
        }
        PackageManagerName::Dnf => {
            UnopenedManager::of::<Dnf>(|root, policy| Ok(Arc::new(Dnf::open(root, times(policy))?)))
        }
        PackageManagerName::Opkg => UnopenedManager::of::<Opkg>(|root, policy| {
            let contents = Arc::new(open_inspector(root, policy)?);
            Ok(Arc::new(Opkg::open(root, times(policy), contents)?))
        }),
        #[cfg(feature = "simulated")]
        PackageManagerName::Simulated => {
            use wharf_managers::simulated::SimulatedManager;
            UnopenedManager::of::<SimulatedManager>(|root, _| {
                Ok(Arc::new(SimulatedManager::open(root)?))
            })
        }
    }
}

/// The package manager of the policy, else the one whose database has packages. A system may have the tools of another one,
/// with an empty database.
fn chosen(root: &Root, policy: &Policy) -> PackageManagerName {
    let has_packages = |name| {
        let database = (manager(name).database)(root);
        fs::metadata(database).is_ok_and(|file| file.len() > 0)
    };
    let known = [
        PackageManagerName::Apt,
        PackageManagerName::Dnf,
        PackageManagerName::Opkg,
    ];
    policy.package_manager.unwrap_or_else(|| {
        let found = known.into_iter().find(|name| has_packages(*name));
        found.unwrap_or(PackageManagerName::Apt)
    })
}

fn times(policy: &Policy) -> Times {
    Times {
        lock_wait: policy.lock_wait,
        limit: policy.job_time_limit,
    }
}

/// The file of the policy's package manager that changes whenever packages change.
pub fn database(root: &Root, policy: &Policy) -> PathBuf {
    (manager(chosen(root, policy)).database)(root)
}

/// The format of the packages of the policy's package manager.
pub fn format(root: &Root, policy: &Policy) -> Format {
    (manager(chosen(root, policy)).format)()
}

/// wharf-inspect. The program lies beside this one and runs as its own user of the root.
pub fn open_inspector(root: &Root, policy: &Policy) -> Result<Inspector, Failure> {
    let unavailable = |why: String| Failure::new(Cause::Unavailable, why);
    let user =
        users::user(root, "wharf-inspect").map_err(|error| unavailable(error.to_string()))?;
    let program = env::current_exe().map_err(|error| {
        unavailable(format!("cannot look up the path of this program: {error}"))
    })?;
    Ok(Inspector {
        program: program.with_file_name("wharf-inspect"),
        uid: user.uid,
        gid: user.gid,
        time_limit: limits::INSPECTION,
        format: format(root, policy),
    })
}

/// The package manager of this policy. It is enough for a question that looks into no package file.
pub fn open_packages(root: &Root, policy: &Policy) -> Result<Arc<dyn PackageManager>, Failure> {
    (manager(chosen(root, policy)).open)(root, policy)
}

/// The services of the packages of this package manager.
pub fn open_services(
    root: &Root,
    policy: &Policy,
    packages: &Arc<dyn PackageManager>,
) -> Result<Box<dyn Services>, Failure> {
    #[cfg(feature = "simulated")]
    if policy.package_manager == Some(PackageManagerName::Simulated) {
        return Ok(Box::new(
            wharf_services::simulated::SimulatedServices::open(root)?,
        ));
    }
    let packages = Arc::new(PackagesOf(Arc::clone(packages)));
    Ok(match Systemd::of(root, &policy.protected_units, packages) {
        Some(systemd) => Box::new(systemd),
        None => Box::new(NoServiceManager),
    })
}

impl Device {
    /// The device of this root, with the package manager of this policy.
    pub fn open(root: &Root, policy: &Policy) -> Result<Self, Failure> {
        let packages = open_packages(root, policy)?;
        Ok(Self {
            services: open_services(root, policy, &packages)?,
            packages,
            inspector: open_inspector(root, policy)?,
            held: Held::default(),
            database: database(root, policy),
        })
    }

    /// The package with its activity. The ledger knows whether it is managed.
    pub fn found(&self, name: &PackageName) -> Result<Option<Found>, Failure> {
        let Some(present) = self.packages.found(name)? else {
            return Ok(None);
        };
        let activity = self.services.activity(name)?;
        Ok(Some(Found {
            name: name.clone(),
            version: present.version,
            active: activity.active,
            damage: present.damage,
            managed: false,
            no_services: activity.no_services,
            skipped: activity.skipped,
            components: Vec::new(),
        }))
    }

    /// Installs packages in one run of the package manager. They are INACTIVE afterwards, unless they were adopted.
    pub fn install(
        &self,
        installations: &[Installation<'_>],
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let change = self.install_held(installations, dependencies, supervisor)?;
        fault::point("job.installed");
        for Installation {
            install, operation, ..
        } in installations
        {
            let name = &install.file.package.name;
            self.services.settle(name, *operation, true)?;
        }
        Ok(change)
    }

    /// As [`Device::install`], and the units stay held until the caller settles them.
    pub(crate) fn install_held(
        &self,
        installations: &[Installation<'_>],
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let put_off = PutOff::default();
        let supervisor = Supervisor {
            begin: &|brought| {
                (supervisor.begin)(brought)?;
                let held = installations.iter().try_for_each(|it| self.hold(*it));
                held.map_err(|error| put_off.note(error))
            },
            ..supervisor
        };
        let installs: Vec<Install> = installations.iter().map(|it| it.install.clone()).collect();
        let installed = self.packages.install(&installs, dependencies, supervisor);
        installed.map_err(|error| put_off.told(error))
    }

    /// Holds no units if the package manager has nothing to do.
    fn hold(&self, installation: Installation<'_>) -> Result<(), OrderError> {
        let Installation {
            install: Install { file, options },
            unit_files,
            operation,
            adopts,
        } = installation;
        let name = &file.package.name;
        if self.packages.has(file, *options)? && !self.services.is_held_by(name, operation)? {
            return Ok(());
        }
        Ok(self.services.hold(name, operation, unit_files, adopts)?)
    }

    /// The files of a package file that say something about its services. wharf-inspect reads them: root parses no package.
    /// This can take minutes and can fail without a judgement, so it is asked before the package manager starts.
    pub fn unit_files(&self, file: &Path) -> Result<Vec<PackedFile>, NotDone> {
        let wanted = self.services.wanted();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let package = File::open(file).map_err(|error| {
            NotDone::not_now(format!("cannot open {}: {error}", file.display()))
        })?;
        Ok(self.inspector.files(package.as_fd(), &wanted)?)
    }

    /// Removes a package with its running units.
    pub fn remove(
        &self,
        name: &PackageName,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, Failure> {
        let change = self.packages.remove(name, supervisor)?;
        self.services.forget(name)?;
        Ok(change)
    }

    /// Purges a removed package.
    pub fn purge(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        let change = self.packages.purge(name, supervisor)?;
        let is_gone =
            self.packages.found(name)?.is_none() && !self.packages.leaves_configuration(name)?;
        if is_gone {
            self.services.forget_purged(name)?;
        }
        Ok(change)
    }

    /// Cleans up after earlier jobs. Does not touch packages that a job `is_at_work` on.
    pub fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) -> Result<(), Failure> {
        self.packages.tidy(is_at_work);
        self.services.tidy(is_at_work)
    }
}

impl Contents for Inspector {
    fn each_digest(
        &self,
        package: &Path,
        each: &mut dyn FnMut(FileDigest) -> Result<(), Failure>,
    ) -> Result<(), OrderError> {
        let file = File::open(package).map_err(|error| {
            let detail = format!("cannot open {}: {error}", package.display());
            Failure::new(Cause::Unavailable, detail)
        })?;
        let told = self.digests(file.as_fd(), each);
        told.map_err(|error| match error {
            InspectError::Refused(failure) => OrderError::Failed(failure),
            error => OrderError::NotNow(error.into()),
        })
    }
}

impl Packages for PackagesOf {
    fn presence(&self, name: &PackageName) -> Result<Presence, Failure> {
        Ok(match self.0.found(name)? {
            None => Presence::Absent,
            Some(present) if present.is_whole() => Presence::Whole(present.version),
            Some(_) => Presence::Damaged,
        })
    }

    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure> {
        self.0.each_path(name, visit)
    }

    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure> {
        self.0.owners(paths)
    }

    fn is_package_manager(&self, process: &RunningProcess) -> bool {
        self.0.role(process).is_some_and(Role::is_package_manager)
    }
}

/// A device with a simulated package manager, for unit tests. It has no wharf-inspect.
#[cfg(test)]
pub(crate) fn simulated(root: &Root) -> Device {
    Device {
        packages: Arc::new(wharf_managers::simulated::SimulatedManager::open(root).unwrap()),
        services: Box::new(wharf_services::simulated::SimulatedServices::open(root).unwrap()),
        inspector: Inspector {
            program: "/nonexistent".into(),
            uid: 65534,
            gid: 65534,
            time_limit: std::time::Duration::from_secs(1),
            format: Format::Simulated,
        },
        held: Held::default(),
        database: root.path("var/lib/wharf-simulated/history"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wharf_frames::{PackageVersion, installer::SealedPackage};
    use wharf_managers::{InstallOptions, PackageFile};

    use super::*;

    const OPERATION: OperationId = OperationId::from_bytes([1; 16]);
    const QUIET: Supervisor<'static> = Supervisor {
        report: &|_| (),
        begin: &|_| Ok(()),
        is_wanted: &|| true,
        printed: &|_, _| (),
    };

    struct Bench {
        _folder: tempfile::TempDir,
        root: Root,
        device: Device,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            Self {
                device: simulated(&root),
                root,
                _folder: folder,
            }
        }

        fn version(&self, version: &str) -> Install {
            let path = self.root.path(format!("acme-{version}"));
            fs::write(&path, "wharf-simulated 1\n").unwrap();
            let file = PackageFile {
                path,
                package: SealedPackage {
                    name: acme(),
                    version: PackageVersion::new(version).unwrap(),
                    architecture: "all".into(),
                    length: 1,
                    signer: None,
                    components: Vec::new(),
                },
            };
            let options = InstallOptions {
                allow_downgrade: false,
                reinstall: false,
            };
            Install { file, options }
        }

        fn held(&self) -> Option<String> {
            let path = self.root.path("var/lib/wharf-simulated/acme_held");
            fs::read_to_string(path).ok()
        }

        fn is_active(&self) -> bool {
            let found = self.device.found(&acme()).unwrap();
            found.is_some_and(|found| found.active)
        }
    }

    fn acme() -> PackageName {
        PackageName::new("acme").unwrap()
    }

    fn installation<'a>(install: &'a Install, unit_files: &'a [PackedFile]) -> Installation<'a> {
        Installation {
            install,
            unit_files,
            operation: OPERATION,
            adopts: false,
        }
    }

    #[test]
    fn a_package_is_held_with_its_unit_files_unless_the_package_manager_has_nothing_to_do() {
        let bench = Bench::new();
        let (device, one, two) = (&bench.device, bench.version("1"), bench.version("2"));
        let files = [PackedFile {
            path: "etc/init.d/acme".to_owned(),
            target: None,
            content: b"start".to_vec().into(),
        }];
        let change = device.install(&[installation(&one, &files)], &Dependencies::None, QUIET);
        assert_eq!(change, Ok(Change::Changed));
        let held = Some("etc/init.d/acme: start\n".to_owned());
        assert_eq!(bench.held(), held);

        device.services.activate(&acme(), OPERATION).unwrap();
        device.hold(installation(&one, &[])).unwrap();
        assert!(bench.is_active());
        assert_eq!(bench.held(), held);
        device.hold(installation(&two, &[])).unwrap();
        assert!(!bench.is_active());
        assert_eq!(bench.held().as_deref(), Some(""));

        assert_eq!(device.remove(&acme(), QUIET), Ok(Change::Changed));
        assert_eq!((bench.held(), device.found(&acme())), (None, Ok(None)));
    }

    #[test]
    fn unit_files_that_nobody_can_read_now_are_no_refusal_and_nonsense_is_one() {
        let mut bench = Bench::new();
        let file = bench.version("1").file;
        let inspector = &mut bench.device.inspector;
        inspector.uid = nix::unistd::getuid().as_raw();
        inspector.gid = nix::unistd::getgid().as_raw();
        inspector.time_limit = Duration::from_millis(200);
        // cat answers with the package. yes never ends.
        for (program, path, is_final) in [
            ("/nonexistent", &file.path, false),
            ("/usr/bin/yes", &file.path, false),
            ("/bin/cat", &bench.root.path("nonexistent"), false),
            ("/bin/cat", &file.path, true),
        ] {
            bench.device.inspector.program = program.into();
            let not_done = bench.device.unit_files(path).unwrap_err();
            let cause = match &not_done {
                NotDone::Refused(failure) => (true, failure.cause),
                NotDone::NotNow(failure) => (false, failure.cause),
            };
            let expected = match is_final {
                true => (true, Cause::Malformed),
                false => (false, Cause::Unavailable),
            };
            assert_eq!(cause, expected, "{program} {path:?}: {not_done:?}");
        }
    }

    #[test]
    fn the_package_manager_is_the_one_that_has_packages_unless_policy_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let write = |path: &str, text: &str| {
            let path = root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let plain = Policy::default();
        assert_eq!(chosen(&root, &plain), PackageManagerName::Apt);
        write("usr/lib/sysimage/rpm/rpmdb.sqlite", "packages");
        assert_eq!(chosen(&root, &plain), PackageManagerName::Dnf);
        write("var/lib/dpkg/status", "");
        assert_eq!(chosen(&root, &plain), PackageManagerName::Dnf);
        write("var/lib/dpkg/status", "Package: base-files\n");
        assert_eq!(chosen(&root, &plain), PackageManagerName::Apt);
        let dnf = Policy {
            package_manager: Some(PackageManagerName::Dnf),
            ..plain
        };
        assert_eq!(chosen(&root, &dnf), PackageManagerName::Dnf);
        assert_eq!(
            database(&root, &dnf),
            root.path("usr/lib/sysimage/rpm/rpmdb.sqlite")
        );
    }
}
