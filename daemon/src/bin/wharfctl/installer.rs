//! wharf-installer as a program: root's policy and keyring are nothing for this one to read, and it is asked here.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// What it answers, or why it does not.
pub(crate) fn ask<T: DeserializeOwned>(
    root: &Path,
    words: impl IntoIterator<Item: AsRef<OsStr>>,
) -> Result<T, String> {
    let output = command(root, true).args(words).output();
    let output = output.map_err(|error| not_started(error).to_string())?;
    match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
        false => Err(said(&output.stderr)),
    }
}

pub(crate) fn command(root: &Path, json: bool) -> Command {
    let mut command = Command::new(program());
    command.arg("--root").arg(root);
    command.args(json.then_some("--json"));
    command
}

/// It lies beside this program where both were built, else where the package puts it.
pub(crate) fn program() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    let beside = own.with_file_name("wharf-installer");
    match beside.is_file() {
        true => beside,
        false => PathBuf::from("/usr/libexec/wharfd/wharf-installer"),
    }
}

pub(crate) fn not_started(source: io::Error) -> Failure {
    Failure::Refused(format!(
        "cannot start {}: {source}. Is wharfd installed whole?",
        program().display()
    ))
}

/// Without its own name, of which nobody asked anything.
pub(crate) fn said(errors: &[u8]) -> String {
    let said = String::from_utf8_lossy(errors);
    let line = said.trim().trim_start_matches("wharf-installer: ");
    line.to_owned()
}
