//! A root in which rpm and dnf are the package manager, to install into: a Debian system with both, since Debian has
//! dnf 4 and dnf 5. Made once for a machine, and for each test an overlay over it.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    command::output_of,
    container::PACKAGES,
    debian_root::{Suite, bootstrapped_from, lay_over, put_on_a_disk},
    folder::Folder,
    rpm_package::RpmPackage,
    scratch_root::{add_folders, add_users},
};

/// The changes to a Debian system. Debian has rpm's database in the home of each user, and no package of Debian is in it.
const FINISHED: &str = "with users, rpm's own database, and a package that provides /bin/sh";

const DNF4: [&str; 3] = ["rpm", "dnf", "python3-dnf"];
const DNF5: [&str; 2] = ["rpm", "dnf5"];

/// Units of the unstable suite's systemd that this machine's systemd-nspawn cannot start.
const FAILING: [&str; 2] = ["dev-hugepages.mount", "sys-fs-fuse-connections.mount"];

/// A system with rpm and dnf, which this test may do anything to.
#[derive(Debug)]
pub struct RpmRoot {
    folder: Folder,
}

impl RpmRoot {
    /// rpm 4.18 and dnf 4.14, of Debian 12.
    pub fn dnf4() -> Self {
        Self::over(dnf4())
    }

    /// rpm 6 and dnf 5, of Debian's unstable suite as it is when the root is made.
    pub fn dnf5() -> Self {
        Self::over(dnf5())
    }

    /// A system with dnf 4, or dnf 5 if `WHARF_DNF5` is set, on a disk, as a file that is never written.
    pub fn on_a_disk() -> PathBuf {
        match is_dnf5() {
            true => put_on_a_disk("dnf5-disk", dnf5()),
            false => put_on_a_disk("dnf4-disk", dnf4()),
        }
    }

    /// A system with dnf 4, or dnf 5 if `WHARF_DNF5` is set, that boots: the base of a container.
    pub fn system() -> &'static Path {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        let (suite, name, dnf) = match is_dnf5() {
            true => (Suite::Unstable, "dnf5-system", &DNF5[..]),
            false => (Suite::OfThisMachine, "dnf4-system", &DNF4[..]),
        };
        BASE.get_or_init(|| {
            let packages = [&PACKAGES[..], dnf].concat();
            let mut finished = format!("{FINISHED}, without users and machine id");
            if is_dnf5() {
                finished += &format!(", without {FAILING:?}");
            }
            bootstrapped_from(suite, name, &packages, &finished, |root| {
                add_rpm(root);
                write(root, "etc/machine-id", "");
                for unit in FAILING.iter().filter(|_| is_dnf5()) {
                    let masked = root.join("etc/systemd/system").join(unit);
                    symlink("/dev/null", &masked).expect("a masked unit");
                }
            })
        })
    }

    /// Whether rpm and dnf are the package manager of this system.
    pub fn is_at(root: &Path) -> bool {
        root.join("etc/rpm/macros").exists()
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
        inside(&self.path(), program)
    }
}

/// Whether the tests run with dnf 5, which `WHARF_DNF5` says.
pub fn is_dnf5() -> bool {
    env::var_os("WHARF_DNF5").is_some()
}

fn dnf4() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        bootstrapped_from(Suite::OfThisMachine, "dnf4-root", &DNF4, FINISHED, finish)
    })
}

fn dnf5() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| bootstrapped_from(Suite::Unstable, "dnf5-root", &DNF5, FINISHED, finish))
}

/// A command that runs `program` in such a system, without the environment of this test.
pub fn inside(root: &Path, program: &str) -> Command {
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
        inside(root, "rpm")
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
