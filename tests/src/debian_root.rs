//! A Debian root of this machine's own release, for installations: made once for a machine, with an overlay for each
//! test. For one that boots see `container`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::mount::{MsFlags, mount};

use crate::{
    command::{output_of, text_of},
    disk,
    folder::Folder,
    made_once::made_once,
    scratch_root::{add_folders, add_users},
};

/// The size of a disk, with room for the packages of a test.
const MEBIBYTES: u32 = 1024;

/// A Debian system with apt and dpkg, which the test may change.
#[derive(Debug)]
pub struct DebianRoot {
    path: PathBuf,
    _folder: Option<Folder>,
}

impl DebianRoot {
    /// A new one, with wharfd's users and the lists of the archive's packages.
    pub fn new() -> Self {
        let folder = Folder::new();
        let path = lay_over(base(), &folder);
        add_folders(&path);
        Self {
            path,
            _folder: Some(folder),
        }
    }

    /// The system in this folder.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _folder: None,
        }
    }

    /// The path for `--root`.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// A command that runs `program` inside, without the environment of this test.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(self.path())
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The version of a package that dpkg shows as installed and configured.
    pub fn installed_version(&self, package: &str) -> Option<String> {
        let (state, version) = self.dpkg_state(package)?;
        (state == "ii").then_some(version)
    }

    /// dpkg's two or three letters for `package` (`ii`, `iF`, `rc`, `iHR`) and its version.
    pub fn dpkg_state(&self, package: &str) -> Option<(String, String)> {
        let every = text_of(&mut {
            let mut query = self.command("dpkg-query");
            query.args(["-W", "-f", "${Package}\t${db:Status-Abbrev}\t${Version}\n"]);
            query
        });
        every.lines().find_map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let (state, version) = (fields.next()?, fields.next()?);
            (name == package).then(|| (state.trim_end().to_owned(), version.to_owned()))
        })
    }
}

impl Default for DebianRoot {
    fn default() -> Self {
        Self::new()
    }
}

/// Such a system on a disk, as a file that is never written. Made once for a machine.
pub fn on_a_disk() -> PathBuf {
    put_on_a_disk("debian-disk", base())
}

/// As [`on_a_disk`], of this system.
pub(crate) fn put_on_a_disk(name: &str, base: &Path) -> PathBuf {
    let recipe = format!("{MEBIBYTES} of {base:?}");
    let folder = made_once(name, &recipe, |folder| {
        disk::format(&folder.join("disk"), MEBIBYTES, Some(base));
    });
    folder.join("disk")
}

/// The untouched root below all overlays.
fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| bootstrapped("debian-root", &[], "with users", add_users))
}

/// A Debian system with these packages besides apt, changed by `finish`. Made once.
pub fn bootstrapped(
    name: &str,
    packages: &[&str],
    finished: &str,
    finish: impl FnOnce(&Path),
) -> PathBuf {
    bootstrapped_from(Suite::OfThisMachine, name, packages, finished, finish)
}

/// As [`bootstrapped`], from another suite.
pub(crate) fn bootstrapped_from(
    suite: Suite,
    name: &str,
    packages: &[&str],
    finished: &str,
    finish: impl FnOnce(&Path),
) -> PathBuf {
    let suite = suite.name();
    let mut bootstrap = [
        "--quiet",
        "--mode=root",
        "--variant=apt",
        "--components=main",
        "--skip=cleanup/apt/lists",
    ]
    .map(str::to_owned)
    .to_vec();
    if !packages.is_empty() {
        bootstrap.push(format!("--include={}", packages.join(",")));
    }
    if suite == UNSTABLE {
        // A mirror of this suite may be some days old.
        bootstrap.push("--aptopt=Acquire::Check-Valid-Until \"false\"".to_owned());
    }
    bootstrap.push(suite.clone());
    let recipe = format!("{bootstrap:?} {finished}");
    made_once(&format!("{name}-{suite}"), &recipe, |folder| {
        output_of(
            Command::new("mmdebstrap")
                .args(&bootstrap)
                .arg(folder)
                .arg(mirror(&self::suite())),
        );
        finish(folder);
    })
}

/// The Debian of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// The release that this machine runs.
    OfThisMachine,
    /// The one that changes every day.
    Unstable,
}

const UNSTABLE: &str = "sid";

impl Suite {
    fn name(self) -> String {
        match self {
            Self::OfThisMachine => suite(),
            Self::Unstable => UNSTABLE.to_owned(),
        }
    }
}

/// A copy of such a system, changed by `finish`. Made once, and cheaper than another bootstrap.
pub fn grown(name: &str, from: &Path, finished: &str, finish: impl FnOnce(&Path)) -> PathBuf {
    let recipe = format!("{from:?} {finished}");
    made_once(&format!("{name}-{}", suite()), &recipe, |folder| {
        let mut copy = Command::new("cp");
        output_of(
            copy.args(["--archive", "--reflink=auto"])
                .arg(from.join("."))
                .arg(folder),
        );
        finish(folder);
    })
}

/// Mounts an overlay over `base` in the folder of the test: `base` stays unchanged.
pub(crate) fn lay_over(base: &Path, folder: &Folder) -> PathBuf {
    let (upper, work) = (folder.make("upper"), folder.make("work"));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        base.display(),
        upper.display(),
        work.display()
    );
    let root = folder.make("root");
    mount(
        Some("overlay"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap_or_else(|error| panic!("no overlay at {root:?} ({options}): {error}"));
    root
}

/// The file of a package from the archive.
pub fn archived(package: &str) -> PathBuf {
    let name = format!("archived-{package}-{}", suite());
    let folder = made_once(&name, "apt-get download", |folder| {
        let mut download = Command::new("apt-get");
        download.args(["-o", "APT::Sandbox::User=root", "download", package]);
        output_of(download.current_dir(folder));
    });
    let mut files = fs::read_dir(&folder).into_iter().flatten().flatten();
    let file = files.next();
    file.unwrap_or_else(|| panic!("nothing in {folder:?}"))
        .path()
}

/// The release that this machine runs.
fn suite() -> String {
    text_of(Command::new("sh").args(["-c", ". /etc/os-release && echo $VERSION_CODENAME"]))
}

/// The Debian mirror in this machine's own apt configuration.
fn mirror(suite: &str) -> String {
    let targets = text_of(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(CODENAME) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]));
    let prefix = format!("{suite} main ");
    targets
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("apt has no source for {suite} main; it has:\n{targets}"))
        .to_owned()
}

/// Holds dpkg's frontend lock, like another front end, until it is dropped.
///
/// # Panics
///
/// If another process holds it.
pub fn frontend_lock(root: &Path) -> File {
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join("var/lib/dpkg/lock-frontend"))
        .expect("dpkg's lock");
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).expect("dpkg's lock");
    lock
}
