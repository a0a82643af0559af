//! Bundles: what is one, its manifest, its packages, and what is refused.

use std::{
    fs::File,
    io::Read,
    os::{
        fd::OwnedFd,
        unix::{net::UnixDatagram, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tar::EntryType;
use wharf_bundle::Manifest;
use wharf_frames::{
    Cause, Failure, encode,
    inspect::{FINDING_LENGTH, Finding, Format, Question},
    packed::Frames,
};

use crate::{
    contents::TOO_WIDE,
    fixture::{Bench, NOBODY, Signer, compressed, refused_as},
    ipk::{Entries, tar},
};

const COMPRESSORS: [&str; 4] = ["cat", "gzip -1", "xz -0", "zstd -1"];

const CORE: &[u8] = b"the package acme-core";
const UI: &[u8] = b"the package acme-ui, which is a little longer";

const CORE_SHA256: &str = "a1f63e1ce854a891ed31bff1b3847814324a547037e7ff478f4c2852581e631e";
const UI_SHA256: &str = "2131848a9375464e03ba454d5cf49e87b10643ad1382b549bc0118c2e0481098";

fn manifest() -> String {
    format!(
        "format = 1\nname = \"acme-stack\"\nversion = \"2.3.0\"\n\n[needs]\nupgrades-from = [\">= 2.0\"]\n\n\
         [[step]]\ninstall = \"core.deb\"\nsha256 = \"{CORE_SHA256}\"\n\n[[step]]\nremove = \"acme-legacy\"\n\n\
         [[step]]\ninstall = \"ui.deb\"\nsha256 = \"{UI_SHA256}\"\n"
    )
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> (EntryType, &'a str, &'a str, &'a [u8]) {
    (EntryType::Regular, name, "", content)
}

fn sound() -> Vec<u8> {
    let manifest = manifest();
    tar(&[
        file("manifest.toml", manifest.as_bytes()),
        file("core.deb", CORE),
        file("ui.deb", UI),
    ])
}

/// Runs wharf-inspect as its user, and returns what it wrote, with its answer.
fn ask(bench: &Bench, question: &Question, bundle: &Path) -> (Vec<u8>, Finding) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    ours.send(&encode(question).unwrap()).unwrap();
    let mut child = Command::new(bench.path("wharf-inspect"))
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(File::open(bundle).unwrap())
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut written = Vec::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut written)
        .unwrap();
    let mut packet = [0; FINDING_LENGTH];
    assert_eq!(ours.recv(&mut packet).unwrap(), FINDING_LENGTH);
    assert!(child.wait().unwrap().success());
    (written, Finding::from_packet(&packet).unwrap())
}

fn read_manifest(bench: &Bench, bytes: &[u8]) -> Result<Manifest, Failure> {
    let (written, finding) = ask(bench, &Question::Manifest, &bench.write(bytes));
    match finding {
        Finding::Files(1) => {
            let mut found = None;
            let mut frames = Frames::default();
            let each = |manifest: Manifest| {
                found = Some(manifest);
                Ok(())
            };
            frames.append(&written, each).unwrap();
            frames.finish().unwrap();
            Ok(found.unwrap())
        }
        Finding::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn read_members(bench: &Bench, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let (written, finding) = ask(bench, &Question::Members, &bench.write(bytes));
    let Finding::Files(number) = finding else {
        let Finding::Failed(failure) = finding else {
            panic!("{finding:?}");
        };
        return Err(failure);
    };
    let (mut members, mut rest) = (Vec::new(), &written[..]);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u64::from_be_bytes(*length) as usize;
        members.push(after[..length].to_vec());
        rest = &after[length..];
    }
    assert_eq!((rest.len(), members.len()), (0, number as usize));
    Ok(members)
}

/// As the installer does: signature, manifest, packages.
fn judged(bench: &Bench, signer: &Signer, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let path = bench.write(bytes);
    let verified = bench.verify(&path, Some(&signer.sign(&path)))?;
    assert!(verified.bundle, "it is no bundle");
    read_manifest(bench, bytes)?;
    read_members(bench, bytes)
}

fn with_signer(format: Format) -> (Bench, Signer) {
    let (bench, signer) = (Bench::of(format), Signer::new());
    bench.trust("packages.asc", &signer.certificate());
    (bench, signer)
}

#[test]
fn a_bundle_is_one_for_each_package_manager_and_hands_over_its_packages() {
    for format in [Format::Deb, Format::Rpm, Format::Ipk, Format::Simulated] {
        let (bench, signer) = with_signer(format);
        for compressor in COMPRESSORS {
            let bytes = compressed(compressor, &sound());
            let members = judged(&bench, &signer, &bytes);
            assert_eq!(members.unwrap(), [CORE, UI], "{format:?} {compressor}");
            let parsed = Manifest::parse(&manifest()).unwrap();
            assert_eq!(read_manifest(&bench, &bytes).unwrap(), parsed);
        }
    }
}

#[test]
fn the_tar_of_tar_itself_is_a_bundle() {
    let (bench, signer) = with_signer(Format::Deb);
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("manifest.toml", manifest().as_bytes()),
        ("core.deb", CORE),
        ("ui.deb", UI),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    for format in ["ustar", "gnu"] {
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(folder.path())
            .arg(format!("--format={format}"));
        let bytes = crate::fixture::run(tar.args(["-c", "manifest.toml", "core.deb", "ui.deb"]));
        assert_eq!(
            judged(&bench, &signer, &bytes).unwrap(),
            [CORE, UI],
            "{format}"
        );
    }
}

/// Nothing is unpacked before that.
#[test]
fn a_bundle_needs_a_signature_beside_it() {
    let (bench, signer) = with_signer(Format::Deb);
    let stranger = Signer::new();
    for compressor in COMPRESSORS {
        let path = bench.write(&compressed(compressor, &sound()));
        refused_as(compressor, bench.verify(&path, None), Cause::Unsigned);
        let strange = bench.verify(&path, Some(&stranger.sign(&path)));
        refused_as(compressor, strange, Cause::UntrustedSigner);
        let signature = signer.sign(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let changed = bench.verify(&bench.write(&bytes), Some(&signature));
        refused_as(compressor, changed, Cause::BadSignature);
    }
}

#[test]
fn a_bundle_inside_a_message_is_a_bundle() {
    let (bench, signer) = with_signer(Format::Deb);
    for compressor in COMPRESSORS {
        let path = bench.write(&compressed(compressor, &sound()));
        let message = signer.sign_around(&bench, &path, &[]);
        assert!(
            bench.verify_inside(&message).unwrap().bundle,
            "{compressor}"
        );
    }
}

/// The formats have other first bytes, except for a package of opkg in a gzip'd tar.
#[test]
fn a_package_is_no_bundle() {
    let (bench, signer) = with_signer(Format::Ipk);
    let entries: Entries<'_> = &[file("./debian-binary", b"2.0\n")];
    let path = bench.write(&compressed("gzip -1", &tar(entries)));
    let verified = bench.verify(&path, Some(&signer.sign(&path))).unwrap();
    assert!(!verified.bundle);
}

#[test]
fn an_archive_without_a_manifest_in_front_is_refused_with_the_reason() {
    let manifest = manifest();
    let moved = tar(&[
        file("core.deb", CORE),
        file("manifest.toml", manifest.as_bytes()),
    ]);
    let top = tar(&[
        (EntryType::Directory, "./", "", b""),
        file("./manifest.toml", manifest.as_bytes()),
    ]);
    for format in [Format::Deb, Format::Rpm, Format::Ipk] {
        let (bench, signer) = with_signer(format);
        for compressor in COMPRESSORS {
            if format == Format::Ipk && compressor == "gzip -1" {
                continue; // it could be a package, which is told when it is described
            }
            for bytes in [&moved, &top] {
                let what = format!("{format:?} {compressor}");
                let got = judged(&bench, &signer, &compressed(compressor, bytes));
                let failure = refused_as(&what, got, Cause::Malformed);
                let why = failure.detail.as_str();
                assert!(
                    why.contains("a bundle begins with manifest.toml"),
                    "{what}: {why}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_archive_at_all_is_of_the_wrong_kind() {
    let (bench, signer) = with_signer(Format::Deb);
    for bytes in [
        &b""[..],
        b"manifest.toml",
        b"\x1f\x8b",
        b"\xfd7zXZ\0\0\x04",
        b"\x28\xb5\x2f\xfd",
    ] {
        let got = judged(&bench, &signer, bytes);
        refused_as(&format!("{bytes:?}"), got, Cause::WrongKind);
    }
}

/// A change of the sound bundle's entries: the manifest, then two packages.
type Change = fn(&mut Vec<(EntryType, String, String, Vec<u8>)>);

const HOSTILE: &[(&str, Change, Cause, &str)] = &[
    (
        "a manifest twice",
        |it| it.push(it[0].clone()),
        Cause::Malformed,
        "manifest.toml twice",
    ),
    (
        "a manifest twice in front",
        |it| it.insert(1, it[0].clone()),
        Cause::Malformed,
        "manifest.toml twice",
    ),
    (
        "a huge manifest",
        |it| it[0].3 = b"#".repeat(64 * 1024 + 1),
        Cause::Malformed,
        "65537 bytes: at most 65536",
    ),
    (
        "10000 components",
        |it| it[0].3.extend(b"[[step]]\n".repeat(10_000)),
        Cause::Malformed,
        "bytes: at most 65536",
    ),
    (
        "6000 components",
        |it| it[0].3.extend(b"[[step]]\n".repeat(6000)),
        Cause::Malformed,
        "6003 steps: at most 64",
    ),
    (
        "30000 arrays in each other",
        |it| it[0].3 = [b"format = ", &b"[".repeat(30_000)[..], &b"]".repeat(30_000)].concat(),
        Cause::Malformed,
        "recursion",
    ),
    (
        "30000 tables in each other",
        |it| {
            it[0]
                .3
                .extend([&b"a"[..], &b".a".repeat(30_000), b" = 1"].concat())
        },
        Cause::Malformed,
        "manifest.toml: line",
    ),
    (
        "30000 parts of a table's name",
        |it| {
            it[0]
                .3
                .extend([&b"[a"[..], &b".a".repeat(30_000), b"]"].concat())
        },
        Cause::Malformed,
        "manifest.toml: line",
    ),
    (
        "a manifest that is no text",
        |it| it[0].3[0] = 0xff,
        Cause::Malformed,
        "not UTF-8",
    ),
    (
        "no manifest in it",
        |it| it[0].3.clear(),
        Cause::Malformed,
        "format",
    ),
    (
        "a manifest that is a link",
        |it| it[0].0 = EntryType::Symlink,
        Cause::Malformed,
        "symbolic link",
    ),
    (
        "the same file twice",
        |it| it.insert(2, it[1].clone()),
        Cause::Malformed,
        "\"core.deb\" is in the place of ui.deb",
    ),
    (
        "the same file at the end",
        |it| it.push(it[1].clone()),
        Cause::Malformed,
        "\"core.deb\", which no step installs",
    ),
    (
        "another order",
        |it| it.swap(1, 2),
        Cause::Malformed,
        "\"ui.deb\" is in the place of core.deb",
    ),
    (
        "a missing file",
        |it| drop(it.pop()),
        Cause::Malformed,
        "ends before ui.deb",
    ),
    (
        "a file more",
        |it| it.push((EntryType::Regular, "x".into(), String::new(), vec![])),
        Cause::Malformed,
        "\"x\", which no step installs",
    ),
    (
        "an absolute path",
        |it| it[1].1 = "/core.deb".into(),
        Cause::Malformed,
        "\"/core.deb\" is in the place of core.deb",
    ),
    (
        "a path that leads out",
        |it| it[1].1 = "../core.deb".into(),
        Cause::Malformed,
        "\"../core.deb\" is in the place",
    ),
    (
        "a path with a folder",
        |it| it[1].1 = "./core.deb".into(),
        Cause::Malformed,
        "\"./core.deb\" is in the place",
    ),
    (
        "a name that is not UTF-8",
        |it| it[1].1 = "core~".into(),
        Cause::Malformed,
        "not UTF-8",
    ),
    (
        "a symbolic link",
        |it| (it[1].0, it[1].2) = (EntryType::Symlink, "/etc/shadow".into()),
        Cause::Malformed,
        "a symbolic link",
    ),
    (
        "a hard link",
        |it| (it[1].0, it[1].2) = (EntryType::Link, "manifest.toml".into()),
        Cause::Malformed,
        "a hard link",
    ),
    (
        "a file with a target",
        |it| it[1].2 = "ui.deb".into(),
        Cause::Malformed,
        "the target of a link",
    ),
    (
        "a character device",
        |it| it[1].0 = EntryType::Char,
        Cause::Malformed,
        "a device",
    ),
    (
        "a block device",
        |it| it[1].0 = EntryType::Block,
        Cause::Malformed,
        "a device",
    ),
    (
        "a FIFO",
        |it| it[1].0 = EntryType::Fifo,
        Cause::Malformed,
        "a FIFO",
    ),
    (
        "a folder",
        |it| it[1].0 = EntryType::Directory,
        Cause::Malformed,
        "a folder",
    ),
    (
        "a sparse file",
        |it| it[1].0 = EntryType::GNUSparse,
        Cause::Malformed,
        "a sparse file",
    ),
    (
        "a header of pax",
        |it| it[1].0 = EntryType::XHeader,
        Cause::Malformed,
        "a header of pax",
    ),
    (
        "a global header of pax",
        |it| it[1].0 = EntryType::XGlobalHeader,
        Cause::Malformed,
        "a header of pax",
    ),
    (
        "a long name",
        |it| it[1].0 = EntryType::GNULongName,
        Cause::Malformed,
        "a long name",
    ),
    (
        "a contiguous file",
        |it| it[1].0 = EntryType::Continuous,
        Cause::Malformed,
        "of the type",
    ),
    (
        "another content",
        |it| it[1].3[0] ^= 1,
        Cause::WrongDigest,
        "core.deb",
    ),
    (
        "a longer content",
        |it| it[2].3.push(0),
        Cause::WrongDigest,
        "ui.deb",
    ),
    (
        "an empty content",
        |it| it[2].3.clear(),
        Cause::WrongDigest,
        "ui.deb",
    ),
];

#[test]
fn a_hostile_bundle_is_refused_with_its_reason() {
    let bench = Bench::new();
    for (what, change, cause, why) in HOSTILE {
        let mut entries = vec![
            (
                EntryType::Regular,
                "manifest.toml".to_owned(),
                String::new(),
                manifest().into_bytes(),
            ),
            (
                EntryType::Regular,
                "core.deb".to_owned(),
                String::new(),
                CORE.to_vec(),
            ),
            (
                EntryType::Regular,
                "ui.deb".to_owned(),
                String::new(),
                UI.to_vec(),
            ),
        ];
        change(&mut entries);
        let entries: Vec<_> = entries
            .iter()
            .map(|(kind, name, link, content)| (*kind, &**name, &**link, &**content))
            .collect();
        for compressor in COMPRESSORS {
            let what = format!("{what} {compressor}");
            let got = read_members(&bench, &compressed(compressor, &tar(&entries)));
            let failure = refused_as(&what, got, *cause);
            assert!(failure.detail.as_str().contains(why), "{what}: {failure}");
        }
    }
}

#[test]
fn bytes_that_a_tar_has_nowhere_else_are_refused() {
    let bench = Bench::new();
    let sound = sound();
    let with = |at: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        bytes
    };
    let end = sound.len() - 1024;
    let content = end - 512;
    for (what, bytes, why) in [
        (
            "a byte after the end",
            [&sound[..], b"x"].concat(),
            "bytes follow its end",
        ),
        ("a second bundle", sound.repeat(2), "bytes follow its end"),
        (
            "a byte in the second block of the end",
            with(end + 1023, 1),
            "bytes follow its end",
        ),
        (
            "a byte in the first block of the end",
            with(end, 1),
            "no header of tar",
        ),
        (
            "too many zeros",
            [&sound[..], &[0; 64 * 1024 + 1]].concat(),
            "bytes follow its end",
        ),
        (
            "a byte after the content",
            with(content + 511, 1),
            "bytes follow the content",
        ),
        (
            "one block at the end",
            sound[..end + 512].to_vec(),
            "ends too early",
        ),
        ("no end", sound[..end].to_vec(), "ends too early"),
        (
            "a cut file",
            sound[..content + 7].to_vec(),
            "ends too early",
        ),
        (
            "a header with a wrong checksum",
            with(content - 512 + 4, b'X'),
            "checksum",
        ),
    ] {
        for compressor in COMPRESSORS {
            let what = format!("{what} {compressor}");
            let failure = refused_as(
                &what,
                read_members(&bench, &compressed(compressor, &bytes)),
                Cause::Malformed,
            );
            assert!(failure.detail.as_str().contains(why), "{what}: {failure}");
        }
    }
    for zeros in [0, 512, 64 * 1024] {
        let longer = [&sound[..], &vec![0; zeros]].concat();
        assert_eq!(
            read_members(&bench, &longer).unwrap(),
            [CORE, UI],
            "{zeros}"
        );
    }
}

#[test]
fn a_compressed_bundle_is_one_stream_with_a_window_that_fits() {
    let bench = Bench::new();
    let sound = sound();
    for compressor in &COMPRESSORS[1..] {
        let stream = compressed(compressor, &sound);
        for bytes in [
            [&stream[..], b"x"].concat(),
            stream.repeat(2),
            stream[..stream.len() - 1].to_vec(),
        ] {
            refused_as(compressor, read_members(&bench, &bytes), Cause::Malformed);
        }
    }
    for compressor in ["xz --lzma2=preset=0,dict=192MiB", "zstd --long=28"] {
        // zstd takes a window of the length of a short content.
        let bytes = [&sound[..], &[0; 64 * 1024]].concat();
        let bytes = compressed(compressor, &bytes);
        for got in [
            read_members(&bench, &bytes).err(),
            read_manifest(&bench, &bytes).err(),
        ] {
            let failure = refused_as(compressor, got.map_or(Ok(()), Err), Cause::Malformed);
            assert!(failure.detail.as_str().contains(TOO_WIDE), "{failure}");
        }
    }
}

/// The package is longer than the memory that wharf-inspect may have, and compressed to a thousandth.
#[test]
fn a_large_package_in_a_bundle_needs_no_memory_of_its_size() {
    let bench = Bench::new();
    let zeros = vec![0; 300 << 20];
    let manifest = manifest().replace("core.deb", "zeros.deb");
    let bundle = tar(&[
        file("manifest.toml", manifest.as_bytes()),
        file("zeros.deb", &zeros),
    ]);
    for compressor in COMPRESSORS {
        let bytes = compressed(compressor, &bundle);
        read_manifest(&bench, &bytes).unwrap();
        let (written, finding) = ask(&bench, &Question::Members, &bench.write(&bytes));
        assert_eq!(written.len(), 8 + zeros.len(), "{compressor}");
        let Finding::Failed(failure) = finding else {
            panic!("{compressor}: {finding:?}");
        };
        assert_eq!(failure.cause, Cause::WrongDigest, "{compressor}: {failure}");
    }
}

/// The manifest is read without what follows it.
#[test]
fn a_bomb_behind_the_manifest_is_not_unpacked_for_it() {
    let bench = Bench::new();
    let manifest = manifest();
    let head = tar(&[file("manifest.toml", manifest.as_bytes())]);
    let bomb = [&head[..head.len() - 1024], &[0xff; 100]].concat();
    for compressor in COMPRESSORS {
        let bytes = compressed(compressor, &bomb);
        assert!(read_manifest(&bench, &bytes).is_ok(), "{compressor}");
        refused_as(compressor, read_members(&bench, &bytes), Cause::Malformed);
    }
}
