//! A UDP socket for one server. It is connected, so that the kernel drops datagrams from other addresses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{UdpSocket, lookup_host};

use crate::ServerAddress;

/// The longest accepted message. RFC 7252 4.6 recommends at most 1152 bytes.
pub const MAX_DATAGRAM: usize = 4096;

/// Resolves the server's name to its addresses, in the order of preference (RFC 6724).
pub async fn resolve(server: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for address in lookup_host((server.host(), server.port())).await? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        )),
        false => Ok(addresses),
    }
}

/// A socket to one server.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
}

impl Udp {
    /// Opens a socket to this address, from this port if it is free. It sends nothing.
    pub async fn connect(server: SocketAddr, port: Option<u16>) -> io::Result<Self> {
        let wanted = match port {
            Some(port) => UdpSocket::bind((any(server), port)).await.ok(),
            None => None,
        };
        let socket = match wanted {
            Some(socket) => socket,
            None => UdpSocket::bind((any(server), 0)).await?,
        };
        socket.connect(server).await?;
        Ok(Self { socket })
    }

    /// Sends one datagram. An error (no route, a full queue, a closed port) means that it is lost, and
    /// the caller retransmits it.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).await.map(drop)
    }

    /// Waits for a datagram and returns its length. A datagram longer than the buffer is cut, so that
    /// the buffer must be longer than [`MAX_DATAGRAM`]. This is cancel-safe.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }

    /// The local address. Behind a NAT, the server sees another one.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The address of the server.
    pub fn server(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}

/// The local address that the kernel uses for this server now. It sends nothing.
pub fn source(server: SocketAddr) -> io::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((any(server), 0))?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

fn any(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn only_the_server_is_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let udp = Udp::connect(server.local_addr().unwrap(), None)
            .await
            .unwrap();
        let local = udp.local().unwrap();

        stranger.send_to(b"stranger", local).await.unwrap();
        server.send_to(b"server", local).await.unwrap();

        let mut buffer = [0; MAX_DATAGRAM + 1];
        let limit = Duration::from_secs(60);
        let length = tokio::time::timeout(limit, udp.receive(&mut buffer)).await;
        assert_eq!(&buffer[..length.unwrap().unwrap()], b"server");
    }

    #[tokio::test]
    async fn a_free_port_is_used_again_and_a_taken_one_is_replaced() {
        let server = "127.0.0.1:9".parse().unwrap();
        let first = Udp::connect(server, None).await.unwrap();
        let port = first.local().unwrap().port();
        let other = Udp::connect(server, Some(port)).await.unwrap();
        assert_ne!(other.local().unwrap().port(), port);
        drop(first);
        let again = Udp::connect(server, Some(port)).await.unwrap();
        assert_eq!(again.local().unwrap().port(), port);
    }

    #[tokio::test]
    async fn an_address_resolves_to_itself() {
        for (uri, expected) in [
            ("coap://127.0.0.1", "127.0.0.1:5683"),
            ("coaps://[::1]", "[::1]:5684"),
        ] {
            let found = resolve(&uri.parse().unwrap()).await.unwrap();
            assert_eq!(found, [expected.parse().unwrap()], "{uri}");
        }
    }
}
