//! Decides which redirects are followed. Pure.
//!
//! | from → to | without User Name and Password | with them |
//! | --- | --- | --- |
//! | the same origin (scheme, host, port) | followed | followed, with the credentials |
//! | another origin, http → http or https, https → https | followed | refused: the credentials are for one origin only |
//! | https → http | refused | refused |
//! | another scheme, or a URI with a user name | refused | refused |
//! | the sixth in a row; without a valid Location | refused | refused |

use reqwest::{StatusCode, Url};
use wharf_frames::{Cause, Failure};

use crate::uri::Shown;

/// The most redirects in a row.
pub const MAX_REDIRECTS: usize = 5;

/// Whether a status is a redirect that can be followed (RFC 9110 15.4).
pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The target of a redirect from `from` with this Location.
pub fn follow(from: &Url, location: Option<&str>, credentials: bool) -> Result<Url, Failure> {
    let refuse = |why: &str| Failure::new(Cause::Redirect, format!("{} {why}", Shown(from)));
    let to = location.and_then(|location| from.join(location).ok());
    let Some(to) = to else {
        return Err(refuse(
            "redirects without a valid Location: look at the origin",
        ));
    };
    let shown = Shown(&to);
    if !matches!(to.scheme(), "http" | "https")
        || !to.username().is_empty()
        || to.password().is_some()
    {
        return Err(refuse(
            "redirects to a URI that is not http or https, or that names a user: look at the origin",
        ));
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(refuse(&format!(
            "redirects to {shown}, which is not followed: it is no longer TLS"
        )));
    }
    if credentials && from.origin() != to.origin() {
        return Err(refuse(&format!(
            "redirects to {shown}, which must not see User Name and Password: write it as Package URI, with the User Name and Password that belong there"
        )));
    }
    Ok(to)
}

/// The failure for a loop.
pub fn too_many(uri: &Url) -> Failure {
    Failure::new(
        Cause::Redirect,
        format!(
            "{} redirects more than {MAX_REDIRECTS} times: look at the origin",
            Shown(uri)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_by_the_table() {
        const REFUSED: Option<&str> = None;
        let table = [
            // from, Location, target without credentials, target with them
            (
                "https://a/x",
                "/y",
                Some("https://a/y"),
                Some("https://a/y"),
            ),
            (
                "https://a/x",
                "y?q=1",
                Some("https://a/y?q=1"),
                Some("https://a/y?q=1"),
            ),
            (
                "https://a/x",
                "https://a:443/y",
                Some("https://a/y"),
                Some("https://a/y"),
            ),
            (
                "https://a/x",
                "https://a:444/y",
                Some("https://a:444/y"),
                REFUSED,
            ),
            ("https://a/x", "//b/y", Some("https://b/y"), REFUSED),
            ("http://a/x", "https://a/y", Some("https://a/y"), REFUSED),
            ("http://a/x", "http://b/y", Some("http://b/y"), REFUSED),
            ("https://a/x", "http://a/x", REFUSED, REFUSED),
            ("https://a/x", "ftp://a/x", REFUSED, REFUSED),
            ("https://a/x", "file:///etc/passwd", REFUSED, REFUSED),
            ("https://a/x", "https://u:p@a/x", REFUSED, REFUSED),
            ("https://a/x", "https://", REFUSED, REFUSED),
        ];
        for (from, location, without, with) in table {
            let from = Url::parse(from).unwrap();
            for (credentials, expected) in [(false, without), (true, with)] {
                let to = follow(&from, Some(location), credentials);
                let got = to.as_ref().ok().map(Url::as_str);
                assert_eq!(
                    got, expected,
                    "{from} → {location}, credentials: {credentials}"
                );
                assert!(!to.is_err_and(|refused| refused.cause != Cause::Redirect));
            }
        }
        assert!(follow(&Url::parse("https://a/x").unwrap(), None, false).is_err());
    }

    #[test]
    fn a_refusal_shows_no_query() {
        let from = Url::parse("https://a/x?hunter2").unwrap();
        let refused = follow(&from, Some("https://b/y?hunter2"), true).unwrap_err();
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
