//! Where the programs of this workspace are. Builds them once, as `cargo test` does not build those of
//! other crates.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::command::output_of;

/// The path of a program of this workspace (`wharfd`, `wharf-installer`, …), built like this test.
///
/// # Panics
///
/// When the workspace does not build, or has no such program.
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(
        path.is_file(),
        "the workspace builds no {name}: no {path:?}"
    );
    path
}

/// The folder of all of them.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(build)
}

/// The workspace's own folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
}

fn build() -> PathBuf {
    let profile_folder = profile_folder();
    let target = profile_folder.parent().expect("a target folder");
    let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output_of(
        Command::new(cargo)
            .args(["build", "--quiet", "--workspace", "--bins"])
            .args(["--profile", profile])
            .arg("--target-dir")
            .arg(target)
            .current_dir(workspace()),
    );
    profile_folder
}

/// `target/debug` of `target/debug/deps/this-test`, `target/debug/examples/that`, `target/debug/one`.
fn profile_folder() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let folder = own.parent().expect("a folder");
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => folder.parent().expect("a profile's folder").to_owned(),
        _ => folder.to_owned(),
    }
}
