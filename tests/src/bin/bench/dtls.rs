//! DTLS 1.2 with a pre-shared key for the caller: it is the server of wharfd, and the client of libcoap's server. Both
//! use the one suite that every LwM2M client has (RFC 7925 4.2).

use std::{
    io::{self, Read, Write},
    net::UdpSocket,
};

use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslStream, SslVersion,
};

pub(crate) const IDENTITY: &str = "gateway";
pub(crate) const KEY: &str = "0123456789abcdef";

const SUITE: &str = "PSK-AES128-CCM8";
const MTU: u32 = 1232;

/// The transport of OpenSSL: a datagram at a time.
#[derive(Debug)]
pub(crate) struct Datagrams(UdpSocket);

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The server side for the peer of the socket.
pub(crate) fn accept(socket: &UdpSocket) -> SslStream<Datagrams> {
    let mut context = context(SslMethod::dtls_server());
    context.set_psk_server_callback(|_, _, key| Ok(write(key, KEY)));
    let mut session = session(context, socket);
    session.accept().expect("a handshake with wharfd");
    session
}

/// The client side.
pub(crate) fn connect(socket: &UdpSocket) -> SslStream<Datagrams> {
    let mut context = context(SslMethod::dtls_client());
    context.set_psk_client_callback(|_, _, identity, key| {
        write(identity, &format!("{IDENTITY}\0"));
        Ok(write(key, KEY))
    });
    let mut session = session(context, socket);
    session.connect().expect("a handshake with coap-server");
    session
}

fn context(method: SslMethod) -> SslContextBuilder {
    let mut context = SslContext::builder(method).expect("a context");
    let version = Some(SslVersion::DTLS1_2);
    context.set_min_proto_version(version).expect("DTLS 1.2");
    context.set_max_proto_version(version).expect("DTLS 1.2");
    context.set_security_level(0);
    context.set_cipher_list(SUITE).expect("a suite");
    context.set_options(SslOptions::NO_QUERY_MTU);
    context
}

fn session(context: SslContextBuilder, socket: &UdpSocket) -> SslStream<Datagrams> {
    let mut ssl = Ssl::new(&context.build()).expect("a session");
    ssl.set_mtu(MTU).expect("a length");
    let socket = socket.try_clone().expect("the socket");
    SslStream::new(ssl, Datagrams(socket)).expect("a stream")
}

fn write(to: &mut [u8], text: &str) -> usize {
    to[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
}
