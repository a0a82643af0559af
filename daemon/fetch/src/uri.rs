//! Package URIs: validation, the URI of a detached signature, and a form without secrets for texts.

use std::fmt;

use reqwest::Url;
use wharf_frames::{Cause, Failure, fetch::MAX_URI};

/// The longest shown part of a path, which leaves room for the error.
const SHOWN_PATH: usize = 120;

/// Parses a Package URI.
pub fn parse(uri: &[u8]) -> Result<Url, Failure> {
    let malformed = |why: &str| Failure::new(Cause::UriMalformed, format!("Package URI: {why}"));
    if uri.len() > MAX_URI {
        return Err(malformed("longer than 2048 bytes"));
    }
    if !uri.iter().all(u8::is_ascii_graphic) {
        return Err(malformed(
            "a URI is printable ASCII; write other characters as %XX",
        ));
    }
    let text = str::from_utf8(uri).map_err(|_| malformed("not ASCII"))?;
    let url = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(Failure::new(
            Cause::UriScheme,
            format!(
                "Package URI: the scheme {scheme} is not supported; write one with https or http"
            ),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed(
            "it must not contain a user name or password; write User Name and Password instead",
        ));
    }
    Ok(url)
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
        ] {
            let failure = parse(uri.as_bytes()).expect_err(uri);
            assert_eq!(failure.cause, cause, "{uri}: {failure}");
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

    proptest! {
        #[test]
        fn only_the_path_changes_and_only_at_its_end(path in "[a-zA-Z0-9._~!$&'()*+,;=:@%/-]{0,40}", query in proptest::option::of("[a-zA-Z0-9=&%?/._~-]{0,40}")) {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let url = parse(format!("https://example.org:8443/{path}{query}").as_bytes()).unwrap();
            let beside = beside(&url, ".sig");
            prop_assert_eq!(beside.path(), format!("{}.sig", url.path()));
            prop_assert_eq!(beside.query(), url.query());
            prop_assert_eq!(beside.origin(), url.origin());
        }

        #[test]
        fn no_bytes_make_it_panic(uri in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&uri);
        }
    }
}
