//! wharfd's own Debian package, as `make deb` builds it from this workspace, or the one in [`PACKAGE`].

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

/// The variable with the path of an existing package.
pub const PACKAGE: &str = "WHARF_PACKAGE";

/// The package, built once for each run of a test program.
pub fn wharfd_package() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| env::var_os(PACKAGE).map_or_else(build, PathBuf::from))
        .clone()
}

/// Another version of it in the folder `into`, with the same programs. `change` gets the folder of its maintainer
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

/// Builds it by `make deb`, into the folder of that command.
fn build() -> PathBuf {
    let folder = target().join("deb");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("no folder {folder:?}: {error}"));
    let _one_at_a_time = lock(&folder.join("lock"));
    output_of(
        Command::new("make")
            .arg("--directory")
            .arg(workspace())
            .arg("deb")
            .env("CARGO_TARGET_DIR", target())
            .env_remove("MAKEFLAGS"),
    );
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths = files.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .unwrap_or_else(|| panic!("no package in {folder:?}"))
}
