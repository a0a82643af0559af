//! A small root in which opkg is the package manager, to install into: the opkg of this machine with its libraries, and
//! BusyBox. Debian has no opkg, so many machines have none.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::{
    command::{output_of, text_of},
    debian_root::lay_over,
    folder::Folder,
    made_once::made_once,
    scratch_root::{add_folders, add_users},
};

const OPKG_CONF: &str = "dest root /\noption lists_dir /var/lib/opkg/lists\noption info_dir /var/lib/opkg/info\n\
                         option status_file /var/lib/opkg/status\n";
const ARCH_CONF: &str = "arch all 1\narch noarch 1\narch x86_64 10\n";

/// A system with opkg, which this test may do anything to.
#[derive(Debug)]
pub struct OpkgRoot {
    folder: Folder,
}

impl OpkgRoot {
    /// None where this machine has no opkg or no BusyBox.
    pub fn new() -> Option<Self> {
        static BASE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let base = BASE.get_or_init(|| {
            let programs = on_path("opkg").zip(on_path("busybox"));
            if programs.is_none() {
                // `eprintln!` would be hidden: these tests pass.
                let skipped = "Tests of opkg are SKIPPED: there is no opkg on PATH, or no busybox. Its recorded states are \
                               tested by wharf-managers.\n";
                let _ = std::io::stderr().write_all(skipped.as_bytes());
            }
            programs.map(|(opkg, busybox)| made(&opkg, &busybox))
        });
        let folder = Folder::new();
        let path = lay_over(base.as_ref()?, &folder);
        add_folders(&path);
        Some(Self { folder })
    }

    /// The directory that is given as `--root`.
    pub fn path(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// `program`, to be run inside; without the environment of this test.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command
            .arg(self.path())
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        command
    }

    /// Whether this opkg can check signatures of feeds.
    pub fn checks_signatures(&self) -> bool {
        Self::checks(&self.path())
    }

    /// As [`OpkgRoot::checks_signatures`], for the root at this path.
    pub(crate) fn checks(root: &Path) -> bool {
        root.join("usr/bin/gpg").exists()
    }
}

/// The place where opkg looks for gpg.
const GPG: [&str; 2] = ["/usr/bin/gpg", "/usr/bin/gpgconf"];

/// Adds opkg to an untouched Debian system, with an empty database. Returns whether this machine has an opkg.
pub fn add_opkg(root: &Path) -> bool {
    let Some(opkg) = on_path("opkg") else {
        return false;
    };
    copy_with_libraries(&opkg, root, "usr/bin/opkg");
    configure(root);
    true
}

/// Keeps the libraries that the system has.
fn copy_with_libraries(program: &Path, root: &Path, to: impl AsRef<Path>) {
    copy(program, &root.join(to));
    for library in libraries(program) {
        let there = root.join(library.strip_prefix("/").unwrap_or(&library));
        if !there.exists() {
            copy(&library, &there);
        }
    }
}

fn configure(root: &Path) {
    for folder in ["etc/opkg", "var/lib/opkg"] {
        make(&root.join(folder));
    }
    write(root, "etc/opkg/opkg.conf", OPKG_CONF);
    write(root, "etc/opkg/arch.conf", ARCH_CONF);
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
    found.find(|program| program.is_file())
}

/// The root that all overlays lie on.
fn made(opkg: &Path, busybox: &Path) -> PathBuf {
    let version = text_of(Command::new(opkg).arg("--version"));
    let length = fs::metadata(opkg).map(|it| it.len()).unwrap_or_default();
    let recipe = format!("{version} {length} {OPKG_CONF} {ARCH_CONF} 3");
    made_once("opkg-root", &recipe, |root| {
        for folder in [
            "bin", "dev", "etc", "proc", "run", "tmp", "usr/bin", "var/log",
        ] {
            make(&root.join(folder));
        }
        symlink("/run", root.join("var/run")).expect("var/run");
        copy_with_libraries(opkg, root, "usr/bin/opkg");
        copy_with_libraries(busybox, root, "bin/busybox");
        if libraries(opkg)
            .iter()
            .any(|it| it.to_string_lossy().contains("gpgme"))
        {
            for program in GPG.map(Path::new) {
                copy_with_libraries(program, root, program.strip_prefix("/").unwrap_or(program));
            }
        }
        let links = ["/bin/busybox", "--install", "-s", "/bin"];
        output_of(Command::new("/usr/sbin/chroot").arg(root).args(links));
        let device = Mode::from_bits_truncate(0o666);
        mknod(
            &root.join("dev/null"),
            SFlag::S_IFCHR,
            device,
            makedev(1, 3),
        )
        .expect("dev/null");
        write(
            root,
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        );
        write(root, "etc/group", "root:x:0:\nnogroup:x:65534:\n");
        configure(root);
        add_users(root);
    })
}

/// The libraries that a program is linked with, and its loader; none of a static one.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output();
    let text = output.map(|it| it.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

fn make(folder: &Path) {
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("no folder {folder:?}: {error}"));
}

fn copy(from: &Path, to: &Path) {
    make(to.parent().expect("a file lies in a folder"));
    fs::copy(from, to).unwrap_or_else(|error| panic!("{from:?} cannot be copied: {error}"));
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{path:?} cannot be written: {error}"));
}
