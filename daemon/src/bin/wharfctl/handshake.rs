//! A handshake of our own: it tells the key and the way to the server apart from all that wharfd does with them.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;
use wharf_transport::{Channel, Psk, ServerAddress, dtls::Client, udp::resolve};

/// Why there was none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoHandshake {
    /// Somebody said why.
    Refused(String),
    /// Nothing came from this address.
    Silence(SocketAddr),
}

/// A server that is there answers sooner; each address has as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries the addresses of the server's name until one takes the key. What the last one did is why none did.
pub(crate) async fn try_with(
    server: &ServerAddress,
    psk: &Psk,
    first_wait: Duration,
) -> Result<(), NoHandshake> {
    let addresses = timeout(PATIENCE, resolve(server))
        .await
        .map_err(|_| NoHandshake::Refused("the name service does not answer".to_owned()))?
        .map_err(|error| NoHandshake::Refused(error.to_string()))?;
    let mut client = Client::new(psk.clone(), first_wait)
        .map_err(|error| NoHandshake::Refused(error.to_string()))?;
    one_of(&addresses, &mut client, PATIENCE).await
}

async fn one_of(
    addresses: &[SocketAddr],
    client: &mut Client,
    patience: Duration,
) -> Result<(), NoHandshake> {
    let mut last = NoHandshake::Refused("its name has no address".to_owned());
    for &address in addresses {
        last = match timeout(patience, Channel::open(address, None, Some(&mut *client))).await {
            Ok(Ok(mut channel)) => {
                channel.close().await;
                return Ok(());
            }
            Ok(Err(error)) => NoHandshake::Refused(format!("{address}: {error}")),
            Err(_) => NoHandshake::Silence(address),
        };
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn an_address_that_says_nothing_leaves_the_next_its_own_time() {
        let silent = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = silent.each_ref().map(|it| it.local_addr().unwrap());
        let psk = Psk::new("gateway-17", vec![7; 16].into()).unwrap();
        let mut client = Client::new(psk, Duration::from_secs(1)).unwrap();

        let tried = one_of(&addresses, &mut client, Duration::from_millis(100)).await;

        let last = NoHandshake::Silence(addresses[1]);
        assert_eq!(tried, Err(last));
        for socket in silent {
            socket.set_nonblocking(true).unwrap();
            let received = socket.recv(&mut [0; 2048]);
            assert!(received.is_ok(), "no ClientHello came: {received:?}");
        }
    }
}
