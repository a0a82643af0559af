//! wharfd's own Debian package, built from this workspace as it stands: as it is shipped, but for the compiler's
//! optimisations, which nobody waits for in a test.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use crate::{
    command::output_of,
    folder::lock,
    programs::{target, workspace},
};

/// The package, built once for each run of a test program.
pub fn wharfd_package() -> PathBuf {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let folder = target().join("deb");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("no folder {folder:?}: {error}"));
    let _one_at_a_time = lock(&folder.join("lock"));
    output_of(
        Command::new(workspace().join("packaging/build-deb"))
            .arg(&folder)
            // Not where the tests' own programs are, which have features that are never shipped.
            .env("CARGO_TARGET_DIR", target().join("shipped"))
            .env("DEB_BUILD_OPTIONS", "noopt noautodbgsym"),
    );
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths = files.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .unwrap_or_else(|| panic!("no package in {folder:?}"))
}
