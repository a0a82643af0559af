//! Package URIs (RFC 3986, with an authority): what is accepted, and to which origin each leads.
//!
//! wharfd decides by the origin whether User Name and Password may go there, and wharf-fetch connects there. Both get
//! host and port from the same parser, that of the crate `url`, which the HTTP library uses as well. The checks here
//! reject what that parser would repair or read in another way than RFC 3986.

#![forbid(unsafe_code)]

use std::{fmt, str, str::FromStr};

use url::{ParseError, Url};
use wharf_secret::Secret;

/// The longest Package URI, in bytes. The TS says 255, but presigned URIs are longer.
pub const MAX_URI: usize = 2048;

/// A URI with scheme and host. It may contain a token, so that `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PackageUri {
    text: Secret,
    /// The length of the scheme.
    scheme: usize,
    /// The length of scheme and authority.
    origin: usize,
}

/// The scheme, host and port of a URI (RFC 6454 4), without the default port. An http or https host is written as it is
/// connected to: in lower case, decoded, and an IPv4 address in four numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UriOrigin(String);

/// The text is not an http origin. The error does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host[:port] without a user, a path or a wildcard; https needs no entry")]
pub struct NotAnHttpOrigin;

/// The reason why a Package URI is rejected. The error does not contain the URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// The URI is empty.
    #[error("the Package URI is empty")]
    Empty,
    /// The URI is longer than [`MAX_URI`].
    #[error("the Package URI is longer than {MAX_URI} bytes")]
    TooLong,
    /// A character is not allowed in a URI, or `%` is not followed by two digits (RFC 3986 2.1).
    #[error("the Package URI holds a character that must be percent-encoded")]
    Character,
    /// There is no `scheme://`.
    #[error("the Package URI does not begin with a scheme and ://")]
    Scheme,
    /// The URI has a user.
    #[error("the Package URI names a user: write User Name and Password instead")]
    UserInfo,
    /// The host is missing or invalid.
    #[error("the Package URI has no valid host")]
    Host,
    /// The port is invalid.
    #[error("the Package URI has no valid port: 1 to 65535")]
    Port,
}

impl PackageUri {
    /// Parses the bytes of a URI.
    pub fn parse(bytes: &[u8]) -> Result<Self, UriError> {
        let uri = Self::parse_syntax(bytes)?;
        uri.check_authority()?;
        Ok(uri)
    }

    /// Checks all but host and port. An older release stored hosts that [`PackageUri::parse`] rejects.
    pub fn parse_syntax(bytes: &[u8]) -> Result<Self, UriError> {
        let text = checked_text(bytes)?;
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        if !is_scheme(scheme) {
            return Err(UriError::Scheme);
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UriError::UserInfo);
        }
        check_tail(tail)?;
        Ok(Self {
            text: Secret::new(bytes.to_vec()),
            scheme: scheme.len(),
            origin: text.len() - tail.len(),
        })
    }

    /// Checks host and port, the rest of [`PackageUri::parse`].
    pub fn check_authority(&self) -> Result<(), UriError> {
        self.authority().map(drop)
    }

    /// The URI, as the server wrote it.
    pub fn as_str(&self) -> &str {
        // `checked_text` has checked that it is ASCII.
        str::from_utf8(self.text.expose()).unwrap_or_default()
    }

    /// The URI, as the server wrote it.
    pub fn as_secret(&self) -> &Secret {
        &self.text
    }

    /// The scheme, as the server wrote it.
    pub fn scheme(&self) -> &str {
        self.as_str().split_at(self.scheme).0
    }

    /// The origin of the URI.
    pub fn origin(&self) -> UriOrigin {
        let url = self.authority().ok();
        let tuple = url.map(|url| url.origin()).filter(url::Origin::is_tuple);
        // The parser knows no origins of coap. A stored host that it rejects is equal to no valid origin.
        let written = || self.up_to_authority().to_ascii_lowercase();
        UriOrigin(tuple.map_or_else(written, |origin| origin.ascii_serialization()))
    }

    /// The last segment of the path, without parameters. `None` if it is empty.
    pub fn file_name(&self) -> Option<&str> {
        let (_, tail) = self.as_str().split_at(self.origin);
        let path = tail.split(['?', '#']).next()?;
        let (_, last) = path.rsplit_once('/')?;
        last.split(';').next().filter(|name| !name.is_empty())
    }

    /// Whether the download uses TLS, which needs a correct clock.
    pub fn is_over_tls(&self) -> bool {
        ["https", "coaps", "coaps+tcp"]
            .iter()
            .any(|scheme| self.scheme().eq_ignore_ascii_case(scheme))
    }

    fn up_to_authority(&self) -> &str {
        self.as_str().split_at(self.origin).0
    }

    /// Scheme, host and port. Path and query stay out of the parser, which does not wipe its copy.
    fn authority(&self) -> Result<Url, UriError> {
        let text = self.up_to_authority();
        // The parser would take the first segment of the path as the host.
        if text.ends_with("://") {
            return Err(UriError::Host);
        }
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::InvalidPort => UriError::Port,
            ParseError::RelativeUrlWithoutBase => UriError::Scheme,
            _ => UriError::Host,
        })?;
        match url.port() {
            // The parser drops the host `localhost` of a file URI.
            _ if url.host().is_none() && url.scheme() != "file" => Err(UriError::Host),
            Some(0) => Err(UriError::Port),
            None if text.ends_with(':') => Err(UriError::Port),
            _ => Ok(url),
        }
    }
}

impl fmt::Debug for PackageUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackageUri(…)")
    }
}

impl fmt::Display for UriOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UriOrigin {
    type Err = NotAnHttpOrigin;

    /// Parses an http origin.
    fn from_str(text: &str) -> Result<Self, NotAnHttpOrigin> {
        let uri = PackageUri::parse(text.as_bytes()).map_err(|_| NotAnHttpOrigin)?;
        let origin = uri.origin();
        let is_whole = uri.origin == text.len();
        // A host with `*` would never match, and one with `*` or `%` looks like a wildcard.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/[]-._".contains(&byte);
        match is_whole && text.bytes().all(plain) && origin.0.starts_with("http://") {
            true => Ok(origin),
            false => Err(NotAnHttpOrigin),
        }
    }
}

/// Checks the length and the characters of a URI.
fn checked_text(bytes: &[u8]) -> Result<&str, UriError> {
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
        || matches!(
            byte,
            b':' | b'/'
                | b'?'
                | b'#'
                | b'['
                | b']'
                | b'@'
                | b'-'
                | b'.'
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
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(allowed)
}

/// Checks path, query and fragment: no brackets, and at most one fragment (RFC 3986 3.3 to 3.5).
fn check_tail(tail: &str) -> Result<(), UriError> {
    let fragments = tail.matches('#').count();
    if tail.contains(['[', ']']) || fragments > 1 {
        return Err(UriError::Character);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(uri: &str) -> Option<UriError> {
        PackageUri::parse(uri.as_bytes()).err()
    }

    #[test]
    fn valid_uris_are_accepted_unchanged() {
        for uri in [
            "https://origin.example/a.deb",
            "HTTP://Origin.example",
            "coap://[2001:db8::1]:5683/a?b=c",
            "coaps+tcp://[::1]",
            "http://192.0.2.1:1/",
            "https://origin.example:65535?x",
            "https://origin.example#sha256=00ff",
            "https://bucket.example/a%20b.deb?X-Amz-Signature=0a/~!$&'()*+,;=:@-._",
            "https://h%C3%A9.example_~!$&'()*+,;=/",
            "a1+-.://h",
            "file://localhost/a",
        ] {
            let parsed = PackageUri::parse(uri.as_bytes());
            assert_eq!(parsed.as_ref().map(PackageUri::as_str), Ok(uri));
        }
    }

    #[test]
    fn an_invalid_uri_is_rejected_with_its_reason() {
        for (uri, expected) in [
            ("", UriError::Empty),
            ("https://origin.example/a b", UriError::Character),
            ("https://origin.example/\u{e9}", UriError::Character),
            ("https://origin.example/%2", UriError::Character),
            ("https://origin.example/%2x", UriError::Character),
            ("https://origin.example/%x2", UriError::Character),
            ("https://origin.example/%", UriError::Character),
            ("https://origin.example/\n", UriError::Character),
            ("https://origin.example/\"<>\\^`{|}", UriError::Character),
            ("https://origin.example/[", UriError::Character),
            ("https://origin.example/a?b]", UriError::Character),
            ("https://origin.example/#a#b", UriError::Character),
            ("origin.example/a.deb", UriError::Scheme),
            ("mailto:root@origin.example", UriError::Scheme),
            ("://origin.example", UriError::Scheme),
            ("1http://origin.example", UriError::Scheme),
            ("ht_tp://origin.example", UriError::Scheme),
            (
                "https:/h/a.deb?token=SECRET&next=https://x/p",
                UriError::Scheme,
            ),
            ("https:h/a?t=SECRET&u=http://z", UriError::Scheme),
            ("https:user:pw@host://x/", UriError::Scheme),
            ("http:foo://bar/x", UriError::Scheme),
            ("h/a?u=http://z", UriError::Scheme),
            ("https://user@origin.example", UriError::UserInfo),
            ("https://user:password@origin.example", UriError::UserInfo),
            ("https://", UriError::Host),
            ("https:///a.deb", UriError::Host),
            ("https://:443/", UriError::Host),
            ("https://[::1/", UriError::Host),
            ("https://[]/", UriError::Host),
            ("https://[fe80::1%25eth0]/", UriError::Host),
            ("https://[v1.x]/", UriError::Host),
            ("https://[::1]443/", UriError::Host),
            ("https://a[::1]/", UriError::Host),
            ("https://origin.example:/", UriError::Port),
            ("https://origin.example:0/", UriError::Port),
            ("https://origin.example:65536/", UriError::Port),
            ("https://origin.example:+443/", UriError::Port),
            ("https://origin.example:4a/", UriError::Port),
            ("https://::1/", UriError::Host),
        ] {
            assert_eq!(error(uri), Some(expected), "{uri:?}");
        }
    }

    #[test]
    fn a_uri_may_be_2048_bytes_long() {
        let of = |length: usize| format!("https://h/{}", "x".repeat(length - 10));
        assert_eq!(error(&of(MAX_URI)), None);
        assert_eq!(error(&of(MAX_URI + 1)), Some(UriError::TooLong));
    }

    #[test]
    fn tls_and_dtls_schemes_need_a_clock() {
        for (uri, over_tls) in [
            ("https://h", true),
            ("HTTPS://h", true),
            ("coaps://h", true),
            ("coaps+tcp://h", true),
            ("http://h", false),
            ("coap://h", false),
            ("ftps://h", false),
        ] {
            let uri = PackageUri::parse(uri.as_bytes()).unwrap();
            assert_eq!(uri.is_over_tls(), over_tls, "{}", uri.as_str());
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_in_one_spelling() {
        for (uri, origin) in [
            ("http://h", "http://h"),
            (
                "HTTP://Origin.example:80/a.deb?x#y",
                "http://origin.example",
            ),
            ("http://h:8080/a.deb", "http://h:8080"),
            ("http://h?http://other", "http://h"),
            ("http://h#@other", "http://h"),
            ("http://[::80]", "http://[::80]"),
            ("http://[FE80::1]:80/", "http://[fe80::1]"),
            ("https://h:80/", "https://h:80"),
            ("https://h/", "https://h"),
        ] {
            let parsed = PackageUri::parse(uri.as_bytes()).unwrap();
            assert_eq!(parsed.origin().to_string(), origin, "{uri}");
        }
    }

    #[test]
    fn an_http_origin_is_read_and_nothing_behind_it() {
        for (text, origin) in [
            ("http://h", Ok("http://h")),
            ("HTTP://H:80", Ok("http://h")),
            ("http://[::1]:8080", Ok("http://[::1]:8080")),
            ("", Err(NotAnHttpOrigin)),
            ("h", Err(NotAnHttpOrigin)),
            ("http://", Err(NotAnHttpOrigin)),
            ("http://h/", Err(NotAnHttpOrigin)),
            ("http://h/a.deb", Err(NotAnHttpOrigin)),
            ("http://h?", Err(NotAnHttpOrigin)),
            ("http://h#", Err(NotAnHttpOrigin)),
            ("http://*", Err(NotAnHttpOrigin)),
            ("http://%68", Err(NotAnHttpOrigin)),
            ("http://h:0", Err(NotAnHttpOrigin)),
            ("http://user:password@h", Err(NotAnHttpOrigin)),
            ("https://h", Err(NotAnHttpOrigin)),
            ("coap://h", Err(NotAnHttpOrigin)),
            ("http:foo://bar", Err(NotAnHttpOrigin)),
        ] {
            let read: Result<UriOrigin, _> = text.parse();
            let read = read.map(|origin| origin.to_string());
            assert_eq!(read.as_deref(), origin.as_deref(), "{text:?}");
        }
    }

    #[test]
    fn an_origin_has_one_spelling_of_its_host() {
        for (uri, origin) in [
            ("http://127.1/", "http://127.0.0.1"),
            ("http://0x7f.1:80", "http://127.0.0.1"),
            ("http://%6Frigin.example", "http://origin.example"),
            ("https://h:443", "https://h"),
            ("coap://H:5683/", "coap://h:5683"),
        ] {
            let parsed = PackageUri::parse(uri.as_bytes()).unwrap();
            assert_eq!(parsed.origin().to_string(), origin, "{uri}");
        }
    }

    #[test]
    fn a_host_that_no_parser_takes_is_read_back_and_is_no_allowed_origin() {
        for uri in [
            "http://h.1/p",
            "http://a%2fb/p",
            "http://xn--a/p",
            "http://h:0/p",
        ] {
            assert!(
                matches!(error(uri), Some(UriError::Host | UriError::Port)),
                "{uri}"
            );
            let stored = PackageUri::parse_syntax(uri.as_bytes()).unwrap();
            assert!(stored.check_authority().is_err(), "{uri}");
            let origin = stored.origin().to_string();
            assert_eq!(
                origin.parse::<UriOrigin>(),
                Err(NotAnHttpOrigin),
                "{origin}"
            );
        }
    }

    #[test]
    fn origin_and_file_name_contain_no_secret() {
        for (uri, origin, file_name) in [
            (
                "https://h:8443/secret/a.deb?t=/x#/y",
                "https://h:8443",
                Some("a.deb"),
            ),
            (
                "http://[::1]/a.deb;session=secret",
                "http://[::1]",
                Some("a.deb"),
            ),
            ("https://h/secret/", "https://h", None),
            ("https://h/;secret", "https://h", None),
            ("https://h", "https://h", None),
            ("https://h?a=/secret", "https://h", None),
            ("https://h#/secret", "https://h", None),
        ] {
            let parsed = PackageUri::parse(uri.as_bytes()).unwrap();
            assert_eq!(
                (&*parsed.origin().to_string(), parsed.file_name()),
                (origin, file_name),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_uri_is_not_shown() {
        let uri = PackageUri::parse(b"https://origin.example/?token=hunter2").unwrap();
        assert_eq!(format!("{uri:?}"), "PackageUri(…)");
        assert_eq!((uri.scheme(), uri.as_str().len()), ("https", 37));
    }

    proptest! {
        #[test]
        fn bytes_are_accepted_unchanged_or_rejected(bytes in any::<Vec<u8>>()) {
            if let Ok(uri) = PackageUri::parse(&bytes) {
                prop_assert_eq!(uri.as_str().as_bytes(), bytes);
            }
        }

        #[test]
        fn an_accepted_uri_has_a_scheme_and_a_host_and_no_user(uri in "(https?|ftp|[a-z0-9]{1,3}):[a-z@:/?]{0,6}(//)?[a-z@:\\[\\]/?#%0-9.]{0,12}(://[a-z])?") {
            if let Ok(uri) = PackageUri::parse(uri.as_bytes()) {
                let (scheme, rest) = uri.as_str().split_once(':').unwrap();
                prop_assert!(is_scheme(scheme) && uri.scheme() == scheme, "{}", uri.as_str());
                let authority = rest.strip_prefix("//").unwrap().split(['/', '?', '#']).next().unwrap();
                prop_assert!(!authority.contains('@') && !authority.is_empty());
            }
        }
    }
}
