//! A root with only the users of wharfd's programs: for the simulated installer, and the base of every other root.

use std::{
    fs,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use crate::folder::Folder;

/// A system user of wharfd's programs, as sysusers makes it on a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramUser {
    /// Its name, and the name of its group.
    pub name: &'static str,
    /// Its uid and gid.
    pub id: u32,
}

/// wharfd's own user.
pub const WHARFD: ProgramUser = ProgramUser {
    name: "wharfd",
    id: 990,
};

/// The user of wharf-inspect.
pub const WHARF_INSPECT: ProgramUser = ProgramUser {
    name: "wharf-inspect",
    id: 991,
};

/// The user of wharf-fetch.
pub const WHARF_FETCH: ProgramUser = ProgramUser {
    name: "wharf-fetch",
    id: 992,
};

const USERS: [ProgramUser; 3] = [WHARFD, WHARF_INSPECT, WHARF_FETCH];

/// A scratch root in a folder of its own.
#[derive(Debug)]
pub struct ScratchRoot {
    folder: Folder,
}

impl ScratchRoot {
    /// A root with root, nobody, the users of wharfd, and empty folders.
    pub fn new() -> Self {
        let folder = Folder::new();
        let etc = folder.make("root/etc");
        folder.make("root/tmp");
        fs::write(
            etc.join("passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        )
        .expect("etc/passwd");
        fs::write(etc.join("group"), "root:x:0:\nnogroup:x:65534:\n").expect("etc/group");
        let root = Self { folder };
        add_users(&root.path());
        add_folders(&root.path());
        root
    }

    /// The path for `--root`.
    pub fn path(&self) -> PathBuf {
        self.folder.join("root")
    }
}

impl Default for ScratchRoot {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds wharfd's users and their groups to the root at `root`.
pub fn add_users(root: &Path) {
    for ProgramUser { name, id } in USERS {
        let shell = "/usr/sbin/nologin";
        append(
            &root.join("etc/passwd"),
            &format!("{name}:x:{id}:{id}::/var/lib/{name}:{shell}\n"),
        );
        append(&root.join("etc/group"), &format!("{name}:x:{id}:\n"));
    }
}

/// The folders that tmpfiles and systemd make for wharfd on a gateway.
pub fn add_folders(root: &Path) {
    for folder in ["etc/wharfd/keys", "run", "var/lib"] {
        make(&root.join(folder), 0);
    }
    for folder in ["var/lib/wharfd", "run/wharfd"] {
        make(&root.join(folder), WHARFD.id);
    }
}

fn make(path: &Path, owner: u32) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("no folder {path:?}: {error}"));
    chown(path, Some(owner), Some(owner))
        .unwrap_or_else(|error| panic!("{path:?} cannot belong to {owner}: {error}"));
}

fn append(path: &Path, line: &str) {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{path:?} takes no {line:?}: {error}"));
}
