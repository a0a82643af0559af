//! The metadata of a package.

use std::process::Command;

use wharf_frames::Cause;

use crate::fixture::{Bench, CONTROL, Members, Recipe, refused, refused_as, repacked, run};

#[test]
fn tells_name_version_and_architecture() {
    for compression in ["none", "gzip", "xz", "zstd"] {
        let bench = Bench::new();
        let control = CONTROL.replace("Architecture: all", "Architecture: riscv64");
        let recipe = Recipe {
            control: &control,
            compression,
            ..Recipe::default()
        };
        let described = bench.describe(&recipe.build(&bench)).unwrap();
        assert_eq!(described.name.as_str(), "hello");
        assert_eq!(described.version.as_str(), "1:2.10-3");
        assert_eq!(described.architecture.as_str(), "riscv64");
    }
}

/// dpkg-deb writes its top folder even if data.tar has nothing else.
#[test]
fn a_package_without_files_is_taken_however_dpkg_deb_compresses_it() {
    for compression in ["none", "gzip", "xz", "zstd"] {
        let (bench, signer) = Bench::with_signer();
        let recipe = Recipe {
            compression,
            files: &[],
            ..Recipe::default()
        };
        let package = recipe.build(&bench);
        signer.sign_inside_by_hand(&bench, &package);
        bench.verify(&package, None).unwrap();
        assert_eq!(bench.describe(&package).unwrap().name.as_str(), "hello");
    }
}

/// A control.tar.gz made by tar from these files, in a package that is otherwise sound.
fn with_control_tar(bench: &Bench, script: &str) -> std::path::PathBuf {
    let package = Recipe::compressed("gzip");
    let mut members = Members::of(&package.build(bench));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("control"), CONTROL).unwrap();
    let mut shell = Command::new("sh");
    shell.arg("-ec").arg(script).current_dir(folder.path());
    *members.member("control.tar") = run(&mut shell);
    bench.write(&members.bytes())
}

#[test]
fn takes_control_data_that_tar_made() {
    let bench = Bench::new();
    let package = with_control_tar(
        &bench,
        "touch md5sums; tar --format=gnu -czf - ./control ./md5sums",
    );
    assert_eq!(bench.describe(&package).unwrap().name.as_str(), "hello");
}

#[test]
fn control_data_that_could_be_read_in_two_ways_is_malformed() {
    let bench = Bench::new();
    for (what, script) in [
        (
            "no control",
            "touch md5sums; tar --format=gnu -czf - ./md5sums",
        ),
        ("control twice", "tar --format=gnu -czf - ./control control"),
        (
            "a link",
            "mv control other; ln -s other control; tar --format=gnu -czf - ./control ./other",
        ),
        (
            "a folder",
            "mkdir d; touch d/x; tar --format=gnu -czf - ./control ./d",
        ),
        (
            "pax headers",
            "tar --format=pax --pax-option=comment:=x -czf - ./control",
        ),
        (
            "two streams",
            "tar --format=gnu -czf - ./control; gzip -c control",
        ),
        (
            "bytes after the stream",
            "tar --format=gnu -czf - ./control; echo x",
        ),
        (
            "bytes after the archive",
            "(tar --format=gnu -cf - ./control; echo x) | gzip",
        ),
        (
            "cut short",
            "tar --format=gnu -czf - ./control | head -c 100",
        ),
        ("no archive", "gzip -c control"),
        (
            "a bomb of zeros",
            "(tar --format=gnu -cf - ./control; head -c 64M /dev/zero) | gzip",
        ),
        (
            "a bomb of a file",
            "truncate -s 64M big; tar --format=gnu -czf - ./big ./control",
        ),
        (
            "a long control",
            "head -c 2M /dev/zero >> control; tar --format=gnu -czf - ./control",
        ),
        ("a bomb of xz in its place", "head -c 64M /dev/zero | xz -9"),
    ] {
        let package = with_control_tar(&bench, script);
        let got = bench.describe(&package);
        refused_as(what, got, Cause::Malformed);
    }
}

#[test]
fn data_that_does_not_end_with_its_member_is_malformed() {
    for compression in ["gzip", "xz", "zstd"] {
        let bench = Bench::new();
        let package = Recipe::compressed(compression).build(&bench);
        for rest in [&b"x"[..], &[0; 4], Members::of(&package).member("data.tar")] {
            let mut members = Members::of(&package);
            members.member("data.tar").extend(rest);
            refused(
                bench.describe(&bench.write(&members.bytes())),
                Cause::Malformed,
            );
        }
        let mut members = Members::of(&package);
        members.member("data.tar").pop();
        refused(
            bench.describe(&bench.write(&members.bytes())),
            Cause::Malformed,
        );
    }
}

/// Else it would be sealed, and every Install would fail.
#[test]
fn a_window_of_more_than_128_mib_is_refused_where_the_package_is_described() {
    let bench = Bench::new();
    let tree = tempfile::tempdir().unwrap();
    for compression in ["xz --lzma2=preset=0,dict=192MiB", "zstd --long=28"] {
        let data = repacked(&bench, tree.path(), compression);
        let got = bench.describe(&data);
        let failure = refused_as(compression, got, Cause::Malformed);
        let why = failure.detail.as_str();
        assert!(why.contains("data.tar") && why.contains(TOO_WIDE), "{why}");
        let got = bench.files(&data, &[]);
        refused_as(compression, got, Cause::Malformed);
        let wide = Members::of(&data).member("data.tar").clone();
        let mut members = Members::of(&data);
        *members.member("control.tar") = wide;
        let got = bench.describe(&bench.write(&members.bytes()));
        let failure = refused_as(compression, got, Cause::Malformed);
        let why = failure.detail.as_str();
        assert!(
            why.contains("control.tar") && why.contains(TOO_WIDE),
            "{why}"
        );
    }
}

pub(crate) const TOO_WIDE: &str = "a window (of xz: a dictionary) of more than 128 MiB";
