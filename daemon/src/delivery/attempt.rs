//! One attempt of a download: wharf-fetch writes into the installer's descriptor and reports its progress. An attempt
//! knows no instance, and is never repeated here.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use wharf_frames::{
    Cause, Failure, Secret,
    fetch::{self, Event, Limits, Resume, Subject},
};

use crate::{frame_socket::FrameSocket, installer::Staged, work::Context};

const SECOND: Duration = Duration::from_secs(1);

/// The parameters of an attempt.
#[derive(Debug)]
pub struct Attempt {
    /// The subject of its journal lines.
    pub subject: Subject,
    /// The file to write.
    pub staged: Staged,
    /// Package URI.
    pub uri: Secret,
    /// Resource 14.
    pub user_name: Option<Secret>,
    /// Resource 15.
    pub password: Option<Secret>,
    /// The end of an earlier attempt.
    pub resume: Option<Resume>,
    /// The time limits.
    pub limits: Limits,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The failure.
    pub failure: Failure,
    /// The wait that the origin asked for, in seconds.
    pub retry_after: Option<u64>,
    /// The number of durable bytes; none if it is not known, and the last report holds.
    pub durable: Option<u64>,
    /// The download is retried for any cause, because it waits for running downloads.
    pub gives_way: bool,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
            durable: None,
            gives_way: false,
        }
    }
}

impl Failed {
    /// A download that lacks only the room that earlier downloads need.
    pub fn giving_way(failure: Failure) -> Self {
        Self {
            gives_way: true,
            ..failure.into()
        }
    }
}

/// Starts wharf-fetch. systemd starts one for each connection to its socket, as its own user. Without the socket,
/// wharfd starts it as a child.
#[derive(Debug, Clone)]
pub struct Fetcher {
    socket: PathBuf,
    program: PathBuf,
}

impl Fetcher {
    /// The socket of this root, and the program in the folder of wharfd.
    pub fn new(root: &Path, own: &Path) -> Self {
        Self {
            socket: root.join("run/wharf-fetch.sock"),
            program: own.with_file_name("wharf-fetch"),
        }
    }

    /// Makes the attempt. `report` gets every event but the last, and may end the attempt; `each_second` is called
    /// during it. Returns the length of the package. wharf-fetch ends when the future is dropped, which closes its
    /// socket. When wharfd ends, wharf-fetch first makes its bytes durable and reports their number.
    pub async fn run(
        &self,
        context: &Context,
        attempt: Attempt,
        mut report: impl FnMut(Event) -> Result<(), Failed>,
        mut each_second: impl FnMut(),
    ) -> Result<u64, Failed> {
        let staged = attempt.staged;
        // The file may be shorter than the stored length, never longer.
        let resume = attempt.resume.filter(|resume| resume.offset == staged.kept);
        let request = fetch::Request {
            uri: attempt.uri,
            user_name: attempt.user_name,
            password: attempt.password,
            resume,
            max_size: staged.limit,
            limits: attempt.limits,
            subject: Some(attempt.subject),
        };
        let socket = self.start(&request, staged.file).await?;
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
                Ok((Event::Complete { length }, _)) => {
                    wharf_fault::point("attempt.complete");
                    return Ok(length);
                }
                Ok((
                    Event::Failed {
                        failure,
                        retry_after,
                        durable,
                    },
                    _,
                )) => {
                    return Err(Failed {
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
    async fn start(&self, request: &fetch::Request, file: OwnedFd) -> Result<FrameSocket, Failed> {
        let socket = self.connect().await?;
        let sent = socket
            .send(request, Some(std::os::fd::AsFd::as_fd(&file)))
            .await;
        sent.map_err(|error| unavailable(format!("cannot speak with wharf-fetch: {error}")))?;
        Ok(socket)
    }

    async fn connect(&self) -> Result<FrameSocket, Failed> {
        match FrameSocket::connect(&self.socket).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.spawn().map_err(|error| {
                    let program = self.program.display();
                    unavailable(format!(
                        "cannot start {program}: {error}. Is wharfd installed completely?"
                    ))
                })
            }
            connected => connected.map_err(|error| {
                let socket = self.socket.display();
                unavailable(format!(
                    "cannot connect to {socket}: {error}. Does wharf-fetch.socket listen?"
                ))
            }),
        }
    }

    fn spawn(&self) -> io::Result<FrameSocket> {
        let (ours, theirs) = FrameSocket::pair()?;
        // The kernel reaps it: wharfd ignores SIGCHLD (main.rs).
        Command::new(&self.program)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(ours)
    }
}

fn unavailable(detail: String) -> Failed {
    Failure::new(Cause::Unavailable, detail).into()
}
