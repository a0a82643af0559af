//! A Package URI: its syntax (RFC 3986, with an authority), and no more. What it leads to is for the download to learn.

use std::{fmt, net::Ipv6Addr, str};

/// The longest Package URI, in bytes. The TS says 255, and presigned URIs are longer.
pub const MAX_URI: usize = 2048;

/// A URI with scheme and host. It may carry a token and resource 3 cannot be read, so it is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PackageUri {
    text: String,
    scheme: usize,
}

/// Why a Package URI is refused; never says the URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Nothing.
    #[error("the Package URI is empty")]
    Empty,
    /// More than [`MAX_URI`].
    #[error("the Package URI is longer than {MAX_URI} bytes")]
    TooLong,
    /// A character that RFC 3986 does not know, or a `%` without two digits.
    #[error("the Package URI holds a character that must be percent-encoded")]
    Character,
    /// No `scheme://`.
    #[error("the Package URI does not begin with a scheme and ://")]
    Scheme,
    /// A user, perhaps with a password.
    #[error("the Package URI names a user: write User Name and Password instead")]
    UserInfo,
    /// No host, or none that can be.
    #[error("the Package URI has no valid host")]
    Host,
    /// A port that is none.
    #[error("the Package URI has no valid port: 1 to 65535")]
    Port,
}

impl PackageUri {
    /// The URI in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, UriError> {
        let text = written(bytes)?;
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        if !is_scheme(scheme) {
            return Err(UriError::Scheme);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        check_authority(authority)?;
        check_tail(tail)?;
        Ok(Self {
            text: text.to_owned(),
            scheme: scheme.len(),
        })
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme as it was written.
    pub fn scheme(&self) -> &str {
        self.text.split_at(self.scheme).0
    }

    /// Whether the origin shows a certificate, whose dates need a clock.
    pub fn is_over_tls(&self) -> bool {
        ["https", "coaps", "coaps+tcp"]
            .iter()
            .any(|scheme| self.scheme().eq_ignore_ascii_case(scheme))
    }
}

impl fmt::Debug for PackageUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackageUri(…)")
    }
}

/// The text, if each of its characters may stand in a URI.
fn written(bytes: &[u8]) -> Result<&str, UriError> {
    match bytes.len() {
        0 => return Err(UriError::Empty),
        1..=MAX_URI => {}
        _ => return Err(UriError::TooLong),
    }
    let mut rest = bytes;
    while let Some((first, more)) = rest.split_first() {
        rest = match (first, more) {
            (b'%', [a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
            (byte, _) if is_uri_character(*byte) => more,
            _ => return Err(UriError::Character),
        };
    }
    str::from_utf8(bytes).map_err(|_| UriError::Character)
}

/// `unreserved / gen-delims / sub-delims` (RFC 3986 2.2, 2.3).
const fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@')
        || is_mark(byte)
}

/// The characters beside letters and digits that a host may hold (RFC 3986 3.2.2 reg-name).
const fn is_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'-' | b'.'
            | b'_'
            | b'~'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
    )
}

/// `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )` (RFC 3986 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn check_authority(authority: &str) -> Result<(), UriError> {
    if authority.contains('@') {
        return Err(UriError::UserInfo);
    }
    let port = match authority.strip_prefix('[') {
        Some(literal) => {
            let (address, after) = literal.split_once(']').ok_or(UriError::Host)?;
            address.parse::<Ipv6Addr>().map_err(|_| UriError::Host)?;
            after
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if !is_host(host) {
                return Err(UriError::Host);
            }
            port
        }
    };
    check_port(port)
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'%' || is_mark(byte))
}

fn check_port(port: &str) -> Result<(), UriError> {
    if port.is_empty() {
        return Ok(());
    }
    let digits = port.strip_prefix(':').ok_or(UriError::Host)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(1..) if plain => Ok(()),
        _ => Err(UriError::Port),
    }
}

/// Path, query and fragment hold no brackets, and there is one fragment at most (RFC 3986 3.3 to 3.5).
fn check_tail(tail: &str) -> Result<(), UriError> {
    let fragments = tail.matches('#').count();
    if tail.contains(['[', ']']) || fragments > 1 {
        return Err(UriError::Character);
    }
    Ok(())
}
