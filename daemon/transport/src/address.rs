//! Parses the URI of a server. It does not resolve the host.

use std::{fmt, str::FromStr};

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// CoAP over UDP.
    Coap,
    /// CoAP over DTLS.
    Coaps,
}

impl Scheme {
    /// The default port (RFC 7252 12.6, 12.7).
    fn port(self) -> u16 {
        match self {
            Self::Coap => 5683,
            Self::Coaps => 5684,
        }
    }

    fn split(uri: &str) -> Option<(Self, &str)> {
        let coap = || Some((Self::Coap, uri.strip_prefix("coap://")?));
        coap().or_else(|| Some((Self::Coaps, uri.strip_prefix("coaps://")?)))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coap => "coap",
            Self::Coaps => "coaps",
        })
    }
}

/// The address of a server: `coap://host[:port]` or `coaps://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl ServerAddress {
    /// The protocol.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name or the address. An IPv6 address has no brackets here.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// The reason why a text is not a server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// The scheme is not supported.
    #[error("the scheme is not supported: expected coaps://host[:port] or coap://host[:port]")]
    Scheme,
    /// The host is empty or has an invalid character.
    #[error(
        "{0:?} is not a host: expected a name, an IPv4 address, or an IPv6 address in brackets"
    )]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port: expected a number from 1 to 65535")]
    Port(String),
    /// The URI has a user, a path or more.
    #[error("{0:?} is not allowed: a server URI ends after the port and has no user")]
    Path(String),
}

impl FromStr for ServerAddress {
    type Err = BadAddress;

    fn from_str(uri: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = Scheme::split(uri).ok_or(BadAddress::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(path) = rest.find(['/', '?', '#', '@']) {
            return Err(BadAddress::Path(rest[path..].to_owned()));
        }
        let (host, port) = split(rest)?;
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: port.map_or(Ok(scheme.port()), parse_port)?,
        })
    }
}

fn split(authority: &str) -> Result<(&str, Option<&str>), BadAddress> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        return split_ipv6(authority, bracketed);
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    match is_host_name(host) {
        true => Ok((host, port)),
        false => Err(BadAddress::Host(host.to_owned())),
    }
}

fn split_ipv6<'a>(
    authority: &str,
    bracketed: &'a str,
) -> Result<(&'a str, Option<&'a str>), BadAddress> {
    let refuse = || BadAddress::Host(authority.to_owned());
    let (host, rest) = bracketed.split_once(']').ok_or_else(refuse)?;
    host.parse::<std::net::Ipv6Addr>().map_err(|_| refuse())?;
    match rest {
        "" => Ok((host, None)),
        _ => Ok((host, Some(rest.strip_prefix(':').ok_or_else(refuse)?))),
    }
}

fn is_host_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&host.len()) && host.bytes().all(fits)
}

fn parse_port(port: &str) -> Result<u16, BadAddress> {
    match port.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(BadAddress::Port(port.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_parsed() {
        let table = [
            ("coap://lwm2m.example.org", "lwm2m.example.org", 5683),
            ("coap://127.0.0.1:15683", "127.0.0.1", 15683),
            ("coap://127.8.8.8/", "127.8.8.8", 5683),
            ("coap://[::1]:1", "::1", 1),
            ("coap://[2001:db8::1]", "2001:db8::1", 5683),
            ("coap://localhost", "localhost", 5683),
            ("coaps://lwm2m.example.org", "lwm2m.example.org", 5684),
            ("coaps://[::1]:15684/", "::1", 15684),
        ];
        for (uri, host, port) in table {
            let address: ServerAddress = uri.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{uri}");
        }
    }

    #[test]
    fn an_invalid_address_is_rejected_with_its_wrong_part() {
        let table = [
            ("lwm2m.example.org", BadAddress::Scheme),
            ("coaps+tcp://h", BadAddress::Scheme),
            ("coap://", BadAddress::Host(String::new())),
            ("coap://a b", BadAddress::Host("a b".into())),
            ("coap://[::1", BadAddress::Host("[::1".into())),
            ("coap://[::1]x", BadAddress::Host("[::1]x".into())),
            ("coap://h:0", BadAddress::Port("0".into())),
            ("coap://h:65536", BadAddress::Port("65536".into())),
            ("coap://h:", BadAddress::Port(String::new())),
            ("coap://h/rd", BadAddress::Path("/rd".into())),
            ("coap://u@h", BadAddress::Path("@h".into())),
        ];
        for (uri, expected) in table {
            assert_eq!(uri.parse::<ServerAddress>(), Err(expected), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_read_back_from_its_text(
            secure: bool,
            host in "[a-z][a-z0-9.-]{0,20}",
            port in 1u16..,
        ) {
            let scheme = if secure { Scheme::Coaps } else { Scheme::Coap };
            let address = ServerAddress { scheme, host, port };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
