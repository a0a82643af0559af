//! Packages of opkg, in both framings: what they say of themselves, the digests of their files, and what is refused.

use std::{
    fs::{self, File},
    os::fd::AsFd,
};

use tar::{Builder, EntryType, Header};
use wharf_frames::{
    Cause, Failure,
    inspect::{Described, Format},
    packed::{ContentDigest, FileDigest},
};

use crate::{
    contents::TOO_WIDE,
    fixture::{Bench, Members, Signer, compressed, refused_as},
};

const CONTROL: &str = "Package: Hello_world\nVersion: 1:2.10^git1-r0.3\nArchitecture: cortexa7t2hf-neon\n\
    Maintainer: Packages <packages@example.org>\nDescription: greets\n";

/// The members of a package, as opkg-build packs them.
#[derive(Clone)]
struct Package(Vec<(String, Vec<u8>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Ar,
    Tar,
}

const BOTH: [Framing; 2] = [Framing::Ar, Framing::Tar];

/// `~` stands for a byte that is not UTF-8.
fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, target: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    let raw = path
        .bytes()
        .map(|byte| if byte == b'~' { 0xff } else { byte });
    for (place, byte) in header.as_gnu_mut().unwrap().name.iter_mut().zip(raw) {
        *place = byte;
    }
    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

pub(crate) type Entries<'a> = &'a [(EntryType, &'a str, &'a str, &'a [u8])];

/// A GNU tar of these entries.
pub(crate) fn tar(entries: Entries<'_>) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, path, target, content) in entries {
        entry(&mut tar, *kind, path, target, content);
    }
    tar.into_inner().unwrap()
}

const FILES: Entries<'_> = &[
    (EntryType::Directory, "./", "", b""),
    (EntryType::Regular, "./usr/bin/hello", "", b"hello, world"),
    (EntryType::Symlink, "./usr/bin/hi", "hello", b""),
    (EntryType::Link, "./usr/bin/hallo", "./usr/bin/hello", b""),
    (EntryType::Fifo, "./run/hello", "", b""),
    (EntryType::Regular, "./etc/hello.conf", "", b""),
];

impl Package {
    fn of(control: &str, files: Entries<'_>, compressor: &str) -> Self {
        let ending = match compressor.split(' ').next() {
            Some("gzip") => "gz",
            Some("zstd") => "zst",
            _ => "xz",
        };
        let control = tar(&[
            (EntryType::Directory, "./", "", b""),
            (EntryType::Regular, "./control", "", control.as_bytes()),
            (EntryType::Regular, "./postinst", "", b"#!/bin/sh\n"),
        ]);
        Self(vec![
            ("debian-binary".into(), b"2.0\n".to_vec()),
            ("control.tar.gz".into(), compressed("gzip -1", &control)),
            (
                format!("data.tar.{ending}"),
                compressed(compressor, &tar(files)),
            ),
        ])
    }

    fn sound() -> Self {
        Self::of(CONTROL, FILES, "gzip -1")
    }

    fn member(&mut self, at: usize) -> &mut Vec<u8> {
        &mut self.0[at].1
    }

    fn bytes(&self, framing: Framing) -> Vec<u8> {
        match framing {
            Framing::Ar => Members(self.0.clone()).bytes(),
            Framing::Tar => compressed("gzip -1", &self.outer()),
        }
    }

    /// The tar of a package in a tar.
    fn outer(&self) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (name, content) in &self.0 {
            entry(
                &mut tar,
                EntryType::Regular,
                &format!("./{name}"),
                "",
                content,
            );
        }
        tar.into_inner().unwrap()
    }
}

fn digests(bench: &Bench, bytes: &[u8]) -> Result<Vec<FileDigest>, Failure> {
    let package = File::open(bench.write(bytes)).unwrap();
    let mut found = Vec::new();
    bench.inspector().digests(package.as_fd(), &mut |digest| {
        found.push(digest);
        Ok(())
    })?;
    Ok(found)
}

/// All that root asks before it lets opkg work.
fn judged(bench: &Bench, signer: &Signer, bytes: &[u8]) -> Result<Described, Failure> {
    let package = bench.write(bytes);
    bench.verify(&package, Some(&signer.sign(&package)))?;
    let described = bench.describe(&package)?;
    digests(bench, bytes)?;
    Ok(described)
}

fn with_signer() -> (Bench, Signer) {
    let (bench, signer) = (Bench::of(Format::Ipk), Signer::new());
    bench.trust("packages.asc", &signer.certificate());
    (bench, signer)
}

#[test]
fn tells_name_version_and_architecture_in_both_framings_and_each_order() {
    let (bench, signer) = with_signer();
    for framing in BOTH {
        for compressor in ["gzip", "xz -0", "zstd -1"] {
            for data_first in [false, true] {
                let mut package = Package::of(CONTROL, FILES, compressor);
                if data_first {
                    package.0.swap(1, 2);
                }
                let described = judged(&bench, &signer, &package.bytes(framing)).unwrap();
                assert_eq!(described.name.as_str(), "Hello_world");
                assert_eq!(described.version.as_str(), "1:2.10^git1-r0.3");
                assert_eq!(described.architecture.as_str(), "cortexa7t2hf-neon");
            }
        }
    }
}

#[test]
fn each_file_has_its_length_and_its_digest() {
    let bench = Bench::of(Format::Ipk);
    let file = |path: &str, length, digest: &str| {
        let mut sha256 = [0; 32];
        for (byte, hex) in sha256.iter_mut().zip(digest.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap();
        }
        FileDigest {
            path: path.to_owned(),
            content: ContentDigest::File { length, sha256 },
        }
    };
    // By sha256sum.
    const HELLO: &str = "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let expected = [
        file("usr/bin/hello", 12, HELLO),
        FileDigest {
            path: "usr/bin/hi".to_owned(),
            content: ContentDigest::Link("hello".to_owned()),
        },
        file("usr/bin/hallo", 12, HELLO),
        file("etc/hello.conf", 0, EMPTY),
        FileDigest {
            path: "usr/share/hello".to_owned(),
            content: ContentDigest::Folder,
        },
    ];
    let folder = (EntryType::Directory, "./usr/share/hello/", "", &b""[..]);
    let files = [FILES, &[folder]].concat();
    for framing in BOTH {
        let bytes = Package::of(CONTROL, &files, "gzip -1").bytes(framing);
        assert_eq!(digests(&bench, &bytes).unwrap(), expected, "{framing:?}");
    }
}

#[test]
fn a_package_needs_a_signature_beside_it() {
    let (bench, signer) = with_signer();
    for framing in BOTH {
        let package = bench.write(&Package::sound().bytes(framing));
        let unsigned = bench.verify(&package, None);
        refused_as("unsigned", unsigned, Cause::Unsigned);
        let signature = signer.sign(&package);
        bench.verify(&package, Some(&signature)).unwrap();
        let mut changed = fs::read(&package).unwrap();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let judged = bench.verify(&bench.write(&changed), Some(&signature));
        refused_as("changed", judged, Cause::BadSignature);
    }
}

type Change = fn(&mut Package);

const STRANGE: &[(&str, Change, &str)] = &[
    (
        "a member more",
        |p| p.0.push(("extra".into(), b"x".to_vec())),
        "\"extra\" is no member",
    ),
    (
        "a signature inside",
        |p| p.0.push(("_gpgorigin".into(), b"x".to_vec())),
        "\"_gpgorigin\" is no member",
    ),
    (
        "a member before debian-binary",
        |p| p.0.swap(0, 1),
        "in the place of debian-binary",
    ),
    (
        "no debian-binary",
        |p| drop(p.0.remove(0)),
        "in the place of debian-binary",
    ),
    (
        "no control.tar",
        |p| drop(p.0.remove(1)),
        "it has no control.tar",
    ),
    ("no data.tar", |p| drop(p.0.remove(2)), "it has no data.tar"),
    (
        "two data.tar",
        |p| p.0.push(p.0[2].clone()),
        "it has two data.tar",
    ),
    (
        "two control.tar",
        |p| p.0.push(p.0[1].clone()),
        "it has two control.tar",
    ),
    (
        "debian-binary 2.1",
        |p| *p.member(0) = b"2.1\n".to_vec(),
        "not exactly 2.0",
    ),
    (
        "debian-binary with more",
        |p| *p.member(0) = b"2.0\n\n".to_vec(),
        "not exactly 2.0",
    ),
    (
        "an uncompressed data.tar",
        |p| {
            p.0[2] = ("data.tar".into(), tar(FILES));
        },
        "\"data.tar\" is no member",
    ),
    (
        "a compression that opkg does not know",
        |p| {
            p.0[2].0 = "data.tar.bz2".into();
        },
        "\"data.tar.bz2\" is no member",
    ),
    (
        "a name that does not fit the compression",
        |p| {
            p.0[2].0 = "data.tar.xz".into();
        },
        "data.tar.xz",
    ),
    (
        "an empty data.tar.xz, which opkg installs",
        |p| {
            p.0[2] = ("data.tar.xz".into(), vec![]);
        },
        "data.tar.xz",
    ),
    (
        "bytes after the stream of data.tar",
        |p| p.member(2).push(0),
        "bytes follow the end of the stream",
    ),
    (
        "two streams of data.tar",
        |p| {
            let twice = p.member(2).repeat(2);
            *p.member(2) = twice;
        },
        "bytes follow the end of the stream",
    ),
    (
        "a cut data.tar",
        |p| {
            let length = p.member(2).len();
            p.member(2).truncate(length - 9);
        },
        "data.tar",
    ),
    (
        "a second tar behind the first one",
        |p| {
            *p.member(2) = compressed("gzip -1", &tar(FILES).repeat(2));
        },
        "follows the end of the tar archive",
    ),
    (
        "a file twice",
        |p| {
            *p = Package::of(CONTROL, &[FILES, &FILES[1..2]].concat(), "gzip -1");
        },
        "two files usr/bin/hello",
    ),
    (
        "a path that leads out",
        |p| {
            let out = (EntryType::Regular, "./../etc/passwd", "", &b"x"[..]);
            *p = Package::of(CONTROL, &[out], "gzip -1");
        },
        "leads out of it",
    ),
    (
        "a name that is not UTF-8",
        |p| {
            let name = (EntryType::Regular, "./usr/~", "", &b"x"[..]);
            *p = Package::of(CONTROL, &[name], "gzip -1");
        },
        "UTF-8",
    ),
    (
        "a hard link to nothing",
        |p| {
            let link = (EntryType::Link, "./a", "./nowhere", &b""[..]);
            *p = Package::of(CONTROL, &[link], "gzip -1");
        },
        "nowhere",
    ),
    (
        "a hard link before its file",
        |p| {
            *p = Package::of(CONTROL, &[FILES[3], FILES[1]], "gzip -1");
        },
        "usr/bin/hello",
    ),
    (
        "two files control",
        |p| {
            let control = (EntryType::Regular, "./control", "", CONTROL.as_bytes());
            *p.member(1) = compressed("gzip -1", &tar(&[control, control]));
        },
        "two control files",
    ),
    (
        "a name that is a pattern",
        |p| {
            *p = Package::of(&CONTROL.replace("Hello_world", "hell*"), FILES, "gzip -1");
        },
        "field Package",
    ),
    (
        "a name that is an option",
        |p| {
            *p = Package::of(&CONTROL.replace("Hello_world", "-t"), FILES, "gzip -1");
        },
        "field Package",
    ),
];

#[test]
fn a_package_that_could_be_read_in_two_ways_is_malformed_in_both_framings() {
    let (bench, signer) = with_signer();
    for framing in BOTH {
        for (what, change, why) in STRANGE {
            let mut package = Package::sound();
            change(&mut package);
            let judged = judged(&bench, &signer, &package.bytes(framing));
            let what = format!("{what} {framing:?}");
            let failure = refused_as(&what, judged, Cause::Malformed);
            assert!(failure.detail.as_str().contains(why), "{what}: {failure}");
        }
    }
}

/// Otherwise it would be sealed, and every Install would fail.
#[test]
fn a_window_of_more_than_128_mib_is_refused_where_the_package_is_described() {
    let bench = Bench::of(Format::Ipk);
    for framing in BOTH {
        for compressor in ["xz --lzma2=preset=0,dict=192MiB", "zstd --long=28"] {
            let ending = if compressor.starts_with("xz") {
                "xz"
            } else {
                "zst"
            };
            for (at, part) in [(1, "control.tar"), (2, "data.tar")] {
                let what = format!("{part} {compressor} {framing:?}");
                let mut package = Package::sound();
                let content = compressed("gzip -d", package.member(at));
                package.0[at] = (format!("{part}.{ending}"), compressed(compressor, &content));
                let got = bench.describe(&bench.write(&package.bytes(framing)));
                let failure = refused_as(&what, got, Cause::Malformed);
                let why = failure.detail.as_str();
                assert!(
                    why.contains(part) && why.contains(TOO_WIDE),
                    "{what}: {why}"
                );
            }
        }
    }
}

/// The file is longer than the memory that wharf-inspect may have.
#[test]
fn a_large_package_needs_no_memory_of_its_size() {
    let bench = Bench::of(Format::Ipk);
    let zeros = vec![0; 300 << 20];
    let files: Entries<'_> = &[
        (EntryType::Regular, "./opt/zeros", "", &zeros),
        (EntryType::Regular, "./etc/init.d/acme", "", b"start"),
    ];
    let large = tar(files);
    for (compressor, ending) in [("gzip -1", "gz"), ("xz -0", "xz"), ("zstd -1", "zst")] {
        for framing in BOTH {
            let mut package = Package::sound();
            package.0[2] = (format!("data.tar.{ending}"), compressed(compressor, &large));
            let bytes = package.bytes(framing);
            bench.describe(&bench.write(&bytes)).unwrap();
            let found = digests(&bench, &bytes).unwrap();
            let lengths: Vec<u64> = found
                .iter()
                .map(|digest| match &digest.content {
                    ContentDigest::File { length, .. } => *length,
                    ContentDigest::Link(_) | ContentDigest::Folder => 0,
                })
                .collect();
            assert_eq!(lengths, [300 << 20, 5], "{compressor} {framing:?}");
        }
    }
}

#[test]
fn a_tar_that_could_be_read_in_two_ways_is_malformed() {
    let (bench, signer) = with_signer();
    let sound = Package::sound().outer();
    let whole = compressed("gzip -1", &sound);
    let named = |kind, path| {
        let mut tar = Builder::new(Vec::new());
        entry(&mut tar, kind, path, "debian-binary", b"");
        let more = tar.into_inner().unwrap();
        // In front of the two blocks of zeros at the end.
        compressed("gzip -1", &[&sound[..sound.len() - 1024], &more].concat())
    };
    for (what, bytes) in [
        ("a byte after the stream", [&whole[..], b"x"].concat()),
        ("two streams", whole.repeat(2)),
        ("a cut stream", whole[..whole.len() - 1].to_vec()),
        (
            "bytes after the tar",
            compressed("gzip -1", &[&sound[..], b"x"].concat()),
        ),
        ("a second tar", compressed("gzip -1", &sound.repeat(2))),
        (
            "a cut tar",
            compressed("gzip -1", &sound[..sound.len() - 1536]),
        ),
        ("no tar", compressed("gzip -1", b"hello, world")),
        ("nothing", compressed("gzip -1", b"")),
        ("a link", named(EntryType::Symlink, "./more")),
        ("a folder", named(EntryType::Directory, "./more/")),
        (
            "a file in a folder",
            named(EntryType::Regular, "./more/data.tar.gz"),
        ),
        ("a pax header", named(EntryType::XHeader, "./more")),
    ] {
        refused_as(what, judged(&bench, &signer, &bytes), Cause::Malformed);
    }
}

#[test]
fn what_is_no_package_at_all_is_of_the_wrong_kind() {
    let (bench, signer) = with_signer();
    for bytes in [
        &b""[..],
        b"\x1f",
        b"!<arch>",
        b"hello, world",
        b"\xfd7zXZ\0\0\x04",
    ] {
        let judged = judged(&bench, &signer, bytes);
        refused_as(&format!("{bytes:?}"), judged, Cause::WrongKind);
    }
}
