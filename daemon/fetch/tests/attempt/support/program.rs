//! Runs wharf-fetch with a socket and a staged file.

use std::{
    fs::File,
    io::{IoSlice, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, setsockopt,
        socketpair, sockopt,
    },
};
use tempfile::NamedTempFile;
use wharf_frames::{
    Failure, MAX_FRAME, decode, encode,
    fetch::{FetchEvent, FetchRequest},
};

/// A limit for a hanging test.
const PATIENCE_MS: u16 = 30_000;

/// One run of the program.
pub(crate) struct Fetch {
    child: Child,
    socket: OwnedFd,
    staged: NamedTempFile,
}

/// The events and the file of a finished run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) events: Vec<FetchEvent>,
    pub(crate) staged: Vec<u8>,
    pub(crate) stderr: String,
}

impl Fetch {
    /// Starts the program on an empty file.
    pub(crate) fn start(request: &FetchRequest) -> Self {
        Self::start_after(b"", request)
    }

    /// Starts the program on the file of an earlier attempt.
    pub(crate) fn start_after(earlier: &[u8], request: &FetchRequest) -> Self {
        Self::start_as(program(), earlier, request)
    }

    /// Starts the program with this CA.
    pub(crate) fn start_trusting(authority: &Path, request: &FetchRequest) -> Self {
        let mut command = program();
        command.env("SSL_CERT_FILE", authority);
        Self::start_as(command, b"", request)
    }

    /// Starts the program by this command.
    pub(crate) fn start_as(command: Command, earlier: &[u8], request: &FetchRequest) -> Self {
        let staged = NamedTempFile::new().unwrap();
        std::fs::write(staged.path(), earlier).unwrap();
        let fetch = Self::start_idle(command, staged);
        fetch.ask(request);
        fetch
    }

    /// Starts the program without a request.
    pub(crate) fn start_idle(mut command: Command, staged: NamedTempFile) -> Self {
        let (socket, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        setsockopt(&socket, sockopt::SndBuf, &(4 * MAX_FRAME)).unwrap();
        let child = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            staged,
        }
    }

    /// Requests a package.
    pub(crate) fn ask(&self, request: &FetchRequest) {
        let file = File::options()
            .write(true)
            .open(self.staged.path())
            .unwrap();
        self.send(&encode(request).unwrap(), &[file.into()]);
    }

    /// Sends a packet with these descriptors, which stay open in the test.
    pub(crate) fn send(&self, packet: &[u8], descriptors: &[OwnedFd]) {
        let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights[..] };
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(packet)],
            rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .unwrap();
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The present content of the file.
    pub(crate) fn staged(&self) -> Vec<u8> {
        std::fs::read(self.staged.path()).unwrap()
    }

    /// Whether the program has the file open.
    pub(crate) fn holds_the_file(&self) -> bool {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let mut open = open.into_iter().flatten().flatten();
        open.any(|descriptor| {
            std::fs::read_link(descriptor.path()).is_ok_and(|path| path == self.staged.path())
        })
    }

    /// Waits for an event. `None` after the program has closed the socket.
    pub(crate) fn next(&self) -> Option<FetchEvent> {
        let mut due = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        assert_eq!(
            poll(&mut due, PollTimeout::from(PATIENCE_MS)).unwrap(),
            1,
            "wharf-fetch says nothing for half a minute"
        );
        let mut packet = vec![0; MAX_FRAME];
        match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
            Ok(0) | Err(nix::errno::Errno::ECONNRESET) => None,
            length => Some(decode(&packet[..length.unwrap()]).unwrap()),
        }
    }

    /// Waits for a report of durable bytes.
    pub(crate) fn wait_for_durable(&self) -> u64 {
        loop {
            match self.next().expect("an end before any byte was durable") {
                FetchEvent::Durable(durable) => return durable,
                FetchEvent::Failed { failure, .. } => panic!("{failure}"),
                _ => {}
            }
        }
    }

    /// Waits for the end of the program.
    pub(crate) fn ended(mut self) -> Ended {
        let events = std::iter::from_fn(|| self.next()).collect();
        let mut stderr = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        self.child.wait().unwrap();
        Ended {
            events,
            staged: self.staged(),
            stderr,
        }
    }

    /// Kills the program, as a power cut would.
    pub(crate) fn kill(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.staged()
    }

    /// Stops sending, but still reads.
    pub(crate) fn stop(&self) {
        nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Write)
            .unwrap();
    }

    /// Closes the socket and waits for the process.
    pub(crate) fn close(mut self) -> ExitStatus {
        drop(self.socket);
        self.child.wait().unwrap()
    }
}

impl Ended {
    /// The failure of the last event.
    pub(crate) fn failure(&self) -> &Failure {
        match self.events.last() {
            Some(FetchEvent::Failed { failure, .. }) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    /// The package, if the last event reports it complete.
    pub(crate) fn complete(&self) -> &[u8] {
        let length = self.staged.len() as u64;
        assert_eq!(
            self.events.last(),
            Some(&FetchEvent::Complete { length }),
            "{:?}",
            self.events
        );
        &self.staged
    }

    /// The offset of the Started event.
    pub(crate) fn started_at(&self) -> Option<u64> {
        self.events.iter().find_map(|event| match event {
            FetchEvent::Started { offset, .. } => Some(*offset),
            _ => None,
        })
    }

    /// The durable bytes of the failure.
    pub(crate) fn durable(&self) -> Option<u64> {
        match self.events.last() {
            Some(FetchEvent::Failed { durable, .. }) => Some(*durable),
            _ => None,
        }
    }

    /// The reported signature.
    pub(crate) fn signature(&self) -> Option<&[u8]> {
        self.events.iter().find_map(|event| match event {
            FetchEvent::Signature(signature) => Some(&signature[..]),
            _ => None,
        })
    }
}

/// The program under test, with the CAs of this device.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-fetch"));
    command
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR");
    command
}
