//! A reported change is on the disk, on every file system involved.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_tests::command::output_of;

use crate::machine::{Deb, Machine, Script};

#[test]
fn each_file_system_that_the_package_lies_on_is_synced_before_a_job_ends() {
    let machine = Machine::debian().started();
    // The files of the package are on one file system, and another one is mounted at a folder of its own.
    let (data, state) = (disk(&machine, "data", 8), disk(&machine, "var/lib/acme", 8));
    let write = |what: &str| {
        format!("for d in /data /var/lib/acme; do echo \"$1 of this\" \"{what}\" >>$d/{what}; done")
    };
    let acme = Deb::new("acme", "1")
        .file("/data/acme/lamp", "on")
        .folder("/var/lib/acme")
        .script(Script::Postinst, &write("installed"))
        .script(Script::Postrm, &write("removed"));
    assert_eq!(machine.install(&acme).failure, None);
    for disk in [&data, &state] {
        assert!(has(disk, "configure of this installed"), "{disk:?}");
    }
    let outcome = machine.remove("acme");
    assert_eq!(outcome.failure, None);
    for disk in [&data, &state] {
        assert!(has(disk, "remove of this removed"), "{disk:?}");
    }
}

/// Mounts a new file system of this size at the folder, and returns its image.
pub(crate) fn disk(machine: &Machine, folder: &str, mebibytes: u64) -> PathBuf {
    let disk = machine.packages.join(folder.replace('/', "-"));
    fs::File::create_new(&disk)
        .and_then(|file| file.set_len(mebibytes << 20))
        .unwrap();
    output_of(Command::new("mkfs.ext4").arg("-q").arg(&disk));
    let folder = machine.root().join(folder);
    fs::create_dir_all(&folder).unwrap();
    output_of(
        Command::new("mount")
            .args(["-o", "loop"])
            .args([&disk, &folder]),
    );
    disk
}

fn has(disk: &Path, words: &str) -> bool {
    let bytes = fs::read(disk).unwrap();
    let mut parts = bytes.windows(words.len());
    parts.any(|part| part == words.as_bytes())
}
