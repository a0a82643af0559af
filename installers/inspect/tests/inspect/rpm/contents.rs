//! The name and version of a package, and its files beside those that rpm unpacks.

use std::{fs, path::Path, process::Command};

use wharf_frames::Cause;

use super::{
    fixture::{Entry, PAYLOADS, Parts, Recipe, bench, bench_with_signer},
    signatures::vector,
};
use crate::{
    contents::TOO_WIDE,
    files::{Found, UNITS, below, files},
    fixture::{compressed, refused, refused_as, run},
};

#[test]
fn tells_name_version_and_architecture() {
    for (payload, architecture) in PAYLOADS.iter().zip(["noarch", "x86_64", "aarch64", "i686"]) {
        let bench = bench();
        let recipe = Recipe {
            payload,
            architecture,
            ..Recipe::default()
        };
        let described = bench.describe(&recipe.build(&bench)).unwrap();
        assert_eq!(described.name.as_str(), "hello");
        assert_eq!(described.version.as_str(), "1:2.10-3");
        assert_eq!(described.architecture.as_str(), architecture);
    }
}

#[test]
fn versions_with_tilde_and_caret_and_without_epoch_are_told() {
    for (preamble, expected) in [
        (
            "Name: hello\nVersion: 2.10~rc1\nRelease: 3%{?dist}\n",
            "2.10~rc1-3",
        ),
        (
            "Name: hello\nVersion: 2.10^git1\nRelease: 0.1.el9_2\n",
            "2.10^git1-0.1.el9_2",
        ),
        ("Name: hello\nEpoch: 0\nVersion: 1\nRelease: 1\n", "1-1"),
    ] {
        let bench = bench();
        let recipe = Recipe {
            preamble,
            ..Recipe::default()
        };
        let described = bench.describe(&recipe.build(&bench)).unwrap();
        assert_eq!(described.version.as_str(), expected);
    }
}

#[test]
fn a_package_of_version_6_tells_the_same() {
    let (bench, package) = vector("one-signature.rpm");
    let described = bench.describe(&package).unwrap();
    assert_eq!(described.name.as_str(), "hello");
    assert_eq!(described.version.as_str(), "1:2.10-3");
    assert_eq!(described.architecture.as_str(), "noarch");
}

#[test]
fn an_identity_outside_of_its_grammar_is_malformed() {
    let (bench, signer) = bench_with_signer();
    let sound = Parts::of(&Recipe::default().build(&bench));
    for (entry, why) in [
        (Entry::text(1000, "-o"), "name is wrong"),
        (Entry::text(1000, "*"), "name is wrong"),
        (Entry::text(1000, ""), "name is wrong"),
        (Entry::text(1000, "hello\n"), "name is wrong"),
        (Entry::text(1001, "2-10"), "version is wrong"),
        (Entry::text(1002, "3:1"), "release is wrong"),
        (Entry::text(1022, "no arch"), "architecture is wrong"),
        (Entry::numbers(1003, &[1, 2]), "tag 1003"),
        (Entry::texts(1000, &["hello"]), "tag 1000"),
    ] {
        let mut parts = sound.clone();
        parts.header.put(entry);
        parts.sign(&bench, &signer);
        let package = bench.write(&parts.bytes());
        bench.verify(&package, None).unwrap();
        let failure = refused(bench.describe(&package), Cause::Malformed);
        assert!(failure.detail.as_str().contains(why), "{why}: {failure}");
    }
    for tag in [1000, 1001, 1002, 1022] {
        let mut parts = sound.clone();
        parts.header.remove(tag);
        parts.sign(&bench, &signer);
        let failure = refused(
            bench.describe(&bench.write(&parts.bytes())),
            Cause::Malformed,
        );
        assert!(failure.detail.as_str().contains("missing"), "{failure}");
    }
}

/// Nothing is installed from it, and rpm would refuse it as well.
#[test]
fn a_damaged_package_is_told_from_a_sound_one_without_any_signature() {
    let bench = bench();
    let package = Recipe::default().build(&bench);
    bench.describe(&package).unwrap();
    let mut bytes = fs::read(&package).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    refused(bench.describe(&bench.write(&bytes)), Cause::WrongDigest);
    let mut parts = Parts::of(&package);
    parts.header.get(1004).data[0] ^= 1;
    refused(
        bench.describe(&bench.write(&parts.bytes())),
        Cause::WrongDigest,
    );
    let mut parts = Parts::of(&package);
    parts.signature.put(Entry::text(273, "00"));
    refused(
        bench.describe(&bench.write(&parts.bytes())),
        Cause::WrongDigest,
    );
    parts.signature.remove(273);
    refused(
        bench.describe(&bench.write(&parts.bytes())),
        Cause::Malformed,
    );
}

/// The wanted files, as rpm unpacks them into a root of its own.
fn unpacked_by_rpm(package: &Path) -> Found {
    let root = tempfile::tempdir().unwrap();
    let mut rpm = Command::new("rpm");
    rpm.env("HOME", root.path()).arg("--root").arg(root.path());
    rpm.args([
        "--dbpath",
        "/db",
        "--install",
        "--nodeps",
        "--ignorearch",
        "--noplugins",
    ]);
    run(rpm.arg(package));
    below(&root)
}

/// Units, links, several names of one file within the folder of units and outside of it, an empty file, a large one.
fn with_units(payload: &str) -> Recipe<'_> {
    Recipe {
        payload,
        install: "cd $RPM_BUILD_ROOT; mkdir -p usr/lib/systemd/system/acme.service.d etc/init.d usr/share/dbus-1/system-services opt\n\
            echo '[Service]' > usr/lib/systemd/system/acme.service\n\
            echo '[Unit]' > usr/lib/systemd/system/acme.service.d/own.conf\n\
            : > usr/lib/systemd/system/empty.service\n\
            ln -s acme.service usr/lib/systemd/system/alias.service\n\
            ln -s /dev/null usr/lib/systemd/system/mask.service\n\
            ln usr/lib/systemd/system/acme.service usr/lib/systemd/system/zzz.service\n\
            ln usr/lib/systemd/system/acme.service usr/lib/systemd/system/aaa.service\n\
            echo example > opt/example; ln opt/example usr/lib/systemd/system/example.service\n\
            echo '#!/bin/sh' > etc/init.d/acme; ln etc/init.d/acme opt/zzz\n\
            echo Name > usr/share/dbus-1/system-services/org.acme.service\n\
            head -c 3000000 /dev/urandom > opt/noise\n",
        files: "/usr/lib/systemd/system/*\n%config /etc/init.d/acme\n/usr/share/dbus-1\n/opt/*\n\
            %ghost /usr/lib/systemd/system/ghost.service\n",
        ..Recipe::default()
    }
}

#[test]
fn files_are_those_that_rpm_unpacks_however_they_are_packed() {
    for payload in PAYLOADS {
        let bench = bench();
        let package = with_units(payload).build(&bench);
        let found = files(&bench, &package).unwrap();
        assert_eq!(found, unpacked_by_rpm(&package), "{payload}");
        let text = |path: &str| str::from_utf8(&found[path].1).unwrap();
        assert_eq!(text("usr/lib/systemd/system/aaa.service"), "[Service]\n");
        assert_eq!(text("usr/lib/systemd/system/example.service"), "example\n");
        assert_eq!(text("etc/init.d/acme"), "#!/bin/sh\n");
        assert!(!found.contains_key("usr/lib/systemd/system/ghost.service"));
        assert_eq!(found.len(), 10, "{found:?}");
    }
}

/// Its payload has rpm's stripped form of cpio.
#[test]
fn files_of_a_package_of_version_6_are_those_that_rpm_unpacks() {
    let (bench, package) = vector("one-signature.rpm");
    let found = files(&bench, &package).unwrap();
    assert_eq!(found, unpacked_by_rpm(&package));
    let names: Vec<_> = found
        .keys()
        .map(|path| path.rsplit_once('/').unwrap().1)
        .collect();
    assert_eq!(names, ["greeter.service", "hallo.service", "hello.service"]);
    assert_eq!(
        found["usr/lib/systemd/system/hallo.service"].1,
        b"[Service]\nExecStart=/bin/true\n"
    );
}

#[test]
fn a_package_without_files_has_none() {
    for payload in PAYLOADS {
        let bench = bench();
        let recipe = Recipe {
            payload,
            install: "",
            files: "",
            ..Recipe::default()
        };
        let package = recipe.build(&bench);
        bench.describe(&package).unwrap();
        assert_eq!(files(&bench, &package).unwrap(), Found::new());
    }
}

type Change = (&'static str, fn(&mut Parts), &'static str);

/// To the header and the uncompressed payload of a package with one file, /usr/share/hello/greeting.
const HOSTILE: &[Change] = &[
    ("no payload", |p| p.payload.clear(), "payload"),
    ("a cut payload", |p| p.payload.truncate(400), "payload"),
    ("bytes behind it", |p| p.payload.push(b'x'), "bytes follow"),
    (
        "a second archive behind it",
        |p| p.payload.extend(p.payload.clone()),
        "bytes follow",
    ),
    (
        "an archive in front of it",
        |p| p.payload.splice(..0, p.payload.clone()).for_each(drop),
        "bytes follow",
    ),
    ("no archive", |p| p.payload = b"070707".to_vec(), "no entry"),
    (
        "gzip that is none",
        |p| p.header.put(Entry::text(1125, "gzip")),
        "payload",
    ),
    (
        "xz that is none",
        |p| p.header.put(Entry::text(1125, "xz")),
        "payload",
    ),
    (
        "zstd that is none",
        |p| p.header.put(Entry::text(1125, "zstd")),
        "payload",
    ),
    (
        "another name in the payload",
        |p| replace(&mut p.payload, "./usr/share/hello/g", "./usr/share/hello/x"),
        "does not list",
    ),
    (
        "another name in the header",
        |p| p.header.put(Entry::texts(1117, &["hello", "xreeting"])),
        "does not list",
    ),
    (
        "a file too few in the header",
        |p| {
            for entry in p.header.0.iter_mut().filter(|entry| entry.count == 2) {
                entry.count = 1;
                entry.data.truncate(entry.data.len() / 2);
            }
            p.header.put(Entry::texts(1117, &["hello"]));
            p.header.put(Entry::texts(1036, &[""]));
        },
        "does not list",
    ),
    (
        "another size in the header",
        |p| p.header.put(Entry::numbers(1028, &[0, 12_999])),
        "not as long",
    ),
    (
        "two kinds of sizes",
        |p| {
            let entry = Entry {
                tag: 5008,
                kind: 5,
                count: 2,
                data: vec![0; 16],
            };
            p.header.put(entry);
        },
        "tag 5008",
    ),
    (
        "a path out of the root",
        |p| {
            p.header
                .put(Entry::texts(1118, &["/usr/share/", "/usr/../hello/"]))
        },
        "plain absolute",
    ),
    (
        "a folder that is none",
        |p| p.header.put(Entry::numbers(1116, &[0, 2])),
        "tag 1116",
    ),
    ("fewer modes", |p| p.header.get(1030).count = 1, "tag 1030"),
];

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    let at = bytes
        .windows(from.len())
        .rposition(|part| part == from.as_bytes());
    let at = at.unwrap();
    bytes.splice(at..at + from.len(), to.bytes());
}

#[test]
fn files_that_could_be_read_in_two_ways_are_malformed_although_the_package_is_signed() {
    let (bench, signer) = bench_with_signer();
    let recipe = Recipe {
        payload: "w.ufdio",
        ..Recipe::default()
    };
    let sound = Parts::of(&recipe.build(&bench));
    for (what, change, why) in HOSTILE {
        let mut parts = sound.clone();
        change(&mut parts);
        parts.state_payload(&bench);
        parts.sign(&bench, &signer);
        let package = bench.write(&parts.bytes());
        bench.verify(&package, None).unwrap();
        let described = bench.describe(&package);
        let read = described.and_then(|_| files(&bench, &package));
        let failure = refused_as(what, read, Cause::Malformed);
        assert!(failure.detail.as_str().contains(why), "{what}: {failure}");
    }
}

/// Otherwise it would be sealed, and every Install would fail.
#[test]
fn a_window_of_more_than_128_mib_is_refused_where_the_package_is_described() {
    let (bench, signer) = bench_with_signer();
    let recipe = Recipe {
        payload: "w.ufdio",
        ..Recipe::default()
    };
    let sound = Parts::of(&recipe.build(&bench));
    for (name, command) in [
        ("xz", "xz --lzma2=preset=0,dict=192MiB"),
        ("zstd", "zstd --long=28"),
    ] {
        let mut parts = sound.clone();
        parts.payload = compressed(command, &parts.payload);
        parts.header.put(Entry::text(1125, name));
        parts.state_payload(&bench);
        parts.sign(&bench, &signer);
        let package = bench.write(&parts.bytes());
        let failure = refused_as(command, bench.describe(&package), Cause::Malformed);
        let why = failure.detail.as_str();
        assert!(why.contains("payload") && why.contains(TOO_WIDE), "{why}");
        refused_as(command, files(&bench, &package), Cause::Malformed);
    }
}

/// More than the memory that wharf-inspect may have.
#[test]
fn a_file_of_any_length_is_unpacked_in_the_same_memory() {
    for payload in ["w1.gzdio", "w0.xzdio", "w1.zstdio"] {
        let bench = bench();
        let recipe = Recipe {
            payload,
            install: "mkdir -p $RPM_BUILD_ROOT/opt $RPM_BUILD_ROOT/etc/init.d\n\
                truncate -s 300M $RPM_BUILD_ROOT/opt/zeros; touch $RPM_BUILD_ROOT/etc/init.d/acme\n",
            files: "/opt/zeros\n/etc/init.d/acme\n",
            ..Recipe::default()
        };
        let package = recipe.build(&bench);
        let found = files(&bench, &package).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["etc/init.d/acme"]);
    }
}

/// With the longest header, and the widest window of xz for the payload.
#[test]
fn the_most_files_are_listed_in_the_same_memory() {
    let (bench, count) = (bench(), 250_000);
    let mut parts = Parts::of(&Recipe::default().build(&bench));
    let numbers = |tag: u32, kind: u32, number: &[u8]| Entry {
        tag,
        kind,
        count: count as u32,
        data: number.repeat(count),
    };
    let names: Vec<_> = (0..count).map(|at| format!("{at}.service")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for entry in [
        numbers(1028, 4, &[0; 4]),
        numbers(1030, 3, &[0x41, 0xed]),
        numbers(1036, 8, &[0]),
        numbers(1037, 4, &[0; 4]),
        numbers(1095, 4, &[0; 4]),
        numbers(1096, 4, &[0; 4]),
        numbers(1116, 4, &[0; 4]),
        Entry::texts(1117, &names),
        Entry::texts(1118, &[&format!("/{UNITS}")]),
        Entry::text(1125, "xz"),
    ] {
        parts.header.put(entry);
    }
    let (archive, packed) = (bench.path("archive"), bench.path("archive.xz"));
    let mut bytes: Vec<_> = (0..count)
        .flat_map(|at| format!("07070X{at:08x}\0\0").into_bytes())
        .collect();
    bytes.extend(
        format!(
            "070701{}{:08x}{:08x}TRAILER!!!\0\0\0\0",
            "0".repeat(88),
            11,
            0
        )
        .bytes(),
    );
    fs::write(&archive, bytes).unwrap();
    run(Command::new("xz").arg("-9").arg(&archive));
    parts.payload = fs::read(packed).unwrap();
    let most = (32 << 20) - parts.header.bytes(63).len();
    parts.header.put(Entry::binary(20_000, &vec![0; most]));
    parts.signature.remove(1000);
    parts.signature.put(Entry::binary(1008, &vec![0; 15 << 20]));
    let package = bench.write(&parts.bytes());
    // Folders are not handed on, but without one of them the payload would be refused.
    assert_eq!(files(&bench, &package).unwrap(), Found::new());
}
