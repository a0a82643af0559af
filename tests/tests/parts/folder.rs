use std::{fs, os::unix::fs::MetadataExt, process::Command};

use wharf_tests::{
    debian_root::DebianRoot,
    folder::{Folder, mounts_below, processes_in},
    process::Process,
    waiting::wait_until,
};

#[test]
fn a_folder_goes_with_its_mounts_and_processes() {
    let root = DebianRoot::new();
    let path = root.path().parent().unwrap().to_owned();
    let mut inside = Process::spawn(root.command("sleep").arg("1000"));
    let mut told = Process::spawn(Command::new("tail").arg("-f").arg(path.join("owner.lock")));
    assert_eq!(mounts_below(&path), [root.path()]);
    // The command that starts sleep in the root enters it too.
    wait_until("a process in the root, and one with a file open", || {
        (processes_in(&path).len() == 2).then_some(())
    });
    drop(root);
    assert!(!path.exists(), "{path:?} is still there");
    assert!(mounts_below(&path).is_empty());
    assert!(!inside.wait().success());
    assert!(!told.wait().success());
    assert!(processes_in(&path).is_empty());
}

#[test]
fn what_a_killed_test_left_is_swept_and_what_is_used_is_not() {
    let used = Folder::new();
    let left = tempfile_left_behind();
    // The first folder of a process cleans up, so a second process of this program is started.
    let swept = Process::spawn(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "folder::any_user_passes_through_a_folder"]),
    )
    .wait();
    assert!(swept.success());
    assert!(!left.exists(), "{left:?} is still there");
    assert!(used.path().exists(), "{:?} was swept", used.path());
}

#[test]
fn any_user_passes_through_a_folder() {
    let folder = Folder::new();
    let mode = fs::metadata(folder.path()).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755, "mode {mode:o}");
    assert!(
        folder.path().as_os_str().len() < 16,
        "{:?} is long",
        folder.path()
    );
}

fn tempfile_left_behind() -> std::path::PathBuf {
    let left = std::path::PathBuf::from(format!("/tmp/wt-left-{}", std::process::id()));
    fs::create_dir(&left).unwrap();
    fs::write(left.join("owner.lock"), "").unwrap();
    left
}
