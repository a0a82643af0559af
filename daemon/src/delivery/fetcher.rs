//! The start of wharf-fetch.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use wharf_frames::{Cause, Failure};

use crate::frame_socket::FrameSocket;

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

    /// A connection to a new wharf-fetch.
    pub async fn connect(&self) -> Result<FrameSocket, Failure> {
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

fn unavailable(detail: String) -> Failure {
    Failure::new(Cause::Unavailable, detail)
}
