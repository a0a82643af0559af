//! A disk whose power is cut, judged by the kernel's own ext4.

use std::{
    fs::{self, File},
    time::Duration,
};

use wharf_tests::{
    chance::Chance,
    disk::{Disk, Entry, Image, Unflushed, format, unmount},
    folder::{Folder, mounts_below},
};

const TEXT: &str = "on the disk\n";

#[test]
fn after_a_cut_a_file_is_there_that_was_synced_and_one_that_was_not_is_lost() {
    let folder = Folder::new();
    let base = folder.join("base");
    format(&base, 16, None);
    let image = Image::of(&base);
    let (log, synced) = recorded(image.clone());

    for unflushed in [Unflushed::Kept, Unflushed::Dropped, Unflushed::Torn] {
        let mut disk = Disk::with(image.after(&log[..synced], unflushed, &mut Chance(1)));
        let root = disk.mount().unwrap();
        assert_eq!(fs::read_to_string(root.join("synced")).unwrap(), TEXT);
        assert!(!root.join("not-synced").exists(), "{unflushed:?}");
    }
    let mut disk = Disk::with(image.after(&[], Unflushed::Kept, &mut Chance(1)));
    let root = disk.mount().unwrap();
    assert!(!root.join("synced").exists());
}

/// Syncs one file, and another one much later. Gives the log, and its length when the first sync returned.
fn recorded(image: Image) -> (Vec<Entry>, usize) {
    let mut disk = Disk::with(image);
    let root = disk.mount().unwrap();
    fs::write(root.join("synced"), TEXT).unwrap();
    File::open(root.join("synced")).unwrap().sync_all().unwrap();
    File::open(&root).unwrap().sync_all().unwrap();
    let synced = disk.position().now();
    fs::write(root.join("not-synced"), TEXT).unwrap();
    (disk.log(), synced)
}

#[test]
fn a_mount_that_is_in_use_for_too_long_ends_with_its_last_user() {
    let folder = Folder::new();
    let base = folder.join("base");
    format(&base, 16, None);
    let mut disk = Disk::with(Image::of(&base));
    let root = disk.mount().unwrap();
    let user = File::open(&root).unwrap();

    assert!(!unmount(&root, Duration::ZERO), "it is in use");
    assert!(!mounts_below(disk.folder()).contains(&root));
    drop(user);
    drop(disk);
}
