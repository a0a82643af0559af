//! A root in which rpm and dnf are the package manager, to install into: a Debian system with both, since Debian has
//! dnf 4 and dnf 5. Made once for a machine, and for each test an overlay over it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    command::output_of,
    container::PACKAGES,
    debian_root::{Suite, bootstrapped_from, lay_over},
    folder::Folder,
    rpm_package::RpmPackage,
    scratch_root::{add_folders, add_users},
};

/// The changes to a Debian system. Debian has rpm's database in the home of each user, and no package of Debian is in it.
const FINISHED: &str = "with users, rpm's own database, and a package that provides /bin/sh";

/// A system with rpm and dnf, which this test may do anything to.
#[derive(Debug)]
pub struct RpmRoot {
    folder: Folder,
}

impl RpmRoot {
    /// rpm 4.18 and dnf 4.14, of Debian 12.
    pub fn dnf4() -> Self {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        Self::over(BASE.get_or_init(|| {
            let packages = ["rpm", "dnf", "python3-dnf"];
            bootstrapped_from(
                Suite::OfThisMachine,
                "dnf4-root",
                &packages,
                FINISHED,
                finish,
            )
        }))
    }

    /// rpm 6 and dnf 5, of Debian's unstable suite as it is when the root is made.
    pub fn dnf5() -> Self {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        Self::over(BASE.get_or_init(|| {
            let packages = ["rpm", "dnf5"];
            bootstrapped_from(Suite::Unstable, "dnf5-root", &packages, FINISHED, finish)
        }))
    }

    /// A system with rpm 4.18 and dnf 4.14 that boots: the base of a container.
    pub fn dnf4_system() -> &'static Path {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        BASE.get_or_init(|| {
            let packages = [&PACKAGES[..], &["rpm", "dnf", "python3-dnf"]].concat();
            let finished = format!("{FINISHED}, without users and machine id");
            bootstrapped_from(
                Suite::OfThisMachine,
                "dnf4-system",
                &packages,
                &finished,
                |root| {
                    add_rpm(root);
                    write(root, "etc/machine-id", "");
                },
            )
        })
    }

    fn over(base: &Path) -> Self {
        let folder = Folder::new();
        let path = lay_over(base, &folder);
        add_folders(&path);
        Self { folder }
    }

    /// The path for `--root`.
    pub fn path(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Locks a package to one version, for both dnf 4 and dnf 5, as the command versionlock does.
    pub fn lock_versions(&self, package: &str, version: &str) {
        let dnf4 = format!("{package}-0:{version}.*\n");
        write(&self.path(), "etc/dnf/plugins/versionlock.list", &dnf4);
        let dnf5 = format!(
            "version = \"1.0\"\n\n[[packages]]\nname = \"{package}\"\n\n[[packages.conditions]]\nkey = \"evr\"\n\
             comparator = \"=\"\nvalue = \"{version}\"\n"
        );
        write(&self.path(), "etc/dnf/versionlock.toml", &dnf5);
    }

    /// `program`, to be run inside; without the environment of this test.
    pub fn command(&self, program: &str) -> Command {
        command(&self.path(), program)
    }
}

fn command(root: &Path, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command
        .arg(root)
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C");
    command
}

fn finish(root: &Path) {
    add_users(root);
    add_rpm(root);
}

fn add_rpm(root: &Path) {
    write(root, "etc/rpm/macros", "%_dbpath /var/lib/rpm\n");
    let base = RpmPackage::new("system-base", "12").tag("Provides", "/bin/sh");
    let built = base.build(&root.join("tmp"));
    let name = built.file_name().expect("a package has a name");
    output_of(
        command(root, "rpm")
            .arg("-U")
            .arg(Path::new("/tmp").join(name)),
    );
    fs::remove_file(&built).unwrap_or_else(|error| panic!("{built:?}: {error}"));
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, text))
        .unwrap_or_else(|error| panic!("{path:?} cannot be written: {error}"));
}
