//! wharfd's own packages, as `make deb`, `make rpm` and `make ipk` build them from this workspace, or the files in
//! [`PACKAGE`], [`RPM`] and [`IPK`].

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    command::output_of,
    folder::{Folder, lock},
    programs::{target, workspace},
};

/// The variable with the path of an existing Debian package.
pub const PACKAGE: &str = "WHARF_PACKAGE";

/// The variable with the path of an existing rpm package.
pub const RPM: &str = "WHARF_RPM";

/// The variable with the path of an existing package for opkg.
pub const IPK: &str = "WHARF_IPK";

/// The Debian package, built once for each run of a test program.
pub fn wharfd_package() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| env::var_os(PACKAGE).map_or_else(|| build("deb"), PathBuf::from))
        .clone()
}

/// The rpm package, of the same programs.
pub fn wharfd_rpm() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| env::var_os(RPM).map_or_else(|| build("rpm"), PathBuf::from))
        .clone()
}

/// The package for opkg, of the same programs.
pub fn wharfd_ipk() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| env::var_os(IPK).map_or_else(|| build("ipk"), PathBuf::from))
        .clone()
}

/// Another version of the Debian package in the folder `into`, with the same programs. `change` gets the folder of its maintainer
/// scripts.
pub fn repacked(into: &Path, version: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let folder = Folder::new();
    let tree = folder.join("package");
    let mut unpack = Command::new("dpkg-deb");
    output_of(unpack.arg("--raw-extract").arg(wharfd_package()).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let fields = fs::read_to_string(&control).expect("a control file");
    let fields = fields.lines().map(|field| match field {
        _ if field.starts_with("Version: ") => format!("Version: {version}\n"),
        _ => format!("{field}\n"),
    });
    let fields: String = fields.collect();
    fs::write(&control, fields).unwrap_or_else(|error| panic!("{control:?}: {error}"));
    change(&tree.join("DEBIAN"));
    let package = into.join(format!("wharfd_{version}.deb"));
    let mut build = Command::new("dpkg-deb");
    output_of(build.args(["-z1", "--build"]).arg(&tree).arg(&package));
    package
}

/// Another version of the rpm package in the folder `into`, of the shipped programs. `change` gets the spec.
pub fn rebuilt_rpm(into: &Path, version: &str, change: impl FnOnce(String) -> String) -> PathBuf {
    wharfd_rpm(); // and with it the programs
    rebuilt(into, version, "rpm", |packaging| {
        rewrite(&packaging.join("rpm/wharfd.spec"), change);
    })
}

/// The same of the package for opkg.
pub fn rebuilt_ipk(into: &Path, version: &str) -> PathBuf {
    wharfd_ipk();
    rebuilt(into, version, "ipk", |_| ())
}

fn rebuilt(into: &Path, version: &str, format: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let tree = Folder::new();
    let mut copy = Command::new("cp");
    let parts = [
        "packaging",
        "systemd",
        "docs",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    copy.arg("--recursive").args(parts).arg(tree.path());
    output_of(copy.current_dir(workspace()));
    let packaging = tree.join("packaging");
    rewrite(&packaging.join("debian/changelog"), |text| {
        let (_, rest) = text.split_once(')').expect("a version");
        format!("wharfd ({version}){rest}")
    });
    change(&packaging);
    let script = packaging.join(format!("build-{format}"));
    // Less compression is seconds faster.
    rewrite(&script, |text| {
        text.replace("w19.", "w1.").replace("xz --", "xz -0 --")
    });
    let built = into.join(version);
    let programs = target().join("shipped/release");
    output_of(Command::new(script).arg(programs).arg(&built));
    only(&built, format)
}

fn rewrite(file: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    fs::write(file, change(text)).unwrap_or_else(|error| panic!("{file:?}: {error}"));
}

/// Builds it by `make` and the name of the format, into the folder of that command.
fn build(format: &str) -> PathBuf {
    let deb = target().join("deb"); // every format takes its programs
    fs::create_dir_all(&deb).unwrap_or_else(|error| panic!("no folder {deb:?}: {error}"));
    let _one_at_a_time = lock(&deb.join("lock"));
    output_of(
        Command::new("make")
            .arg("--directory")
            .arg(workspace())
            .arg(format)
            .env("CARGO_TARGET_DIR", target())
            .env_remove("MAKEFLAGS"),
    );
    only(&target().join(format), format)
}

/// The package of this format in the folder.
fn only(folder: &Path, format: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths = files.flatten().map(|entry| entry.path());
    paths
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == format)
        })
        .unwrap_or_else(|| panic!("no package in {folder:?}"))
}
