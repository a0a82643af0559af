//! Packages of opkg, in both framings: what they say of themselves, the digests of their files, and what is refused.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::AsFd,
    process::{Command, Stdio},
    thread,
};

use tar::{Builder, EntryType, Header};
use wharf_frames::{
    Cause, Failure,
    inspect::{Described, Format},
    packed::{ContentDigest, FileDigest},
};

use crate::fixture::{Bench, Members, Signer, refused_as};

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

fn compressed(program: &str, content: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(["-c", "-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let content = content.to_vec();
    let writer = thread::spawn(move || input.write_all(&content).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

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

type Entries<'a> = &'a [(EntryType, &'a str, &'a str, &'a [u8])];

fn tar(entries: Entries<'_>) -> Vec<u8> {
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
        let ending = match compressor {
            "gzip" => "gz",
            "zstd" => "zst",
            other => other,
        };
        let control = tar(&[
            (EntryType::Directory, "./", "", b""),
            (EntryType::Regular, "./control", "", control.as_bytes()),
            (EntryType::Regular, "./postinst", "", b"#!/bin/sh\n"),
        ]);
        Self(vec![
            ("debian-binary".into(), b"2.0\n".to_vec()),
            ("control.tar.gz".into(), compressed("gzip", &control)),
            (
                format!("data.tar.{ending}"),
                compressed(compressor, &tar(files)),
            ),
        ])
    }

    fn sound() -> Self {
        Self::of(CONTROL, FILES, "gzip")
    }

    fn member(&mut self, at: usize) -> &mut Vec<u8> {
        &mut self.0[at].1
    }

    fn bytes(&self, framing: Framing) -> Vec<u8> {
        match framing {
            Framing::Ar => Members(self.0.clone()).bytes(),
            Framing::Tar => compressed("gzip", &self.outer()),
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
        for compressor in ["gzip", "xz", "zstd"] {
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
    ];
    for framing in BOTH {
        let bytes = Package::sound().bytes(framing);
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

const STRANGE: &[(&str, Change)] = &[
    ("a member more", |p| {
        p.0.push(("extra".into(), b"x".to_vec()))
    }),
    ("a signature inside", |p| {
        p.0.push(("_gpgorigin".into(), b"x".to_vec()))
    }),
    ("a member before debian-binary", |p| p.0.swap(0, 1)),
    ("no debian-binary", |p| drop(p.0.remove(0))),
    ("no control.tar", |p| drop(p.0.remove(1))),
    ("no data.tar", |p| drop(p.0.remove(2))),
    ("two data.tar", |p| p.0.push(p.0[2].clone())),
    ("two control.tar", |p| p.0.push(p.0[1].clone())),
    ("debian-binary 2.1", |p| *p.member(0) = b"2.1\n".to_vec()),
    ("debian-binary with more", |p| {
        *p.member(0) = b"2.0\n\n".to_vec()
    }),
    ("an uncompressed data.tar", |p| {
        p.0[2] = ("data.tar".into(), tar(FILES));
    }),
    ("a compression that opkg does not know", |p| {
        p.0[2].0 = "data.tar.bz2".into();
    }),
    ("a name that does not fit the compression", |p| {
        p.0[2].0 = "data.tar.xz".into();
    }),
    ("an empty data.tar.xz, which opkg installs", |p| {
        p.0[2] = ("data.tar.xz".into(), vec![]);
    }),
    ("bytes after the stream of data.tar", |p| {
        p.member(2).push(0)
    }),
    ("two streams of data.tar", |p| {
        let twice = p.member(2).repeat(2);
        *p.member(2) = twice;
    }),
    ("a cut data.tar", |p| {
        let length = p.member(2).len();
        p.member(2).truncate(length - 9);
    }),
    ("a second tar behind the first one", |p| {
        *p.member(2) = compressed("gzip", &tar(FILES).repeat(2));
    }),
    ("a file twice", |p| {
        *p = Package::of(CONTROL, &[FILES, &FILES[1..2]].concat(), "gzip");
    }),
    ("a path that leads out", |p| {
        let out = (EntryType::Regular, "./../etc/passwd", "", &b"x"[..]);
        *p = Package::of(CONTROL, &[out], "gzip");
    }),
    ("a name that is not UTF-8", |p| {
        let name = (EntryType::Regular, "./usr/~", "", &b"x"[..]);
        *p = Package::of(CONTROL, &[name], "gzip");
    }),
    ("a hard link to nothing", |p| {
        let link = (EntryType::Link, "./a", "./nowhere", &b""[..]);
        *p = Package::of(CONTROL, &[link], "gzip");
    }),
    ("a hard link before its file", |p| {
        *p = Package::of(CONTROL, &[FILES[3], FILES[1]], "gzip");
    }),
    ("two files control", |p| {
        let control = (EntryType::Regular, "./control", "", CONTROL.as_bytes());
        *p.member(1) = compressed("gzip", &tar(&[control, control]));
    }),
    ("a name that is a pattern", |p| {
        *p = Package::of(&CONTROL.replace("Hello_world", "hell*"), FILES, "gzip");
    }),
    ("a name that is an option", |p| {
        *p = Package::of(&CONTROL.replace("Hello_world", "-t"), FILES, "gzip");
    }),
];

#[test]
fn a_package_that_could_be_read_in_two_ways_is_malformed_in_both_framings() {
    let (bench, signer) = with_signer();
    for framing in BOTH {
        for (what, change) in STRANGE {
            let mut package = Package::sound();
            change(&mut package);
            let judged = judged(&bench, &signer, &package.bytes(framing));
            refused_as(&format!("{what} {framing:?}"), judged, Cause::Malformed);
        }
    }
}

#[test]
fn a_tar_that_could_be_read_in_two_ways_is_malformed() {
    let (bench, signer) = with_signer();
    let sound = Package::sound().outer();
    let whole = compressed("gzip", &sound);
    let named = |kind, path| {
        let mut tar = Builder::new(Vec::new());
        entry(&mut tar, kind, path, "debian-binary", b"");
        let more = tar.into_inner().unwrap();
        // In front of the two blocks of zeros at the end.
        compressed("gzip", &[&sound[..sound.len() - 1024], &more].concat())
    };
    for (what, bytes) in [
        ("a byte after the stream", [&whole[..], b"x"].concat()),
        ("two streams", whole.repeat(2)),
        ("a cut stream", whole[..whole.len() - 1].to_vec()),
        (
            "bytes after the tar",
            compressed("gzip", &[&sound[..], b"x"].concat()),
        ),
        ("a second tar", compressed("gzip", &sound.repeat(2))),
        (
            "a cut tar",
            compressed("gzip", &sound[..sound.len() - 1536]),
        ),
        ("no tar", compressed("gzip", b"hello, world")),
        ("nothing", compressed("gzip", b"")),
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
