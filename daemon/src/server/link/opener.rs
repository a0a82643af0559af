//! Opens connections to one server. It resolves the name, tries each address, and pauses between attempts, without a
//! limit.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use tokio::sync::watch;
use wharf_journal::message;
use wharf_transport::{
    Channel, OpenError, ServerAddress,
    dtls::DtlsClient,
    udp::{resolve, source},
};

use super::network::Network;
use crate::config::Timing;

/// Opens connections to one server, and knows about earlier ones.
pub(super) struct Opener {
    server: ServerAddress,
    client: Option<DtlsClient>,
    timing: Timing,
    network: Network,
    /// The address of the server in the last attempt.
    tried: Option<SocketAddr>,
    /// The local address of the last connection.
    local: Option<SocketAddr>,
    /// The local port of the first connection.
    first_port: Option<u16>,
    /// Attempts since the last connection that lasted.
    tries: u32,
    /// The reason why no connection is open.
    obstacle: watch::Sender<Option<String>>,
}

impl Opener {
    /// The first connection binds this port if it can.
    pub(super) fn new(
        server: ServerAddress,
        client: Option<DtlsClient>,
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

    /// The reason why no connection is open. The receiver gets each change.
    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.obstacle.subscribe()
    }

    /// Retries until a connection is open.
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

    /// The server sent something on the connection that was opened at this time. If that is long enough ago, the next
    /// attempt needs no pause; a connection that fails at once does.
    pub(super) fn heard(&mut self, opened: Instant) {
        if opened.elapsed() >= self.timing.retry.first {
            self.tries = 0;
        }
    }

    /// Waits until the last connection is stale. A repeated call misses no change: the socket keeps the messages
    /// between calls.
    pub(super) async fn moved(&self) {
        loop {
            self.network.changed().await;
            if self.is_stale() {
                return;
            }
        }
    }

    /// Whether the kernel would now send to the server from another address. Without a route the connection stays,
    /// since the route may return.
    pub(super) fn is_stale(&self) -> bool {
        let (Some(server), Some(local)) = (self.tried, self.local) else {
            return false;
        };
        source(server).is_ok_and(|now| now != local.ip())
    }

    /// Pauses, longer after each failed attempt. A change of the network ends the pause.
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

    /// The source addresses of this machine towards the server and towards any host. They differ after a change of the
    /// network.
    fn sources(&self) -> [Option<IpAddr>; 3] {
        // Documentation addresses (RFC 5737, RFC 3849). Nothing is sent to them.
        let anywhere = ["192.0.2.1:9", "[2001:db8::1]:9"].map(|address| address.parse().ok());
        let [v4, v6] = anywhere;
        [self.tried, v4, v6].map(|address| source(address?).ok())
    }

    async fn try_addresses(&mut self) -> Option<Channel> {
        let addresses = resolve(&self.server).await;
        let server = &self.server;
        let no_address = |error: &io::Error| {
            self.warn(format!(
                "cannot reach {server}: cannot resolve its name: {error}. Check the name in wharfd.toml and DNS"
            ));
        };
        let mut addresses = addresses.inspect_err(no_address).ok()?;
        // Each attempt begins at the next address: a socket may open although no server answers there.
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

    /// The local port to keep. A server without DTLS knows the gateway by its port. With DTLS the port changes: some
    /// servers take a new handshake from the old port for garbage in the old session.
    pub(super) fn port(&self) -> Option<u16> {
        let last = self.local.map(|local| local.port());
        last.or(self.first_port).filter(|_| self.client.is_none())
    }

    fn warn(&self, why: String) {
        tracing::warn!(MESSAGE_ID = message::SERVER_NOT_REACHED, "{why}");
        self.obstacle.send_replace(Some(why));
    }
}
