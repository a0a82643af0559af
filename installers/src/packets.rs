//! Frames over the job socket. A client's packet may bring only bytes: descriptors are never received, and an oversized
//! packet is refused.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};
use wharf_frames::{MAX_FRAME, encode, installer::InstallerReply};

/// A packet of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A packet.
    Packet(Vec<u8>),
    /// A packet that was refused unread, and the reason.
    Refused(&'static str),
    /// The client has disconnected, or was silent for too long.
    Gone,
}

/// Waits for a packet. Without room for descriptors, the kernel closes those that a client sends and sets MSG_CTRUNC.
/// Thus we never own one, even at the limit of open files. Only this thread waits if closing one takes long.
pub(crate) fn receive(socket: &OwnedFd) -> Received {
    let mut bytes = vec![0; MAX_FRAME];
    let (length, flags) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, None, MsgFlags::empty()) {
            Ok(message) => (message.bytes, message.flags),
            Err(nix::errno::Errno::EINTR) => return receive(socket),
            Err(_) => return Received::Gone,
        }
    };
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        return Received::Refused("a question must not bring descriptors; they were closed");
    }
    if length == 0 {
        return Received::Gone;
    }
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Received::Refused("the packet is longer than any frame");
    }
    bytes.truncate(length);
    Received::Packet(bytes)
}

/// Sends an answer, with the descriptor that belongs to it.
pub(crate) fn send(
    socket: &OwnedFd,
    reply: &InstallerReply,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = encode(reply).map_err(io::Error::other)?;
    let descriptors: Vec<_> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    let slices = [IoSlice::new(&bytes)];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &slices,
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}
