//! The other programs of wharfd. wharfctl asks them about the settings, root's policy and the keyring.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde::de::DeserializeOwned;

use crate::error::CommandError;

/// A program, by its name.
#[derive(Clone, Copy)]
pub(crate) struct Program(&'static str);

pub(crate) const INSTALLER: Program = Program("wharf-installer");
pub(crate) const WHARFD: Program = Program("wharfd");

impl Program {
    /// Runs it and parses its JSON. The error is its message.
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

    /// Runs this command of it, which prints the result. Returns its exit code.
    pub(crate) fn run(self, mut command: Command) -> Result<ExitCode, CommandError> {
        let output = command.stdout(Stdio::inherit()).output();
        let output = output.map_err(|error| self.not_started(error))?;
        let why = self.said(&output.stderr);
        match output.status.code().map(u8::try_from) {
            Some(Ok(code)) if why.is_empty() => Ok(code.into()),
            Some(_) => Err(CommandError::Refused(why)),
            None => Err(CommandError::Refused(format!(
                "{} was ended by a signal",
                self.path().display()
            ))),
        }
    }

    pub(crate) fn command(self, root: &Path) -> Command {
        let mut command = Command::new(self.path());
        command.arg("--root").arg(root);
        command
    }

    /// Beside this program in a build folder, else in the folder of the package.
    pub(crate) fn path(self) -> PathBuf {
        let own = env::current_exe().unwrap_or_default();
        let beside = own.with_file_name(self.0);
        match beside.is_file() {
            true => beside,
            false => Path::new("/usr/libexec/wharfd").join(self.0),
        }
    }

    pub(crate) fn not_started(self, source: io::Error) -> CommandError {
        CommandError::Refused(format!(
            "cannot start {}: {source}. Is wharfd installed completely?",
            self.path().display()
        ))
    }

    /// Its error message, without its name: the user called wharfctl.
    pub(crate) fn said(self, errors: &[u8]) -> String {
        let said = String::from_utf8_lossy(errors);
        let name = format!("{}: ", self.0);
        said.trim().trim_start_matches(&*name).to_owned()
    }
}
