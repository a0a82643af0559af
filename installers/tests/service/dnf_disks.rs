//! Full and read-only file systems under jobs with dnf 4, or dnf 5 if `WHARF_DNF5` is set.

use std::{fs, path::Path, process::Command};

use wharf_frames::{Cause, installer::Outcome};
use wharf_tests::{command::output_of, package::incompressible, waiting::wait_until};

use crate::{
    disks::disk,
    machine::{Deb, Machine, Script},
};

/// A version with one file of this size on the file system at /data.
fn of(version: &str, kibibytes: usize) -> Deb {
    let file = incompressible(kibibytes << 10);
    Deb::new("acme", version).file("/data/acme/file", file)
}

/// A %pre that leaves no byte on this file system, the first time.
fn fills(deb: Deb, folder: &str) -> Deb {
    let fill = format!(
        "! mkdir /filled-{} 2>/dev/null || dd if=/dev/zero of={folder}/fill bs=4k 2>/dev/null || true",
        folder.replace('/', "")
    );
    deb.script(Script::Preinst, &fill)
}

fn mount(arguments: &[&str], at: &Path) {
    output_of(Command::new("mount").args(arguments).arg(at));
}

/// The device has this version alone, with its file of this size.
fn has(machine: &Machine, version: &str, kibibytes: usize) {
    let found = machine.state("acme").map(|found| found.to_string());
    assert_eq!(found, Some(format!("acme {version}-1")));
    let folder = machine.root().join("data/acme");
    let files = fs::read_dir(&folder).unwrap().flatten();
    let names: Vec<_> = files.map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"]);
    let file = fs::read(folder.join("file")).unwrap();
    assert!(file == incompressible(kibibytes << 10), "{}", file.len());
}

#[track_caller]
fn failed(outcome: Outcome, cause: Cause, words: &str) {
    let failure = outcome.failure.expect("it fails");
    assert_eq!(failure.cause, cause, "{failure}");
    assert!(failure.detail.as_str().contains(words), "{failure}");
}

#[test]
fn a_file_system_that_is_full_or_read_only_leaves_the_old_version() {
    let machine = Machine::dnf().started();
    disk(&machine, "data", 8);
    assert_eq!(machine.install(&of("1", 4)).failure, None);

    failed(
        machine.install(&of("2", 16 << 10)),
        Cause::DiskFull,
        "on the /data filesystem",
    );
    has(&machine, "1", 4);
    // The disk has room when dnf looks, and none when it unpacks. rpm does not always tell the reason.
    let outcome = machine.install(&fills(of("2", 512), "/data"));
    let failure = outcome.failure.expect("it does not fit");
    let causes = [Cause::DiskFull, Cause::PackageManager];
    assert!(causes.contains(&failure.cause), "{failure}");
    assert!(failure.detail.as_str().contains("npack"), "{failure}");
    has(&machine, "1", 4);
    fs::remove_file(machine.root().join("data/fill")).unwrap();
    assert_eq!(machine.install(&of("2", 512)).failure, None);
    has(&machine, "2", 512);

    let data = machine.root().join("data");
    mount(&["-o", "remount,ro"], &data);
    let words = "/data/acme is on a file system that is read-only";
    failed(machine.install(&of("3", 4)), Cause::PackageManager, words);
    failed(machine.remove("acme"), Cause::PackageManager, words);
    has(&machine, "2", 512);
    mount(&["-o", "remount,rw"], &data);

    let usr = machine.root().join("usr");
    mount(&["--bind", usr.to_str().unwrap()], &usr);
    mount(&["-o", "remount,bind,ro"], &usr);
    let words = "/usr/share/acme is on a file system that is read-only";
    failed(machine.install(&of("3", 4)), Cause::PackageManager, words);
    failed(machine.remove("acme"), Cause::PackageManager, words);
    has(&machine, "2", 512);
    mount(&["-o", "remount,bind,rw"], &usr);
    assert_eq!(machine.install(&of("3", 4)).failure, None);
    has(&machine, "3", 4);
    assert_eq!(machine.remove("acme").failure, None);
}

#[test]
fn a_database_on_a_file_system_that_fills_up_in_the_middle_is_waited_for() {
    let mut machine = Machine::dnf();
    let var = machine.root().join("var");
    let shell = |line: &str| drop(output_of(Command::new("sh").args(["-ec", line]).arg(&var)));
    shell("cd $0; rm -rf lib/apt/lists cache/*; cp -a . ../var.old");
    disk(&machine, "var", 160);
    shell("cp -a $0/../var.old/. $0");
    machine.start();
    assert_eq!(machine.install(&of("1", 4)).failure, None);
    let (operation, _) = machine.accepted(&fills(of("2", 4), "/var"));
    // Neither the database nor a record can be written, so nobody can say how it ended.
    machine.installer().errors().wait_for("is tried again");
    assert_eq!(machine.open_jobs(), [operation]);
    machine.installer().kill();
    fs::remove_file(var.join("fill")).unwrap();
    machine.start();
    let outcome = machine.outcome(operation);
    assert_eq!(outcome.failure, None);
    has(&machine, "2", 4);
    let rpm = machine.place.rpm();
    wait_until("a sound database", || {
        let verified = rpm.command("rpm").args(["-V", "acme"]).output().unwrap();
        verified.status.success().then_some(())
    });
}
