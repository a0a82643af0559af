//! Opens ways to one server, for as long as it takes: its name is resolved, its addresses are tried in turn, and
//! between tries there are pauses. Does not know what a way is for.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use tokio::sync::watch;
use wharf_journal::message;
use wharf_transport::{
    Channel, OpenError, ServerAddress,
    dtls::Client,
    udp::{resolve, source},
};

use super::network::Network;
use crate::config::Timing;

/// What ways to a server are opened by, and what is known from those before.
pub(super) struct Opener {
    server: ServerAddress,
    client: Option<Client>,
    timing: Timing,
    network: Network,
    /// The server's address, in the last try.
    tried: Option<SocketAddr>,
    /// Where the last way began.
    local: Option<SocketAddr>,
    /// Where the first one is to begin.
    first_port: Option<u16>,
    /// Tries since the server was heard last.
    tries: u32,
    /// Why no way is open, for whoever wants to know.
    obstacle: watch::Sender<Option<String>>,
}

impl Opener {
    /// Ways begin at this port if they can.
    pub(super) fn new(
        server: ServerAddress,
        client: Option<Client>,
        timing: Timing,
        port: Option<u16>,
    ) -> Self {
        Self {
            server,
            client,
            timing,
            network: Network::watch(),
            tried: None,
            local: None,
            first_port: port,
            tries: 0,
            obstacle: watch::Sender::new(None),
        }
    }

    /// What stands in the way, each time that something else does.
    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.obstacle.subscribe()
    }

    /// Tries until a way is open.
    pub(super) async fn open(mut self) -> (Channel, Self) {
        loop {
            self.pause().await;
            self.tries = self.tries.saturating_add(1);
            if let Some(channel) = self.try_addresses().await {
                self.obstacle.send_replace(None);
                return (channel, self);
            }
        }
    }

    /// A way that was opened at this moment has served: the next one needs no pause. One that breaks at once again
    /// and again does.
    pub(super) fn heard(&mut self, opened: Instant) {
        if opened.elapsed() >= self.timing.retry.first {
            self.tries = 0;
        }
    }

    /// Waits until the last way is stale. Whoever waits again after each datagram asks the kernel for nothing: what
    /// changed since this was made waits in the network's socket.
    pub(super) async fn moved(&self) {
        loop {
            self.network.changed().await;
            if self.is_stale() {
                return;
            }
        }
    }

    /// Whether the kernel would send to the server from another address than the last way does. Where there is no
    /// route at all, the way stays: it may come back.
    pub(super) fn is_stale(&self) -> bool {
        let (Some(server), Some(local)) = (self.tried, self.local) else {
            return false;
        };
        source(server).is_ok_and(|now| now != local.ip())
    }

    /// As long as the tries before were in vain; a network that changed ends it.
    async fn pause(&self) {
        if self.tries == 0 {
            return;
        }
        let before = self.sources();
        let changed = async {
            while self.sources() == before {
                self.network.changed().await;
            }
        };
        let _ = tokio::time::timeout(self.timing.pause(self.tries), changed).await;
    }

    /// What shows that another network is there: where the kernel would send from, to the server, and to any.
    fn sources(&self) -> [Option<IpAddr>; 3] {
        // Addresses of documentation (RFC 5737, RFC 3849): nothing is sent there.
        let anywhere = ["192.0.2.1:9", "[2001:db8::1]:9"].map(|address| address.parse().ok());
        let [v4, v6] = anywhere;
        [self.tried, v4, v6].map(|address| source(address?).ok())
    }

    async fn try_addresses(&mut self) -> Option<Channel> {
        let addresses = resolve(&self.server).await;
        let server = &self.server;
        let no_address = |error: &io::Error| {
            self.warn(format!(
                "cannot reach {server}: its name has no address now: {error}. Is it right, and is DNS up?"
            ));
        };
        let mut addresses = addresses.inspect_err(no_address).ok()?;
        // Each try begins at another one: it may be that one opens, and nobody answers there.
        let first = (self.tries as usize - 1) % addresses.len().max(1);
        addresses.rotate_left(first);
        for address in addresses {
            self.tried = Some(address);
            match self.try_open(address).await {
                Ok(channel) => return Some(channel),
                Err(error) => {
                    let server = &self.server;
                    self.warn(format!("cannot reach {server} at {address}: {error}"));
                }
            }
        }
        None
    }

    async fn try_open(&mut self, address: SocketAddr) -> Result<Channel, OpenError> {
        let channel = Channel::open(address, self.port(), self.client.as_mut()).await?;
        let (server, local) = (&self.server, channel.local()?);
        let resumed = channel.is_resumed();
        let how = match (&self.client, resumed) {
            (None, _) => "",
            (Some(_), true) => ", the session resumed",
            (Some(_), false) => ", in a new session",
        };
        tracing::info!("speaking with {server} at {address} from {local}{how}");
        self.local = Some(local);
        Ok(channel)
    }

    /// A server that is spoken with in the clear knows this gateway by its port. One with sessions knows it by the
    /// session, and some take the first flight of a new one for garbage in the old one if it comes from there.
    pub(super) fn port(&self) -> Option<u16> {
        let last = self.local.map(|local| local.port());
        last.or(self.first_port).filter(|_| self.client.is_none())
    }

    fn warn(&self, why: String) {
        tracing::warn!(MESSAGE_ID = message::SERVER_NOT_REACHED, "{why}");
        self.obstacle.send_replace(Some(why));
    }
}
