//! The socket on descriptor 0: one request with its descriptor comes in, events go out. Knows no network.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio_seqpacket::{
    UnixSeqpacket,
    ancillary::{AncillaryMessageReader, OwnedAncillaryMessage},
};
use wharf_frames::{
    FrameError, MAX_FRAME, decode, encode,
    fetch::{Event, Request},
};
use zeroize::Zeroizing;

/// Room for the control message of one descriptor, and for some that would be too many.
const ANCILLARY: usize = 64;

/// The socket to whoever wants the package.
#[derive(Debug)]
pub struct FrameSocket(UnixSeqpacket);

/// Why there is nobody to talk to, or nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Descriptor 0 is something else.
    #[error(
        "descriptor 0 is no unix SOCK_SEQPACKET socket ({0}): wharfd starts this program, not a person"
    )]
    NotASocket(io::Error),
    /// The socket itself failed.
    #[error("the socket on descriptor 0: {0}")]
    Io(#[from] io::Error),
    /// The other side has gone.
    #[error("the other side closed the socket before it asked for anything")]
    Closed,
    /// What came is no request.
    #[error("no request: {0}")]
    Frame(#[from] FrameError),
    /// A request travels with exactly one descriptor.
    #[error("a request travels with one descriptor, this one came with {0}")]
    Descriptors(&'static str),
}

impl FrameSocket {
    /// The socket that this process was started with.
    pub fn on_descriptor_0() -> Result<Self, SocketError> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned();
        descriptor
            .and_then(Self::try_from)
            .map_err(SocketError::NotASocket)
    }

    /// Waits for the one request.
    pub async fn request(&self) -> Result<(Request, OwnedFd), SocketError> {
        // Holds User Name and Password for a moment.
        let mut bytes = Zeroizing::new(vec![0; MAX_FRAME]);
        let mut buffer = [0; ANCILLARY];
        let (info, ancillary) = self.0.recv_with_ancillary(&mut bytes, &mut buffer).await?;
        let descriptor = only_descriptor(ancillary);
        if info.truncated() {
            return Err(FrameError::TooLong(MAX_FRAME + 1).into());
        }
        match bytes.get(..info.bytes_read()) {
            None | Some([]) => Err(SocketError::Closed),
            Some(frame) => Ok((decode(frame)?, descriptor?)),
        }
    }

    /// Reports.
    pub async fn send(&self, event: &Event) -> Result<(), SocketError> {
        self.0.send(&encode(event)?).await?;
        Ok(())
    }

    /// Waits until the other side closes, which is how it cancels. What else it sends says nothing.
    pub async fn closed(&self) {
        let mut ignored = [0; 1];
        while matches!(self.0.recv(&mut ignored).await, Ok(info) if info.bytes_read() > 0) {}
    }
}

impl TryFrom<OwnedFd> for FrameSocket {
    type Error = io::Error;

    fn try_from(descriptor: OwnedFd) -> io::Result<Self> {
        // Whoever started this process may have left it blocking; tokio-seqpacket takes it as it is.
        let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL)?);
        fcntl(&descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        UnixSeqpacket::try_from(descriptor).map(Self)
    }
}

/// The one descriptor; any others are closed.
fn only_descriptor(ancillary: AncillaryMessageReader<'_>) -> Result<OwnedFd, SocketError> {
    let truncated = ancillary.is_truncated();
    let mut descriptors = ancillary
        .into_messages()
        .filter_map(|message| match message {
            OwnedAncillaryMessage::FileDescriptors(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten();
    match (descriptors.next(), descriptors.next()) {
        (Some(only), None) if !truncated => Ok(only),
        (None, _) => Err(SocketError::Descriptors("none")),
        _ => Err(SocketError::Descriptors("several")),
    }
}
