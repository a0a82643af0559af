//! Which redirects are followed. Pure.
//!
//! | from → to | without User Name and Password | with them |
//! | --- | --- | --- |
//! | the same origin (scheme, host, port) | followed | followed, they are sent again |
//! | another origin, http → http or https, https → https | followed | refused: they belong to one origin alone |
//! | https → http | refused | refused |
//! | another scheme, or with a user name in it | refused | refused |
//! | the sixth in a row; without a place to go to | refused | refused |

use reqwest::{StatusCode, Url};
use wharf_frames::{Cause, Failure};

use crate::uri::Shown;

/// More than so many redirects in a row are a loop.
pub const MAX_REDIRECTS: usize = 5;

/// Whether a status names another place (RFC 9110 15.4).
pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where to go from `from`, which answered with this Location.
pub fn follow(from: &Url, location: Option<&str>, credentials: bool) -> Result<Url, Failure> {
    let refuse = |why: &str| Failure::new(Cause::Redirect, format!("{} {why}", Shown(from)));
    let to = location.and_then(|location| from.join(location).ok());
    let Some(to) = to else {
        return Err(refuse("redirects to nowhere: look at the origin"));
    };
    let shown = Shown(&to);
    if !matches!(to.scheme(), "http" | "https")
        || !to.username().is_empty()
        || to.password().is_some()
    {
        return Err(refuse(
            "redirects to something that is not fetched: look at the origin",
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

/// What is said of a loop.
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
            // from, Location, where to without credentials, with them
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
