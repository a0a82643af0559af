//! Watches the addresses and routes of this machine. The caller checks whether its connection is affected.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

/// The kernel's messages about addresses and routes (rtnetlink(7)); none if the socket cannot be opened.
pub(super) struct Network {
    messages: Option<AsyncFd<OwnedFd>>,
}

const GROUPS: i32 = libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE;

impl Network {
    pub(super) fn watch() -> Self {
        let messages = open().inspect_err(|error| {
            tracing::warn!(
                "cannot watch this machine's addresses: {error}. A change is noticed when the server does not answer"
            );
        });
        Self {
            messages: messages.ok(),
        }
    }

    /// Waits until any address or route changes.
    pub(super) async fn changed(&self) {
        let Some(messages) = &self.messages else {
            return std::future::pending().await;
        };
        while let Ok(mut ready) = messages.readable().await {
            let had = drain(messages.get_ref());
            ready.clear_ready();
            if had {
                return;
            }
        }
        std::future::pending().await
    }
}

fn open() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let route = SockProtocol::NetlinkRoute;
    let messages = socket(AddressFamily::Netlink, SockType::Raw, flags, route)?;
    bind(
        messages.as_raw_fd(),
        &NetlinkAddr::new(0, GROUPS.unsigned_abs()),
    )?;
    #[allow(unsafe_code, reason = "an OwnedFd never replaces its descriptor")]
    let messages = unsafe { AsyncFd::register_with_interest(messages, Interest::READABLE)? };
    Ok(messages)
}

/// Reads all messages. Returns whether there was one; a message without room (ENOBUFS) counts.
fn drain(messages: &OwnedFd) -> bool {
    let mut had = false;
    loop {
        match recv(messages.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_TRUNC) {
            Err(Errno::EAGAIN) => return had,
            Err(Errno::ENOBUFS | Errno::EINTR) | Ok(_) => had = true,
            Err(_) => return true,
        }
    }
}
