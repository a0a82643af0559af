//! A Debian root of the machine's own release, to install into: made once for a machine, and for each
//! test an overlay over it. One that boots is in `container`.

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

/// The size of a disk, with room for what a test installs.
const MEBIBYTES: u32 = 1024;

/// A Debian system with apt and dpkg, which this test may do anything to.
#[derive(Debug)]
pub struct DebianRoot {
    path: PathBuf,
    _folder: Option<Folder>,
}

impl DebianRoot {
    /// A fresh one, with wharfd's users and the lists of the archive's packages.
    pub fn new() -> Self {
        let folder = Folder::new();
        let path = lay_over(base(), &folder);
        add_folders(&path);
        Self {
            path,
            _folder: Some(folder),
        }
    }

    /// The one that lies in this folder.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _folder: None,
        }
    }

    /// What is given as `--root`.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// `program`, to be run inside; without the environment of this test.
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

    /// The version that dpkg has as installed and configured, asked of dpkg itself.
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

/// A disk with such a system on it, as a file that nobody writes to; made once for a machine.
pub fn on_a_disk() -> PathBuf {
    let base = base();
    let recipe = format!("{MEBIBYTES} of {base:?}");
    let folder = made_once("debian-disk", &recipe, |folder| {
        disk::format(&folder.join("disk"), MEBIBYTES, Some(base));
    });
    folder.join("disk")
}

/// The untouched root that all overlays lie on.
fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| bootstrapped("debian-root", &[], "with users", add_users))
}

/// A Debian system with these packages beside apt, and what `finish` does to it; made once.
pub fn bootstrapped(
    name: &str,
    packages: &[&str],
    finished: &str,
    finish: impl FnOnce(&Path),
) -> PathBuf {
    let suite = suite();
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
    bootstrap.push(suite.clone());
    let recipe = format!("{bootstrap:?} {finished}");
    made_once(&format!("{name}-{suite}"), &recipe, |folder| {
        output_of(
            Command::new("mmdebstrap")
                .args(&bootstrap)
                .arg(folder)
                .arg(mirror(&suite)),
        );
        finish(folder);
    })
}

/// A copy of such a system, and what `finish` does to it; made once. It costs less than another bootstrap.
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

/// Mounts a root of the test's own in its folder: what it writes stays there, and `base` as it is.
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

/// A package of the archive, as it lies there.
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

/// The mirror of Debian that this machine's own apt is configured with.
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
/// If somebody else holds it.
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
