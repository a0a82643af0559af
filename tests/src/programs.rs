//! The programs of this workspace. Builds them once, since `cargo test` does not build those of other crates, or uses
//! the shipped ones in the folder [`SHIPPED`].

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::mount::{MsFlags, mount};

use crate::{command::output_of, folder::Folder};

/// The variable with a folder of programs that were built before, without features for tests.
pub const SHIPPED: &str = "WHARF_PROGRAMS";

/// The path of a program of this workspace (`wharf-inspect`, …), built like this test.
///
/// # Panics
///
/// When the workspace does not build it, or has no such program.
pub fn program(name: &str) -> PathBuf {
    if let Some(shipped) = env::var_os(SHIPPED) {
        return Path::new(&shipped).join(name);
    }
    let built = build(&["--bin", name]).output().expect("cargo starts");
    let why = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "the workspace builds no {name}: {why}"
    );
    profile_folder().join(name)
}

/// The folder of all programs of this workspace.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| match env::var_os(SHIPPED) {
        Some(shipped) => shipped.into(),
        None => {
            output_of(&mut build(&["--bins"]));
            profile_folder()
        }
    })
}

/// The workspace's own folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
}

/// The cargo that builds this test, as a command for `what` in the workspace and its target folder.
pub fn cargo(what: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([what, "--quiet", "--target-dir"])
        .arg(target())
        .current_dir(workspace());
    cargo
}

/// The target folder of this build.
pub fn target() -> PathBuf {
    let folder = profile_folder();
    folder.parent().expect("a target folder").to_owned()
}

/// A folder of programs that every user can enter: only root may be able to enter a checkout.
#[derive(Debug)]
pub struct Reachable {
    folder: Folder,
}

impl Reachable {
    /// The programs of this folder.
    ///
    /// # Panics
    ///
    /// If it cannot be mounted at another place.
    pub fn of(programs: &Path) -> Self {
        let folder = Folder::new();
        let here = folder.make("programs");
        mount(
            Some(programs),
            &here,
            None::<&Path>,
            MsFlags::MS_BIND,
            None::<&Path>,
        )
        .unwrap_or_else(|error| panic!("{programs:?} cannot be bound to {here:?}: {error}"));
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> PathBuf {
        self.folder.join("programs")
    }
}

/// The cargo command that builds these programs, with the features of all of them.
fn build(which: &[&str]) -> Command {
    let folder = profile_folder();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut cargo = cargo("build");
    cargo
        .args(["--workspace", "--profile", profile])
        // The crate of the tests depends on the others that have the feature, but must not link wharf-inspect.
        .args(["--features", "simulated"])
        .args(which);
    cargo
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
