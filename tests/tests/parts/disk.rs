//! A disk with power cuts, judged by the kernel's own ext4.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

use nix::fcntl::OFlag;
use wharf_tests::{
    chance::Chance,
    disk::{Disk, Image, LogEntry, SECTOR, Unflushed, format, unmount},
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
fn recorded(image: Image) -> (Vec<LogEntry>, usize) {
    let mut disk = Disk::with(image);
    let root = disk.mount().unwrap();
    fs::write(root.join("synced"), TEXT).unwrap();
    File::open(root.join("synced")).unwrap().sync_all().unwrap();
    File::open(&root).unwrap().sync_all().unwrap();
    let synced = disk.position().now();
    fs::write(root.join("not-synced"), TEXT).unwrap();
    (disk.log(), synced)
}

/// Aligned, for writes that bypass all caches.
#[repr(align(4096))]
struct Block([u8; 4096]);

const OLD: Block = Block([b'o'; 4096]);
const NEW: Block = Block([b'n'; 4096]);

#[test]
fn a_write_that_no_flush_followed_is_there_or_lost_or_torn_after_a_cut() {
    let folder = Folder::new();
    let base = folder.join("base");
    format(&base, 16, None);
    let image = Image::of(&base);
    let log = overwritten(image.clone());
    let after = |unflushed, seed| {
        let mut disk = Disk::with(image.after(&log, unflushed, &mut Chance(seed)));
        fs::read(disk.mount().unwrap().join("file")).unwrap()
    };

    assert_eq!(after(Unflushed::Kept, 1), NEW.0);
    assert_eq!(after(Unflushed::Dropped, 1), OLD.0);
    let happens = |unflushed, wanted: fn(&[u8]) -> bool| {
        let mut seeds = 1..=64;
        seeds.any(|seed| wanted(&after(unflushed, seed)))
    };
    assert!(happens(Unflushed::Some, |content| *content == OLD.0));
    assert!(happens(Unflushed::Some, |content| *content == NEW.0));
    assert!(happens(Unflushed::Torn, |content| {
        let sectors: BTreeSet<_> = content.chunks(SECTOR).collect();
        sectors == BTreeSet::from([&OLD.0[..SECTOR], &NEW.0[..SECTOR]])
    }));
}

/// Syncs a file, and writes other data in place. Returns the log until that write, which no flush follows.
fn overwritten(image: Image) -> Vec<LogEntry> {
    let mut disk = Disk::with(image);
    let root = disk.mount().unwrap();
    let path = root.join("file");
    fs::write(&path, OLD.0).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    File::open(&root).unwrap().sync_all().unwrap();
    let past_caches = OFlag::O_DIRECT.bits();
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .custom_flags(past_caches)
        .open(&path)
        .unwrap();
    file.write_all(&NEW.0).unwrap();
    let mut log = disk.log();
    let is_it = |entry: &LogEntry| matches!(entry, LogEntry::Write(_, data) if **data == NEW.0);
    let written = log.iter().rposition(is_it).expect("the write in the log");
    log.truncate(written + 1);
    log
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
