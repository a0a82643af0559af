//! Frames over the job socket. A client's packet brings bytes and nothing else: descriptors that come along are closed
//! at once, and what does not fit is refused whole.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use wharf_frames::{MAX_FRAME, encode, installer::Reply};

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A packet.
    Packet(Vec<u8>),
    /// A packet that is not looked at, and why.
    Refused(&'static str),
    /// It has gone, or has been silent for too long.
    Gone,
}

/// More descriptors than this the kernel does not let through (SCM_MAX_FD).
const DESCRIPTORS: usize = 253;

/// Waits for a packet.
pub(crate) fn receive(socket: &OwnedFd) -> Received {
    let mut bytes = vec![0; MAX_FRAME];
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; DESCRIPTORS]);
    let (length, flags, descriptors) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                Ok(message) => message,
                Err(nix::errno::Errno::EINTR) => return receive(socket),
                Err(_) => return Received::Gone,
            };
        (message.bytes, message.flags, close_all(&message))
    };
    if length == 0 && descriptors == 0 && !flags.contains(MsgFlags::MSG_CTRUNC) {
        return Received::Gone;
    }
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Received::Refused("the packet is longer than any frame");
    }
    if flags.contains(MsgFlags::MSG_CTRUNC) || descriptors > 0 {
        return Received::Refused("no question brings descriptors; they were closed");
    }
    bytes.truncate(length);
    Received::Packet(bytes)
}

/// Closes every descriptor that came along, and says how many there were.
#[allow(
    unsafe_code,
    reason = "the kernel made these descriptors for this message; nobody else owns them"
)]
fn close_all(message: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> usize {
    let mut count = 0;
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            count += descriptors.len();
            for descriptor in descriptors {
                drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    count
}

/// Sends an answer, with the descriptor that belongs to it.
pub(crate) fn send(
    socket: &OwnedFd,
    reply: &Reply,
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
