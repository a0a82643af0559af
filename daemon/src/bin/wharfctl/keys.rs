//! `wharfctl keys`: the keyring is root's, and what is in it is nothing for this program to parse: wharf-installer shows
//! and changes it, and is asked here.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde::Deserialize;

use crate::{arguments::Keys, failure::Failure};

/// What doctor wants to know of a certificate.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) fingerprint: String,
    pub(crate) unusable: Option<String>,
    pub(crate) packages: Option<Vec<String>>,
}

/// Has `wharf-installer keys` do it, which prints what it found. Gives its code.
pub(crate) fn keys(root: &Path, verb: Keys, json: bool) -> Result<ExitCode, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::NotRoot(
            "the keyring is root's: try sudo".to_owned(),
        ));
    }
    let words: Vec<OsString> = match verb {
        Keys::List => vec!["list".into()],
        Keys::Add { file } => vec!["add".into(), file.into()],
        Keys::Remove { fingerprint } => vec!["remove".into(), fingerprint.into()],
        Keys::Check { file } => vec!["check".into(), file.into()],
    };
    let mut command = command(root, json);
    let output = command.args(words).stdout(Stdio::inherit()).output();
    let output = output.map_err(not_started)?;
    let why = said(&output.stderr);
    match output.status.code().map(u8::try_from) {
        Some(Ok(code)) if why.is_empty() => Ok(code.into()),
        Some(_) => Err(Failure::Refused(why)),
        None => Err(Failure::Refused(format!(
            "{} was ended by a signal",
            installer().display()
        ))),
    }
}

/// The keyring as it stands, or why it cannot be used.
pub(crate) fn read(root: &Path) -> Result<Vec<Key>, String> {
    let output = command(root, true).arg("list").output();
    let output = output.map_err(|error| not_started(error).to_string())?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).map_err(|error| error.to_string());
    }
    Err(said(&output.stderr))
}

/// Without its own name, of which nobody asked anything.
fn said(errors: &[u8]) -> String {
    let said = String::from_utf8_lossy(errors);
    let line = said.trim().trim_start_matches("wharf-installer: ");
    line.to_owned()
}

fn command(root: &Path, json: bool) -> Command {
    let mut command = Command::new(installer());
    command.arg("--root").arg(root);
    command.args(json.then_some("--json")).args(["--", "keys"]); // a file may begin with a dash
    command
}

/// It lies beside this program where both were built, else where the package puts it.
fn installer() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    let beside = own.with_file_name("wharf-installer");
    match beside.is_file() {
        true => beside,
        false => PathBuf::from("/usr/libexec/wharfd/wharf-installer"),
    }
}

fn not_started(source: io::Error) -> Failure {
    Failure::Refused(format!(
        "cannot start {}: {source}. Is wharfd installed whole?",
        installer().display()
    ))
}
