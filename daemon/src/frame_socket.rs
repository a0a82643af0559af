//! Frames over a unix SOCK_SEQPACKET socket, each with at most one descriptor.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use minicbor::{Decode, Encode};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio_seqpacket::{
    UnixSeqpacket,
    ancillary::{AncillaryMessageReader, AncillaryMessageWriter, OwnedAncillaryMessage},
};
use wharf_frames::{FrameError, MAX_FRAME, Secret, decode, encode};

/// The buffer for control messages: one descriptor, and an unexpected second one.
const ANCILLARY: usize = 64;

/// A socket that carries frames.
#[derive(Debug)]
pub struct FrameSocket(UnixSeqpacket);

/// The reason why a frame was not sent or received.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The socket itself failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side closed the socket.
    #[error("the other side closed the connection")]
    Closed,
    /// The received bytes are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl FrameSocket {
    /// Connects to another program of wharfd.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        UnixSeqpacket::connect(path).await.map(Self)
    }

    /// A socket, and the descriptor that a child gets as its other end.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )?;
        Ok((Self(UnixSeqpacket::try_from(ours)?), theirs))
    }

    /// Closes the socket for sending. Answers can still be received.
    pub fn finish(&self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Write)
    }

    /// Sends a frame, with a descriptor beside it.
    pub async fn send<T: Encode<()>>(
        &self,
        frame: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), SocketError> {
        // A request to wharf-fetch has User Name and Password.
        let bytes = Secret::new(encode(frame)?);
        let mut buffer = [0; ANCILLARY];
        let mut ancillary = AncillaryMessageWriter::new(&mut buffer);
        if let Some(descriptor) = descriptor {
            ancillary
                .add_fds([descriptor])
                .map_err(|_| io::Error::other("no room for a descriptor"))?;
        }
        self.0
            .send_vectored_with_ancillary(&[IoSlice::new(bytes.expose())], &mut ancillary)
            .await?;
        Ok(())
    }

    /// Waits for a frame, and takes the descriptor that came with it.
    pub async fn receive<T: for<'b> Decode<'b, ()>>(
        &self,
    ) -> Result<(T, Option<OwnedFd>), SocketError> {
        let mut bytes = vec![0; MAX_FRAME];
        let mut buffer = [0; ANCILLARY];
        let (info, ancillary) = self.0.recv_with_ancillary(&mut bytes, &mut buffer).await?;
        let descriptor = only_descriptor(ancillary);
        if info.truncated() {
            return Err(FrameError::TooLong(MAX_FRAME + 1).into());
        }
        match info.bytes_read() {
            0 => Err(SocketError::Closed),
            length => Ok((decode(&bytes[..length])?, descriptor)),
        }
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The first descriptor. Others are closed.
fn only_descriptor(ancillary: AncillaryMessageReader<'_>) -> Option<OwnedFd> {
    let mut all = ancillary
        .into_messages()
        .filter_map(|message| match message {
            OwnedAncillaryMessage::FileDescriptors(descriptors) => Some(descriptors),
            _ => None,
        });
    all.next()?.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Read, io::Seek, io::Write};
    use wharf_frames::Text;

    #[tokio::test]
    async fn a_frame_travels_with_its_descriptor() {
        let (ours, theirs) = FrameSocket::pair().unwrap();
        let theirs = FrameSocket(UnixSeqpacket::try_from(theirs).unwrap());
        let mut file = tempfile::tempfile().unwrap();

        ours.send(&Text::new("here"), Some(file.as_fd()))
            .await
            .unwrap();
        let (text, descriptor) = theirs.receive::<Text>().await.unwrap();
        File::from(descriptor.unwrap()).write_all(b"bytes").unwrap();

        assert_eq!(text.as_str(), "here");
        let mut bytes = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "bytes");
    }

    #[tokio::test]
    async fn a_closed_socket_is_told_apart_from_a_bad_frame() {
        let (ours, theirs) = FrameSocket::pair().unwrap();
        nix::unistd::write(&theirs, b"\xff").unwrap();
        drop(theirs);
        assert!(matches!(
            ours.receive::<Text>().await,
            Err(SocketError::Frame(_))
        ));
        assert!(matches!(
            ours.receive::<Text>().await,
            Err(SocketError::Closed)
        ));
    }
}
