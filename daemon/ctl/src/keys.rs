//! `wharfctl keys`: wharf-installer reads and changes root's keyring. wharfctl parses no certificate.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Deserialize;

use crate::{arguments::KeysVerb, error::CommandError, program::INSTALLER};

/// The properties of a certificate that doctor checks.
#[derive(Debug, Deserialize)]
pub(crate) struct CheckedCertificate {
    pub(crate) fingerprint: String,
    pub(crate) unusable: Option<String>,
    pub(crate) packages: Option<Vec<String>>,
}

/// Runs `wharf-installer keys`, which prints the result. Returns its exit code.
pub(crate) fn keys(root: &Path, verb: KeysVerb, json: bool) -> Result<ExitCode, CommandError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(CommandError::NotRoot(
            "only root may read or change the keyring: try sudo".to_owned(),
        ));
    }
    let mut command = INSTALLER.command(root);
    command.args(json.then_some("--json"));
    let words: Vec<OsString> = match verb {
        KeysVerb::List => vec!["list".into()],
        KeysVerb::Add { file, allow } => {
            command.args(allow.iter().map(|pattern| format!("--allow={pattern}")));
            vec!["add".into(), file.into()]
        }
        KeysVerb::Remove { fingerprint } => vec!["remove".into(), fingerprint.into()],
        KeysVerb::Check { file } => vec!["check".into(), file.into()],
    };
    command.args(["--", "keys"]).args(words); // a file may begin with a dash
    INSTALLER.run(command)
}

/// A package that may be installed.
#[derive(Debug, Deserialize)]
struct Accepted {
    name: String,
}

/// The name of the package in a file, if wharf-installer would install it now.
pub(crate) async fn name_in(root: &Path, file: &Path) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let (root, file): (PathBuf, PathBuf) = (root.to_owned(), file.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let words = ["--json", "--", "keys", "check"].map(Path::new);
        INSTALLER.ask::<Accepted>(&root, [&words[..], &[&file]].concat())
    });
    Some(asked.await.ok()?.ok()?.name)
}

/// Reads the keyring. The error is the reason why it cannot be used.
pub(crate) fn read(root: &Path) -> Result<Vec<CheckedCertificate>, String> {
    INSTALLER.ask(root, ["--json", "keys", "list"])
}
