//! One UDP socket for one server. It is connected, so the kernel drops what comes from anybody else.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{UdpSocket, lookup_host};

use crate::ServerAddress;

/// The longest datagram that is taken: twice what a message may hold, so that a server which sends more in one is
/// told so (4.13) and does not wait for an answer.
pub const MAX_DATAGRAM: usize = 4096;

/// A socket to one server.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
}

impl Udp {
    /// Resolves the server's name and opens a socket to it, from this port if it is free. Nothing is sent.
    pub async fn connect(server: &ServerAddress, port: Option<u16>) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((server.host(), server.port())).await? {
            match open(address, port.unwrap_or(0)).await {
                Ok(socket) => return Ok(Self { socket }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends one datagram. That it cannot be sent now (no route, a full queue, a port that was closed)
    /// is a lost datagram like any other: whoever needs an answer sends again.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).await.map(drop)
    }

    /// Waits for a datagram and gives its length. One longer than the buffer comes cut, so the buffer
    /// must hold more than is taken ([`MAX_DATAGRAM`]). Losing the future loses no datagram.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }

    /// The address that the server sees, unless a NAT stands between.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The address the server has now.
    pub fn server(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}

async fn open(server: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
    };
    let socket = match UdpSocket::bind(any).await {
        Ok(socket) => socket,
        Err(_) if port != 0 => UdpSocket::bind((any.ip(), 0)).await?,
        Err(error) => return Err(error),
    };
    socket.connect(server).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn only_the_server_is_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let udp = Udp::connect(&format!("coap://127.0.0.1:{port}").parse().unwrap(), None)
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
}
