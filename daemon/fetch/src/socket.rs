//! The socket on descriptor 0. It receives one request with a descriptor, and sends events.

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
    fetch::{FetchEvent, FetchRequest},
};
use zeroize::Zeroizing;

/// Room for the control message of one descriptor, and of a few more that are rejected.
const ANCILLARY: usize = 64;

/// The socket to the process that requests the package.
#[derive(Debug)]
pub struct RequestSocket(UnixSeqpacket);

/// The reason why there is no valid request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Descriptor 0 is not such a socket.
    #[error(
        "descriptor 0 is not a unix SOCK_SEQPACKET socket ({0}): wharfd starts this program, not a person"
    )]
    NotASocket(io::Error),
    /// The socket failed.
    #[error("the socket on descriptor 0: {0}")]
    Io(#[from] io::Error),
    /// The other side closed the socket.
    #[error("the other side closed the socket without a request")]
    Closed,
    /// The packet is not a request.
    #[error("the request is invalid: {0}")]
    Frame(#[from] FrameError),
    /// The request has no descriptor, or several.
    #[error("a request needs exactly one descriptor, and this one has {0}")]
    Descriptors(&'static str),
}

impl RequestSocket {
    /// The socket on descriptor 0.
    pub fn on_descriptor_0() -> Result<Self, RequestError> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned();
        descriptor
            .and_then(Self::try_from)
            .map_err(RequestError::NotASocket)
    }

    /// Waits for the request.
    pub async fn request(&self) -> Result<(FetchRequest, OwnedFd), RequestError> {
        // The packet contains User Name and Password.
        let mut bytes = Zeroizing::new(vec![0; MAX_FRAME]);
        let mut buffer = [0; ANCILLARY];
        let (info, ancillary) = self.0.recv_with_ancillary(&mut bytes, &mut buffer).await?;
        let descriptor = only_descriptor(ancillary);
        if info.truncated() {
            return Err(FrameError::TooLong(MAX_FRAME + 1).into());
        }
        match bytes.get(..info.bytes_read()) {
            None | Some([]) => Err(RequestError::Closed),
            Some(frame) => Ok((decode(frame)?, descriptor?)),
        }
    }

    /// Sends an event.
    pub async fn send(&self, event: &FetchEvent) -> Result<(), RequestError> {
        self.0.send(&encode(event)?).await?;
        Ok(())
    }

    /// Waits until the other side closes the socket to cancel. Other packets are ignored.
    pub async fn closed(&self) {
        let mut ignored = [0; 1];
        while matches!(self.0.recv(&mut ignored).await, Ok(info) if info.bytes_read() > 0) {}
    }
}

impl TryFrom<OwnedFd> for RequestSocket {
    type Error = io::Error;

    fn try_from(descriptor: OwnedFd) -> io::Result<Self> {
        // The socket may be blocking, and tokio-seqpacket does not change that.
        let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL)?);
        fcntl(&descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        UnixSeqpacket::try_from(descriptor).map(Self)
    }
}

/// The only descriptor. If there are several, all are closed.
fn only_descriptor(ancillary: AncillaryMessageReader<'_>) -> Result<OwnedFd, RequestError> {
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
        (None, _) => Err(RequestError::Descriptors("none")),
        _ => Err(RequestError::Descriptors("several")),
    }
}
