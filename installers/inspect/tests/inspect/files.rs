//! The files of a package, compared with those that dpkg unpacks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::Crc;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use wharf_frames::{
    Cause, Failure,
    packed::{MAX_CONTENT, MAX_CONTENTS, MAX_FILES, WantedFiles},
};

use crate::fixture::{Bench, Members, Recipe, refused_as, repacked, run};

pub(crate) const UNITS: &str = "usr/lib/systemd/system/";

fn wanted() -> [WantedFiles; 3] {
    let wanted = |folder: &str, anywhere, text| WantedFiles {
        folder: folder.to_owned(),
        anywhere,
        text,
    };
    [
        wanted(UNITS, false, true),
        wanted("etc/init.d/", false, true),
        wanted("dbus-1/system-services/", true, false),
    ]
}

/// The wanted files by path: the target of a link, or the content.
pub(crate) type Found = BTreeMap<String, (Option<String>, Vec<u8>)>;

pub(crate) fn files(bench: &Bench, package: &Path) -> Result<Found, Failure> {
    let files = bench.files(package, &wanted())?;
    let number = files.len();
    let found: Found = files
        .into_iter()
        .map(|file| (file.path, (file.target, file.content.into())))
        .collect();
    assert_eq!(found.len(), number, "a path came twice");
    Ok(found)
}

/// The same, as dpkg unpacks it into a root of its own; none if dpkg refuses it.
fn unpacked_by_dpkg(package: &Path) -> Option<Found> {
    let root = tempfile::tempdir().unwrap();
    for folder in ["updates", "info", "triggers"] {
        fs::create_dir_all(root.path().join("var/lib/dpkg").join(folder)).unwrap();
    }
    fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.path().display()));
    dpkg.args(["--log=/dev/null", "--force-unsafe-io", "--unpack"]);
    let unpacked = dpkg.arg(package).output().unwrap();
    unpacked.status.success().then(|| below(&root))
}

pub(crate) fn below(root: &TempDir) -> Found {
    let mut found = Found::new();
    let mut folders = vec![root.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let there = entry.unwrap().path();
            if there.is_dir() && !there.is_symlink() {
                folders.push(there);
                continue;
            }
            let path = there.strip_prefix(root.path()).unwrap();
            let path = path.to_string_lossy().into_owned();
            let of_it: Vec<WantedFiles> = wanted()
                .into_iter()
                .filter(|it| it.matches(&path))
                .collect();
            let file = match fs::read_link(&there) {
                _ if of_it.is_empty() => continue,
                Ok(target) => (Some(target.to_str().unwrap().to_owned()), Vec::new()),
                Err(_) if of_it.iter().any(|it| it.text) => (None, fs::read(&there).unwrap()),
                Err(_) => (None, Vec::new()),
            };
            found.insert(path, file);
        }
    }
    found
}

/// A folder with units as packages have them.
fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let place = |path: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let long = format!("{UNITS}{}/{}.conf", "d".repeat(150), "f".repeat(150));
    for (path, text) in [
        (
            "usr/lib/systemd/system/acme.service",
            "[Install]\nAlias=other.service\n",
        ),
        (
            "usr/lib/systemd/system/acme.service.d/own.conf",
            "[Service]\n",
        ),
        ("usr/lib/systemd/system/empty.service", ""),
        (&long, "long"),
        ("etc/init.d/acme", "#!/bin/sh\n"),
        (
            "usr/share/dbus-1/system-services/org.acme.service",
            "Name=org.acme\n",
        ),
        ("usr/share/acme/example.service", "an example"),
        ("usr/lib/systemd/systemd-acme", "no unit"),
    ] {
        fs::write(place(path), text).unwrap();
    }
    for (path, target) in [
        ("usr/lib/systemd/system/alias.service", "acme.service"),
        ("usr/lib/systemd/system/mask.service", "/dev/null"),
        (
            "usr/lib/systemd/system/multi-user.target.wants/acme.service",
            "../acme.service",
        ),
        (
            "usr/lib/systemd/system/long.service",
            &format!("/opt/{}", "t".repeat(200)),
        ),
    ] {
        symlink(target, place(path)).unwrap();
    }
    for (path, of) in [
        (
            "usr/lib/systemd/system/linked.service",
            "usr/lib/systemd/system/acme.service",
        ),
        ("etc/init.d/linked", "usr/share/acme/example.service"),
        (
            "usr/lib/systemd/system/twice.service",
            "usr/share/acme/example.service",
        ),
    ] {
        fs::hard_link(tree.path().join(of), place(path)).unwrap();
    }
    tree
}

#[test]
fn files_are_those_that_dpkg_unpacks_however_they_are_packed() {
    let tree = tree();
    let bench = Bench::new();
    for compression in [
        "none",
        "gzip",
        "xz",
        "xz --lzma2=preset=0,dict=96MiB",
        "xz --lzma2=preset=0,dict=128MiB",
        "zstd",
        "zstd -z22",
        "zstd --long=27",
    ] {
        let package = match compression.contains("--") {
            true => repacked(&bench, tree.path(), compression),
            false => Recipe::compressed(compression).build_from(&bench, tree.path()),
        };
        let found = files(&bench, &package).unwrap();
        assert_eq!(
            Some(&found),
            unpacked_by_dpkg(&package).as_ref(),
            "{compression}"
        );
        let text = |path: &str| str::from_utf8(&found[path].1).unwrap();
        assert_eq!(found.len(), 13, "{found:?}");
        assert_eq!(text("etc/init.d/linked"), "an example");
        assert_eq!(
            text("usr/share/dbus-1/system-services/org.acme.service"),
            ""
        );
    }
}

/// The stream with a dictionary of 128 MiB in the header of its one block: xz itself needs a GiB to pack with that.
fn widen(stream: &mut [u8]) {
    let block = &mut stream[12..];
    let length = usize::from(block[0]) * 4;
    let (header, crc) = block.split_at_mut(length);
    let lzma2 = header.windows(2).position(|it| it == [0x21, 1]).unwrap();
    header[lzma2 + 2] = 30;
    let mut sum = Crc::new();
    sum.update(header);
    crc[..4].copy_from_slice(&sum.sum().to_le_bytes());
}

#[test]
fn the_widest_window_is_filled_within_the_limit_of_memory() {
    let tree = tree();
    // dpkg-deb packs in this order: the units come when the window is full.
    let zeros = File::create(tree.path().join("a")).unwrap();
    zeros.set_len(200 << 20).unwrap();
    let bench = Bench::new();
    for compression in ["xz -0", "zstd --long=27"] {
        let mut package = repacked(&bench, tree.path(), compression);
        if compression.starts_with("xz") {
            let mut members = Members::of(&package);
            widen(members.member("data.tar"));
            package = bench.write(&members.bytes());
        }
        bench.describe(&package).unwrap();
        assert_eq!(files(&bench, &package).unwrap().len(), 13, "{compression}");
    }
}

fn raw(text: &str) -> Vec<u8> {
    let byte = |byte| if byte == NO_UTF8 as u8 { 0xff } else { byte };
    text.bytes().map(byte).collect()
}

/// A data.tar, written entry by entry.
struct DataTar(Builder<Vec<u8>>);

impl DataTar {
    fn new() -> Self {
        let mut tar = Self(Builder::new(Vec::new()));
        tar.add("./", EntryType::Directory, "", b"");
        tar
    }

    fn add(&mut self, path: &str, kind: EntryType, target: &str, content: &[u8]) {
        let (path, target) = (raw(path), raw(target));
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(&path);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(&target);
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
    }

    /// The parent folders, without which dpkg unpacks nothing.
    fn add_folders(&mut self) {
        for path in [
            "usr/",
            "usr/lib/",
            "usr/lib/systemd/",
            UNITS,
            "etc/",
            "etc/init.d/",
            "opt/",
        ] {
            self.add(&format!("./{path}"), EntryType::Directory, "", b"");
        }
    }

    fn into_package(self, bench: &Bench) -> PathBuf {
        let mut members = Members::of(&Recipe::compressed("none").build(bench));
        *members.member("data.tar") = self.0.into_inner().unwrap();
        bench.write(&members.bytes())
    }
}

/// Path, kind, target, content.
type Row = (&'static str, EntryType, &'static str, &'static [u8]);

/// Stands for a byte that is no UTF-8.
const NO_UTF8: char = '\u{7f}';

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

/// Entries that dpkg unpacks although dpkg-deb does not write them.
const STRANGE: &[(&str, &[Row])] = &[
    ("an absolute path", &[("/etc/init.d/a", FILE, "", b"a")]),
    ("no dot in front", &[("etc/init.d/a", FILE, "", b"a")]),
    (
        "dots and slashes in front",
        &[(".//././etc/init.d/a", FILE, "", b"a")],
    ),
    ("two slashes within", &[("./etc//init.d/a", FILE, "", b"a")]),
    ("a dot within", &[("./etc/./init.d/a", FILE, "", b"a")]),
    (
        "hard links to one file elsewhere",
        &[
            ("./opt/a", FILE, "", b"a"),
            ("./etc/init.d/a", HARD, "./opt/a", b""),
            ("./etc/init.d/b", HARD, "/opt/a", b""),
        ],
    ),
    (
        "a device elsewhere",
        &[("./opt/a", EntryType::Char, "", b"")],
    ),
    ("a FIFO elsewhere", &[("./opt/a", EntryType::Fifo, "", b"")]),
    (
        "a name elsewhere that is not UTF-8",
        &[
            ("./opt/a\u{fffd}", FILE, "", b"b"),
            ("./opt/a\u{7f}", FILE, "", b"a"),
            ("./etc/init.d/a", HARD, "./opt/a\u{fffd}", b""),
        ],
    ),
];

#[test]
fn strange_paths_are_read_as_dpkg_reads_them() {
    let bench = Bench::new();
    for (what, rows) in STRANGE {
        let mut tar = DataTar::new();
        tar.add_folders();
        for (path, kind, target, content) in *rows {
            tar.add(path, *kind, target, content);
        }
        let package = tar.into_package(&bench);
        let found = files(&bench, &package).unwrap();
        assert_eq!(Some(found), unpacked_by_dpkg(&package), "{what}");
    }
}

const HOSTILE: &[(&str, &[Row])] = &[
    (
        "a path out of the package",
        &[("../etc/init.d/a", FILE, "", b"")],
    ),
    (
        "a path through a parent",
        &[("./usr/../etc/init.d/a", FILE, "", b"")],
    ),
    (
        "a path twice",
        &[
            ("./etc/init.d/a", FILE, "", b"a"),
            ("./etc/init.d/a", FILE, "", b"b"),
        ],
    ),
    (
        "a path twice, spelled otherwise",
        &[
            ("./etc/init.d/a", FILE, "", b"a"),
            ("/etc//init.d/a", LINK, "b", b""),
        ],
    ),
    (
        "a hard link to nothing",
        &[("./etc/init.d/a", HARD, "./opt/a", b"")],
    ),
    (
        "a hard link to itself",
        &[("./etc/init.d/a", HARD, "./etc/init.d/a", b"")],
    ),
    (
        "a hard link to a folder",
        &[("./etc/init.d/a", HARD, "./opt", b"")],
    ),
    (
        "a hard link out of the package",
        &[("./etc/init.d/a", HARD, "../opt/a", b"")],
    ),
    (
        "a hard link to a hard link",
        &[
            ("./opt/a", FILE, "", b"a"),
            ("./opt/b", HARD, "./opt/a", b""),
            ("./etc/init.d/a", HARD, "./opt/b", b""),
        ],
    ),
    (
        "a hard link to one of two",
        &[
            ("./opt/a", FILE, "", b"a"),
            ("./opt/a", FILE, "", b"b"),
            ("./etc/init.d/a", HARD, "./opt/a", b""),
        ],
    ),
    (
        "a hard link to a link",
        &[
            ("./opt/a", LINK, "b", b""),
            ("./etc/init.d/a", HARD, "opt/a", b""),
        ],
    ),
    (
        "a hard link to a device",
        &[
            ("./opt/a", EntryType::Char, "", b""),
            ("./etc/init.d/a", HARD, "./opt/a", b""),
        ],
    ),
    (
        "a name that is not UTF-8",
        &[("./etc/init.d/a\u{7f}", FILE, "", b"a")],
    ),
    (
        "a link to a name that is not UTF-8",
        &[("./etc/init.d/a", LINK, "a\u{7f}", b"")],
    ),
    (
        "a hard link to a name that is not UTF-8",
        &[
            ("./opt/a\u{7f}", FILE, "", b"a"),
            ("./etc/init.d/a", HARD, "./opt/a\u{7f}", b""),
        ],
    ),
    ("a device", &[("./etc/init.d/a", EntryType::Char, "", b"")]),
    (
        "a block device",
        &[("./etc/init.d/a", EntryType::Block, "", b"")],
    ),
    ("a FIFO", &[("./etc/init.d/a", EntryType::Fifo, "", b"")]),
    (
        "a pax header",
        &[("./x", EntryType::XHeader, "", b"23 path=./etc/init.d/a\n")],
    ),
    (
        "a global pax header",
        &[("./x", EntryType::XGlobalHeader, "", b"12 comment=x\n")],
    ),
    (
        "a sparse file",
        &[("./opt/a", EntryType::GNUSparse, "", b"")],
    ),
    (
        "a contiguous file",
        &[("./opt/a", EntryType::Continuous, "", b"")],
    ),
    (
        "a file whose name is that of a folder",
        &[("./etc/init.d/a/", FILE, "", b"")],
    ),
    (
        "an unknown type",
        &[("./opt/a", EntryType::__Nonexhaustive(b'Z'), "", b"")],
    ),
    ("a link with content", &[("./opt/a", LINK, "b", b"x")]),
    (
        "a folder with content",
        &[("./opt/a/", EntryType::Directory, "", b"x")],
    ),
    ("no name", &[("", FILE, "", b"x")]),
    (
        "two long names",
        &[
            (
                "././@LongLink",
                EntryType::GNULongName,
                "",
                b"./etc/init.d/a\0",
            ),
            (
                "././@LongLink",
                EntryType::GNULongName,
                "",
                b"./etc/init.d/b\0",
            ),
            ("./opt/a", FILE, "", b"x"),
        ],
    ),
    (
        "a long name at the end",
        &[("././@LongLink", EntryType::GNULongName, "", b"./opt/a\0")],
    ),
    (
        "a name that is too long",
        &[
            ("././@LongLink", EntryType::GNULongName, "", &[b'a'; 5000]),
            ("./opt/a", FILE, "", b"x"),
        ],
    ),
    (
        "a file that is too long",
        &[("./etc/init.d/a", FILE, "", &[b'a'; MAX_CONTENT + 1])],
    ),
];

#[test]
fn files_that_could_be_read_in_two_ways_or_are_none_are_malformed() {
    let bench = Bench::new();
    for (what, rows) in HOSTILE {
        let mut tar = DataTar::new();
        tar.add_folders();
        for (path, kind, target, content) in *rows {
            tar.add(path, *kind, target, content);
        }
        let package = tar.into_package(&bench);
        refused_as(what, files(&bench, &package), Cause::Malformed);
    }
}

#[test]
fn a_data_tar_that_is_cut_or_damaged_is_malformed() {
    let bench = Bench::new();
    let mut tar = DataTar::new();
    tar.add("./etc/init.d/a", FILE, "", &[b'a'; 2000]);
    let package = tar.into_package(&bench);
    let sound = Members::of(&package).member("data.tar").clone();
    let damaged = |at: usize| {
        let mut tar = sound.clone();
        tar[at] ^= 1;
        tar
    };
    for (what, tar) in [
        ("cut in a file", sound[..1500].to_vec()),
        ("cut in a header", sound[..700].to_vec()),
        ("another name", damaged(512)),
        ("another size", damaged(512 + 130)),
        ("another magic", damaged(512 + 260)),
    ] {
        let mut members = Members::of(&package);
        *members.member("data.tar") = tar;
        let package = bench.write(&members.bytes());
        refused_as(what, files(&bench, &package), Cause::Malformed);
    }
}

#[test]
fn as_many_and_as_long_files_are_taken_as_a_package_may_have() {
    let bench = Bench::new();
    let content = vec![b'a'; MAX_CONTENT];
    for (content, most) in [(&[][..], MAX_FILES), (&content, MAX_CONTENTS / MAX_CONTENT)] {
        let with = |number: usize| {
            let mut tar = DataTar::new();
            for at in 0..number {
                tar.add(&format!("./etc/init.d/{at}"), FILE, "", content);
            }
            tar.into_package(&bench)
        };
        assert_eq!(files(&bench, &with(most)).unwrap().len(), most);
        let more = files(&bench, &with(most + 1));
        refused_as(&format!("{most} and one more"), more, Cause::Malformed);
    }
}

/// More than the memory limit of wharf-inspect.
const LARGE: u64 = 300 * 1024 * 1024;

/// A package whose data.tar has an entry of this size, then a script, packed by this command.
fn with_large(bench: &Bench, kind: EntryType, (pack, ending): (&str, &str)) -> PathBuf {
    let tar = bench.path("data.tar");
    let mut builder = Builder::new(File::create(&tar).unwrap());
    let mut header = Header::new_gnu();
    for (path, kind, size) in [("opt/large", kind, LARGE), ("etc/init.d/a", FILE, 1)] {
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        builder
            .append(&header, io::repeat(b'x').take(size))
            .unwrap();
    }
    drop(builder.into_inner().unwrap());
    let mut members = Members::of(&Recipe::compressed("none").build(bench));
    *members.member("data.tar") =
        run(Command::new("sh").args(["-c", &format!("{pack} < {}", tar.display())]));
    members.0[2].0 = format!("data.tar{ending}");
    bench.write(&members.bytes())
}

const PACKERS: [(&str, &str); 3] = [("gzip -1", ".gz"), ("xz -0", ".xz"), ("zstd -1", ".zst")];

#[test]
fn a_large_package_needs_no_memory_of_its_size() {
    let bench = Bench::new();
    for packer in PACKERS {
        let package = with_large(&bench, FILE, packer);
        let found = files(&bench, &package).unwrap();
        assert_eq!(found["etc/init.d/a"].1, b"x", "{packer:?}");
    }
}

#[test]
fn a_name_of_the_size_of_a_disk_is_malformed() {
    let bench = Bench::new();
    let package = with_large(&bench, EntryType::GNULongName, PACKERS[0]);
    refused_as("a long name", files(&bench, &package), Cause::Malformed);
}

#[test]
fn a_file_that_is_no_package_has_no_files() {
    let bench = Bench::new();
    let other = bench.write(b"no package");
    refused_as("no package", files(&bench, &other), Cause::WrongKind);
    let package = Recipe::default().build(&bench);
    assert_eq!(bench.files(&package, &[]).unwrap(), [], "nothing is wanted");
}
