//! The other programs of wharfd. They read the settings, root's policy and the keyring, and wharfctl asks them.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// A program, by its name.
#[derive(Clone, Copy)]
pub(crate) struct Program(&'static str);

pub(crate) const INSTALLER: Program = Program("wharf-installer");
pub(crate) const WHARFD: Program = Program("wharfd");

impl Program {
    /// Its answer, or why there is none.
    pub(crate) fn ask<T: DeserializeOwned>(
        self,
        root: &Path,
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<T, String> {
        let output = self.command(root).args(words).output();
        let output = output.map_err(|error| self.not_started(error).to_string())?;
        match output.status.success() {
            true => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
            false => Err(self.said(&output.stderr)),
        }
    }

    pub(crate) fn command(self, root: &Path) -> Command {
        let mut command = Command::new(self.path());
        command.arg("--root").arg(root);
        command
    }

    /// It lies beside this program where both were built, else where the package puts it.
    pub(crate) fn path(self) -> PathBuf {
        let own = env::current_exe().unwrap_or_default();
        let beside = own.with_file_name(self.0);
        match beside.is_file() {
            true => beside,
            false => Path::new("/usr/libexec/wharfd").join(self.0),
        }
    }

    pub(crate) fn not_started(self, source: io::Error) -> Failure {
        Failure::Refused(format!(
            "cannot start {}: {source}. Is wharfd installed whole?",
            self.path().display()
        ))
    }

    /// Without its own name, of which nobody asked anything.
    pub(crate) fn said(self, errors: &[u8]) -> String {
        let said = String::from_utf8_lossy(errors);
        let name = format!("{}: ", self.0);
        said.trim().trim_start_matches(&*name).to_owned()
    }
}
