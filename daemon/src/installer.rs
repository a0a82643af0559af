//! The client of the job socket: one connection for each question. An answer is a value, a refusal, or "not now". It
//! knows no instance and no state.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use wharf_frames::{
    Cause, Failure, OperationId, PackageName, StageId, Text, Transaction,
    installer::{Found, InstallerReply, InstallerRequest, JobStatus, PROTOCOL, SealedPackage},
};
use wharf_journal::message;

use crate::frame_socket::{FrameSocket, SocketError};

/// The time limit of an answer. The installer itself takes at most two minutes for each of its two inspections of a
/// package.
const ANSWER_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The silence after which wharfd reports it. systemd's socket accepts questions even if the installer cannot start.
pub const SILENCE: Duration = Duration::from_secs(10);

/// The same for a package to be verified.
const SEAL_SILENCE: Duration = Duration::from_secs(5 * 60);

/// The remedy.
pub const REMEDY: &str = "look at `systemctl status wharf-installer` on the device";

/// The installer, by its socket. It starts with the first question and ends when idle, so each question connects anew.
#[derive(Debug, Clone)]
pub struct Installer {
    socket: PathBuf,
}

/// The package manager that the installer drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageManagerInfo {
    /// Its name.
    pub name: Text,
    /// The file that changes whenever packages change; none from an older installer.
    pub database: Option<Text>,
}

/// A staged file, open for writing.
#[derive(Debug)]
pub struct WritableStage {
    /// Write-only.
    pub file: OwnedFd,
    /// The number of bytes in it.
    pub kept: u64,
    /// The largest length that it may have.
    pub limit: u64,
}

/// The reason why a question got no result.
#[derive(Debug, thiserror::Error)]
pub enum InstallerError {
    /// The installer refused.
    #[error("{0}")]
    Refused(Failure),
    /// The installer cannot answer now. A retry may succeed.
    #[error("{0}")]
    Later(Failure),
}

impl InstallerError {
    /// The failure, whether or not it may pass.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Later(failure) => failure,
        }
    }
}

/// The reports of one job, until its end.
#[derive(Debug)]
pub struct JobWatch {
    connection: FrameSocket,
    path: PathBuf,
}

impl Installer {
    /// The installer of this root.
    pub fn at(root: &Path) -> Self {
        Self {
            socket: root.join("run/wharf-installer.sock"),
        }
    }

    /// The package manager of the device.
    pub async fn package_manager(&self) -> Result<PackageManagerInfo, InstallerError> {
        match self
            .ask(InstallerRequest::Hello { protocol: PROTOCOL })
            .await?
        {
            (
                InstallerReply::Hello {
                    package_manager,
                    database,
                    ..
                },
                _,
            ) => Ok(PackageManagerInfo {
                name: package_manager,
                database,
            }),
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Opens a staged file, cut to at most `keep` bytes. `silent` gets the reason if no answer comes for a while.
    pub async fn stage(
        &self,
        stage: StageId,
        keep: u64,
        size: Option<u64>,
        silent: impl FnOnce(Text),
    ) -> Result<WritableStage, InstallerError> {
        let question = InstallerRequest::Stage { stage, keep, size };
        match self.ask_noticing(question, silent).await? {
            (InstallerReply::Staged { kept, limit }, Some(file)) => {
                Ok(WritableStage { file, kept, limit })
            }
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Asks for the verdict on a file. `silent` as above.
    pub async fn seal(
        &self,
        stage: StageId,
        signature: Option<Vec<u8>>,
        silent: impl FnOnce(Text),
    ) -> Result<SealedPackage, InstallerError> {
        let signature = signature.map(Into::into);
        let question = InstallerRequest::Seal { stage, signature };
        match self.ask_noticing(question, silent).await? {
            (InstallerReply::Sealed(package), _) => Ok(package),
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Removes a file, if it exists.
    pub async fn discard(&self, stage: StageId) -> Result<(), InstallerError> {
        match self.ask(InstallerRequest::Discard { stage }).await? {
            (InstallerReply::Done, _) => Ok(()),
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// All staged files, of any instance.
    pub async fn staged(&self) -> Result<Vec<StageId>, InstallerError> {
        match self.ask(InstallerRequest::List).await? {
            (InstallerReply::List { stages, .. }, _) => {
                Ok(stages.into_iter().map(|entry| entry.stage).collect())
            }
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Has the installer perform a transaction. A second call for the same operation starts nothing. `silent` as above.
    pub async fn perform(
        &self,
        operation: OperationId,
        transaction: Transaction,
        silent: impl FnOnce(Text),
    ) -> Result<(), InstallerError> {
        let question = InstallerRequest::Perform {
            operation,
            transaction,
        };
        match self.ask_noticing(question, silent).await? {
            (InstallerReply::Accepted, _) => Ok(()),
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Cancels a job that has changed nothing yet.
    pub async fn cancel(&self, operation: OperationId) -> Result<(), InstallerError> {
        match self.ask(InstallerRequest::Cancel { operation }).await? {
            (InstallerReply::Done, _) => Ok(()),
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Reads what the device has of a package.
    pub async fn state(&self, package: PackageName) -> Result<Option<Found>, InstallerError> {
        match self.ask(InstallerRequest::State { package }).await? {
            (InstallerReply::State(found), _) => Ok(found),
            (other, _) => Err(self.unexpected(other)),
        }
    }

    /// Watches a job from now to its end.
    pub async fn watch(&self, operation: OperationId) -> Result<JobWatch, InstallerError> {
        let connection = self.connect().await?;
        self.question(&connection, &InstallerRequest::Watch { operation })
            .await?;
        Ok(JobWatch {
            connection,
            path: self.socket.clone(),
        })
    }

    async fn ask(
        &self,
        request: InstallerRequest,
    ) -> Result<(InstallerReply, Option<OwnedFd>), InstallerError> {
        self.ask_noticing(request, |_| {}).await
    }

    async fn ask_noticing(
        &self,
        request: InstallerRequest,
        silent: impl FnOnce(Text),
    ) -> Result<(InstallerReply, Option<OwnedFd>), InstallerError> {
        let silence = match request {
            InstallerRequest::Seal { .. } => SEAL_SILENCE,
            _ => SILENCE,
        };
        let answer = async {
            let connection = self.connect().await?;
            self.question(&connection, &request).await?;
            let answer = connection.receive().await;
            answer.map_err(|error| unavailable(&self.socket, &error))
        };
        let answer = noticing_silence(silence, answer, || {
            tell_silence(silence);
            silent(format!("the installer, which does not answer: {REMEDY}").into());
        });
        let answered = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        answered.unwrap_or_else(|_| {
            let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(unavailable(&self.socket, &silent.into()))
        })
    }

    async fn connect(&self) -> Result<FrameSocket, InstallerError> {
        let connection = FrameSocket::connect(&self.socket).await;
        connection.map_err(|error| unavailable(&self.socket, &error.into()))
    }

    async fn question(
        &self,
        socket: &FrameSocket,
        request: &InstallerRequest,
    ) -> Result<(), InstallerError> {
        let sent = socket.send(request, None).await;
        sent.map_err(|error| unavailable(&self.socket, &error))
    }

    fn unexpected(&self, reply: InstallerReply) -> InstallerError {
        not_done(&self.socket, reply)
    }
}

impl JobWatch {
    /// The next report.
    pub async fn next(&mut self) -> Result<JobStatus, InstallerError> {
        match self.connection.receive().await {
            Ok((InstallerReply::Job(status), _)) => Ok(status),
            Ok((other, _)) => Err(not_done(&self.path, other)),
            Err(error) => Err(unavailable(&self.path, &error)),
        }
    }
}

/// Waits for an answer. Calls `tell` if it has not come after `silence`.
async fn noticing_silence<T>(
    silence: Duration,
    answer: impl Future<Output = T>,
    tell: impl FnOnce(),
) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = tokio::time::timeout(silence, answer.as_mut()).await {
        return answer;
    }
    tell();
    answer.await
}

fn tell_silence(silence: Duration) {
    tracing::warn!(
        MESSAGE_ID = message::INSTALLER_NOT_REACHED,
        "the installer has not answered for {} s: {REMEDY}",
        silence.as_secs()
    );
}

fn not_done(socket: &Path, reply: InstallerReply) -> InstallerError {
    match reply {
        InstallerReply::Refused(failure) => InstallerError::Refused(failure),
        InstallerReply::NotNow(failure) => InstallerError::Later(failure),
        // An installer of another release, while an upgrade of wharfd lasts. The next one can answer.
        InstallerReply::NotUnderstood(why) => later(format!(
            "the installer does not understand the question ({why}): upgrade all programs of wharfd"
        )),
        _ => later(format!(
            "the installer at {} sent an unexpected answer",
            socket.display()
        )),
    }
}

fn unavailable(socket: &Path, error: &SocketError) -> InstallerError {
    later(format!(
        "cannot speak with the installer at {}: {error}. Is wharf-installer running?",
        socket.display()
    ))
}

fn later(why: String) -> InstallerError {
    InstallerError::Later(Failure::new(Cause::Unavailable, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_final() {
        let failure = || Failure::new(Cause::Policy, "not allowed");
        for (reply, is_final) in [
            (InstallerReply::Refused(failure()), true),
            (InstallerReply::NotNow(failure()), false),
            (
                InstallerReply::NotUnderstood("an older installer".into()),
                false,
            ),
            (InstallerReply::Done, false), // not the answer to the question
        ] {
            let not_done = not_done(Path::new("/run/wharf-installer.sock"), reply.clone());
            let refused = matches!(not_done, InstallerError::Refused(_));
            assert_eq!(refused, is_final, "{reply:?}");
        }
    }
}
