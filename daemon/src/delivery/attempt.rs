//! One attempt of a download: wharf-fetch writes into the installer's descriptor and reports its progress. An attempt
//! knows no instance, and is never repeated here.

use std::{os::fd::AsFd, time::Duration};

use tokio::time::MissedTickBehavior;
use wharf_frames::{
    Cause, Failure, Secret,
    fetch::{FetchEvent, FetchRequest, FetchSubject, FetchTimeouts, Resume},
};

use crate::{frame_socket::FrameSocket, installer::WritableStage, tasks::TaskContext};

const SECOND: Duration = Duration::from_secs(1);

/// The parameters of an attempt.
#[derive(Debug)]
pub struct DownloadAttempt {
    /// The subject of its journal lines.
    pub subject: FetchSubject,
    /// The file to write.
    pub staged: WritableStage,
    /// Package URI.
    pub uri: Secret,
    /// Resource 14.
    pub user_name: Option<Secret>,
    /// Resource 15.
    pub password: Option<Secret>,
    /// The end of an earlier attempt.
    pub resume: Option<Resume>,
    /// The time limits.
    pub limits: FetchTimeouts,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The failure.
    pub failure: Failure,
    /// The wait that the origin asked for, in seconds.
    pub retry_after: Option<u64>,
    /// The number of durable bytes; none if it is not known, and the last report holds.
    pub durable: Option<u64>,
    /// The download is retried for any cause, because it waits for running downloads.
    pub gives_way: bool,
}

impl From<Failure> for FailedAttempt {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
            durable: None,
            gives_way: false,
        }
    }
}

impl FailedAttempt {
    /// A download that lacks only the room that earlier downloads need.
    pub fn giving_way(failure: Failure) -> Self {
        Self {
            gives_way: true,
            ..failure.into()
        }
    }
}

impl DownloadAttempt {
    /// Makes the attempt. `report` gets every event but the last, and may end the attempt; `each_second` is called
    /// during it. Returns the length of the package. wharf-fetch ends when the future is dropped, which closes its
    /// socket. When wharfd ends, wharf-fetch first makes its bytes durable and reports their number.
    pub async fn run(
        self,
        context: &TaskContext,
        mut report: impl FnMut(FetchEvent) -> Result<(), FailedAttempt>,
        mut each_second: impl FnMut(),
    ) -> Result<u64, FailedAttempt> {
        let socket = self.start(context).await?;
        wharf_fault::point("attempt.started");
        let mut finishing = false;
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let received = tokio::select! {
                received = socket.receive() => received,
                _ = seconds.tick() => {
                    each_second();
                    continue;
                }
                () = context.until_ending(), if !finishing => {
                    finishing = true;
                    let _ = socket.finish(); // it may have ended: its last report says so
                    continue;
                }
            };
            match received {
                Ok((FetchEvent::Complete { length }, _)) => {
                    wharf_fault::point("attempt.complete");
                    return Ok(length);
                }
                Ok((
                    FetchEvent::Failed {
                        failure,
                        retry_after,
                        durable,
                    },
                    _,
                )) => {
                    return Err(FailedAttempt {
                        failure,
                        retry_after,
                        durable: Some(durable),
                        gives_way: false,
                    });
                }
                Ok((event, _)) => report(event)?,
                Err(error) => {
                    return Err(unavailable(format!(
                        "wharf-fetch ended without a result: {error}"
                    )));
                }
            }
        }
    }

    /// Starts wharf-fetch, and closes our descriptor: the seal waits for the last writer.
    async fn start(self, context: &TaskContext) -> Result<FrameSocket, FailedAttempt> {
        let staged = self.staged;
        let request = FetchRequest {
            uri: self.uri,
            user_name: self.user_name,
            password: self.password,
            // The file may be shorter than the stored length, never longer.
            resume: self.resume.filter(|resume| resume.offset == staged.kept),
            max_size: staged.limit,
            limits: self.limits,
            subject: Some(self.subject),
        };
        let socket = context.fetcher.connect().await?;
        let sent = socket.send(&request, Some(staged.file.as_fd())).await;
        sent.map_err(|error| unavailable(format!("cannot send to wharf-fetch: {error}")))?;
        Ok(socket)
    }
}

fn unavailable(detail: String) -> FailedAttempt {
    Failure::new(Cause::Unavailable, detail).into()
}
