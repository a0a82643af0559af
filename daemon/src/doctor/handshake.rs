//! A DTLS handshake apart from the running agent: it checks only the address and the key of the server.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;
use wharf_transport::{Channel, Psk, ServerAddress, dtls::DtlsClient, udp::resolve};

/// The time limit of the name lookup.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first retransmission timeout. A handshake fails after 15 times as long; its progress tells a silent server from
/// a rejected key.
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// The time limit of a handshake with a server that answers each flight late.
const LONGEST: Duration = Duration::from_secs(20);

/// Tries the addresses of the server until one accepts the key. Otherwise returns the error of the last one.
pub(super) async fn try_with(
    server: &ServerAddress,
    psk: &Psk,
    ack_timeout: Duration,
) -> Result<(), String> {
    let addresses = timeout(PATIENCE, resolve(server))
        .await
        .map_err(|_| "the name service does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let client = DtlsClient::new(psk.clone(), ack_timeout.min(FIRST_WAIT));
    let mut client = client.map_err(|error| error.to_string())?;
    one_of(&addresses, &mut client).await
}

async fn one_of(addresses: &[SocketAddr], client: &mut DtlsClient) -> Result<(), String> {
    let mut last = "its name has no address".to_owned();
    for &address in addresses {
        last = match timeout(LONGEST, Channel::open(address, None, Some(&mut *client))).await {
            Ok(Ok(mut channel)) => {
                channel.close().await;
                return Ok(());
            }
            Ok(Err(error)) => format!("{address}: {error}"),
            Err(_) => format!("{address}: the handshake has not ended after 20 s"),
        };
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use wharf_frames::Secret;

    use super::*;

    #[tokio::test]
    async fn an_address_that_says_nothing_leaves_the_next_its_own_time() {
        let silent = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = silent.each_ref().map(|it| it.local_addr().unwrap());
        let psk = Psk::new("gateway-17", Secret::new(vec![7; 16])).unwrap();
        let mut client = DtlsClient::new(psk, Duration::from_millis(5)).unwrap();

        let why = one_of(&addresses, &mut client).await.unwrap_err();

        let last = format!("{}: no answer to the handshake", addresses[1]);
        assert!(why.starts_with(&last), "{why}");
        for socket in silent {
            socket.set_nonblocking(true).unwrap();
            let received = socket.recv(&mut [0; 2048]);
            assert!(received.is_ok(), "no ClientHello came: {received:?}");
        }
    }
}
