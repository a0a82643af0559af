//! Package URIs as reqwest takes them, the URI of a detached signature, and a form without secrets for texts.

use std::fmt;

use reqwest::Url;
use wharf_frames::{Cause, Failure};
use wharf_uri::{PackageUri, UriError};

/// The longest shown part of a path, which leaves room for the error.
const SHOWN_PATH: usize = 120;

/// Parses a Package URI as wharfd does, so that the connection goes to the origin that wharfd has judged.
pub fn parse(uri: &[u8]) -> Result<Url, Failure> {
    let malformed = |error: UriError| Failure::new(Cause::UriMalformed, error.to_string());
    let uri = PackageUri::parse_syntax(uri).map_err(malformed)?;
    let scheme = uri.scheme();
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err(Failure::new(
            Cause::UriScheme,
            "the scheme of the Package URI is not supported: write one with https or http",
        ));
    }
    uri.check_authority().map_err(malformed)?;
    Url::parse(uri.as_str()).map_err(|_| malformed(UriError::Host))
}

/// The URI of a detached signature: the suffix goes to the end of the path, before the query.
pub fn beside(url: &Url, suffix: &str) -> Url {
    let mut beside = url.clone();
    beside.set_path(&format!("{}{suffix}", url.path()));
    beside
}

/// A URL without user, query and fragment. The query of a presigned URL is a secret.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or(""))?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        // The path of a URL is ASCII, so that it can be cut anywhere.
        match url.path().get(..SHOWN_PATH) {
            Some(beginning) if url.path().len() > SHOWN_PATH => write!(f, "{beginning}…"),
            _ => f.write_str(url.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wharf_uri::MAX_URI;

    #[test]
    fn an_invalid_uri_has_its_cause() {
        for (uri, cause) in [
            ("", Cause::UriMalformed),
            ("pool/hello.deb", Cause::UriMalformed),
            ("https://", Cause::UriMalformed),
            ("https://example.org:99999/x", Cause::UriMalformed),
            ("https://example.org/a b", Cause::UriMalformed),
            ("https://example.org/ä", Cause::UriMalformed),
            ("https://u:p@example.org/x", Cause::UriMalformed),
            ("https://u@example.org/x", Cause::UriMalformed),
            ("ftp://example.org/x", Cause::UriScheme),
            ("file:///etc/shadow", Cause::UriScheme),
            ("coaps://example.org/x", Cause::UriScheme),
            ("file://localhost/a", Cause::UriScheme),
            ("hunter2://example.org/x", Cause::UriScheme),
            (
                "https:/h/a.deb?token=hunter2&next=https://x/p",
                Cause::UriMalformed,
            ),
            ("https:user:hunter2@host://x/", Cause::UriMalformed),
        ] {
            let failure = parse(uri.as_bytes()).expect_err(uri);
            assert_eq!(failure.cause, cause, "{uri}: {failure}");
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
        let long = format!("https://example.org/{}", "x".repeat(MAX_URI));
        assert_eq!(
            parse(long.as_bytes()).unwrap_err().cause,
            Cause::UriMalformed
        );
    }

    #[test]
    fn a_suffix_goes_before_the_query() {
        for (uri, expected) in [
            ("https://h/p.deb", "https://h/p.deb.asc"),
            ("https://h/p.deb?sig=a/b.c", "https://h/p.deb.asc?sig=a/b.c"),
            (
                "https://h/p%20q%3F.deb?x#y",
                "https://h/p%20q%3F.deb.asc?x#y",
            ),
            ("https://h", "https://h/.asc"),
        ] {
            assert_eq!(
                beside(&parse(uri.as_bytes()).unwrap(), ".asc").as_str(),
                expected
            );
        }
    }

    #[test]
    fn nothing_secret_is_shown_and_a_long_path_is_cut() {
        let url =
            Url::parse("https://u:hunter2@h:8443/p.deb?X-Amz-Signature=hunter2#hunter2").unwrap();
        assert_eq!(Shown(&url).to_string(), "https://h:8443/p.deb");
        let long = Url::parse(&format!("http://[::1]/{}", "x".repeat(2000))).unwrap();
        let shown = Shown(&long).to_string();
        assert!(
            shown.len() < 160 && shown.starts_with("http://[::1]/x"),
            "{shown}"
        );
    }

    /// Spellings of a host, most of which a parser may read as another host or repair.
    fn uri() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            "[a-zA-Z0-9.-]{1,12}",
            "(0x[0-9a-f]{1,4}|0[0-7]{1,3}|[0-9]{1,4})(\\.(0x[0-9a-f]{1,4}|[0-9]{1,3})){0,3}",
            "(%[0-9a-fA-F]{2}|[a-z.]){1,6}",
            "\\[[0-9a-f:.]{2,12}\\]",
            "(xn--)?[a-z0-9]{1,6}(\\.|%2e|%00|@|:){0,2}",
            "[a-z0-9:@/?#%\\[\\]\\\\!$&'()*+,;=._~-]{1,12}",
        ];
        let port = "(:[0-9]{0,6}|:80|:443)?";
        let path = "(/[a-zA-Z0-9;:@%2e._~!$&'()*+,=-]{0,8}){0,3}";
        let tail = "(\\?[a-z0-9/?:@&=%'.]{0,10})?(#[a-z0-9/?@]{0,6})?";
        // Without `//` behind the scheme, a parser may take what follows as the host, or find `://` further on.
        let scheme = "(http|https|HTTP|hTTps|ftp)(://|://|://|:/|:|:[a-z0-9@:?]{1,6}://)";
        (scheme, host, port, path, tail).prop_map(|(scheme, host, port, path, tail)| {
            format!("{scheme}{host}{port}{path}{tail}")
        })
    }

    /// `.` and `..`, which a client resolves (RFC 3986 5.2.4).
    fn has_dot_segments(uri: &str) -> bool {
        let decoded = uri.to_ascii_lowercase().replace("%2e", ".");
        decoded
            .split('/')
            .any(|segment| matches!(segment, "." | ".."))
    }

    #[test]
    fn each_spelling_of_a_host_is_connected_to_as_wharfd_sees_it() {
        for (uri, origin) in [
            ("http://127.1/p", "http://127.0.0.1"),
            ("http://0x7f000001:80/p", "http://127.0.0.1"),
            ("http://017700000001/p", "http://127.0.0.1"),
            ("http://2130706433:8080/p", "http://127.0.0.1:8080"),
            ("HTTP://Origin.EXAMPLE/p", "http://origin.example"),
            ("http://%6Frigin.example/p", "http://origin.example"),
            ("http://[0:0::1]/p", "http://[::1]"),
            ("http://[::ffff:127.0.0.1]/p", "http://[::ffff:7f00:1]"),
            ("https://h:443/p", "https://h"),
            ("http://h:443/p", "http://h:443"),
        ] {
            let url = parse(uri.as_bytes()).unwrap();
            let seen = PackageUri::parse(uri.as_bytes()).unwrap().origin();
            assert_eq!(url.origin().ascii_serialization(), origin, "{uri}");
            assert_eq!(seen.to_string(), origin, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn only_the_path_changes_and_only_at_its_end(path in "[a-zA-Z0-9._~!$&'()*+,;=:@%/-]{0,40}", query in proptest::option::of("[a-zA-Z0-9=&%?/._~-]{0,40}")) {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let url = Url::parse(&format!("https://example.org:8443/{path}{query}")).unwrap();
            let beside = beside(&url, ".sig");
            prop_assert_eq!(beside.path(), format!("{}.sig", url.path()));
            prop_assert_eq!(beside.query(), url.query());
            prop_assert_eq!(beside.origin(), url.origin());
        }

        /// wharfd judges the origin, and shows it with the last segment of the path. reqwest connects by the URL.
        #[test]
        fn a_url_leads_to_the_origin_path_and_query_that_wharfd_sees(uri in uri()) {
            let Ok(url) = parse(uri.as_bytes()) else {
                return Ok(());
            };
            let seen = PackageUri::parse(uri.as_bytes()).unwrap();
            prop_assert_eq!(url.origin().ascii_serialization(), seen.origin().to_string());
            prop_assert_eq!((url.username(), url.password()), ("", None));
            let uri = uri.split('#').next().unwrap();
            let (before, query) = match uri.split_once('?') {
                Some((before, query)) => (before, Some(query.replace('\'', "%27"))),
                None => (uri, None),
            };
            prop_assert_eq!(url.query(), query.as_deref());
            if !has_dot_segments(before) {
                let last = url.path().rsplit('/').next().unwrap();
                let name = last.split(';').next().filter(|name| !name.is_empty());
                prop_assert_eq!(name, seen.file_name());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(uri in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&uri);
        }
    }
}
