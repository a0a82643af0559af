//! Errors of the connection and of the origin, as [`Cause`] and a text that a person can act on. Texts of the
//! HTTP client are not passed on whole, since they show the query of the URI.

use std::{
    error::Error,
    io::{self, ErrorKind},
    time::{Duration, SystemTime},
};

use dns_lookup::LookupErrorKind;
use reqwest::{
    StatusCode, Url,
    header::{DATE, HeaderMap, HeaderName, RETRY_AFTER},
};
use wharf_frames::{Cause, Failure};

use crate::{resolve::LookupFailed, retry_after, uri::Shown};

/// A failure, with the wait that the origin asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFailure {
    /// The failure.
    pub failure: Failure,
    /// Retry-After in seconds (RFC 9110 10.2.3).
    pub retry_after: Option<u64>,
}

impl From<Failure> for FetchFailure {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}

/// The failure for a response without the package.
pub fn of_status(
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    credentials: bool,
) -> FetchFailure {
    let (cause, advice) = judge(status, credentials);
    let detail = format!("{} answered {}: {advice}", Shown(url), status.as_u16());
    let retry_after = (cause == Cause::OriginBusy)
        .then(|| wait(headers))
        .flatten();
    FetchFailure {
        failure: Failure::new(cause, detail),
        retry_after,
    }
}

#[rustfmt::skip]
fn judge(status: StatusCode, credentials: bool) -> (Cause, &'static str) {
    match (status.as_u16(), credentials) {
        (401, false) => (Cause::Unauthorised, "write User Name and Password"),
        (401, true) => (Cause::Unauthorised, "User Name or Password is wrong; write them again"),
        (403, false) => (Cause::Unauthorised, "write User Name and Password, or a presigned URI that has not expired"),
        (403, true) => (Cause::Unauthorised, "this User Name may not read it; allow it at the origin"),
        (407, _) => (Cause::Unauthorised, "a proxy requires a password; allow this device without one"),
        (404 | 410, _) => (Cause::NotFound, "no such file; check the Package URI"),
        (408 | 429 | 500.., _) => (Cause::OriginBusy, "the origin cannot serve it now; look at the origin if this stays"),
        (300..=399, _) => (Cause::Redirect, "this kind of redirect is not supported; write the URI of the file itself"),
        _ => (Cause::OriginRefused, "not the package; look at the origin"),
    }
}

/// Whether the status means that the origin cannot serve now.
pub fn is_busy(status: StatusCode) -> bool {
    judge(status, false).0 == Cause::OriginBusy
}

fn wait(headers: &HeaderMap) -> Option<u64> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    retry_after::seconds(text(RETRY_AFTER)?, text(DATE), SystemTime::now())
}

/// The failure of an origin that sent no byte for `limit`.
pub fn stalled(url: &Url, limit: Duration) -> FetchFailure {
    let (url, seconds) = (Shown(url), limit.as_secs_f32());
    let detail = format!(
        "{url} sent nothing for {seconds} s: look at the network and the origin if this stays"
    );
    Failure::new(Cause::Timeout, detail).into()
}

/// The failure of an origin that sent too few bytes in a span of time.
pub fn too_slow(url: &Url, received: u64, took: Duration) -> FetchFailure {
    let (url, seconds) = (Shown(url), took.as_secs_f32());
    let detail = format!(
        "{url} sent only {received} bytes in {seconds:.0} s: look at the network and the origin if this stays"
    );
    Failure::new(Cause::Timeout, detail).into()
}

/// The failure of a request that got no response, or of a body that was cut.
pub fn of_exchange(url: &Url, error: &reqwest::Error) -> FetchFailure {
    let (cause, why) = if let Some(lookup) = find::<LookupFailed>(error) {
        of_lookup(lookup)
    } else if let Some(tls) = find::<native_tls::Error>(error) {
        of_tls(&tls.to_string())
    } else if error.is_timeout() {
        (Cause::Timeout, "does not take a connection in time: is it up, and does a firewall drop this device's packets?".into())
    } else if let Some(error) = find::<io::Error>(error) {
        of_io(error)
    } else {
        (
            Cause::Connection,
            format!("broke off: {}", innermost(error)),
        )
    };
    Failure::new(cause, format!("{} {why}", Shown(url))).into()
}

fn of_lookup(lookup: &LookupFailed) -> (Cause, String) {
    match lookup.kind {
        LookupErrorKind::NoName | LookupErrorKind::NoData => (
            Cause::HostUnknown,
            "names a host that does not exist: look at the Package URI, or at this device's DNS"
                .into(),
        ),
        _ => (
            Cause::Connection,
            format!(
                "names a host that cannot be resolved now: {lookup}: look at this device's DNS if this stays"
            ),
        ),
    }
}

fn of_io(error: &io::Error) -> (Cause, String) {
    match error.kind() {
        ErrorKind::TimedOut => (
            Cause::Timeout,
            format!("does not answer: {error}: is it up?"),
        ),
        ErrorKind::ConnectionRefused => (
            Cause::Connection,
            "refuses the connection: is the origin running, and is the port right?".into(),
        ),
        _ => (Cause::Connection, format!("cut the connection: {error}")),
    }
}

/// Extracts the reason from `error:CODE:library:function:reason:file:line:`, or from a `(reason)` after it for a
/// certificate.
fn of_tls(error: &str) -> (Cause, String) {
    let certificate = error
        .contains("certificate verify failed")
        .then(|| error.rsplit_once(" (")?.1.strip_suffix(')'))
        .flatten();
    let why = match certificate {
        Some(why) => format!(
            "has a certificate that is not trusted: {why}: {}",
            advice(why)
        ),
        None => {
            let first = error.split(", error:").next().unwrap_or(error);
            let reason = first.split(':').nth(4).filter(|reason| !reason.is_empty());
            format!(
                "fails in TLS: {}: does the origin speak TLS 1.2 or later there?",
                reason.unwrap_or(first)
            )
        }
    };
    (Cause::Tls, why)
}

fn advice(why: &str) -> &'static str {
    let has = |words: &str| why.contains(words);
    if has("not yet valid") {
        "is this device's clock right?"
    } else if has("expired") {
        "renew it at the origin, or is this device's clock wrong?"
    } else if has("mismatch") {
        "the certificate is for another name than the Package URI's"
    } else {
        "add its CA to /usr/local/share/ca-certificates and run update-ca-certificates"
    }
}

/// The first source of this type.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    sources(error).find_map(|source| source.downcast_ref())
}

fn innermost(error: &reqwest::Error) -> String {
    sources(error)
        .skip(1)
        .last()
        .map_or_else(|| "no HTTP response".into(), ToString::to_string)
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_cause() {
        for (status, cause) in [
            (204, Cause::OriginRefused),
            (206, Cause::OriginRefused),
            (304, Cause::Redirect),
            (400, Cause::OriginRefused),
            (401, Cause::Unauthorised),
            (403, Cause::Unauthorised),
            (404, Cause::NotFound),
            (407, Cause::Unauthorised),
            (408, Cause::OriginBusy),
            (410, Cause::NotFound),
            (416, Cause::OriginRefused),
            (429, Cause::OriginBusy),
            (451, Cause::OriginRefused),
            (500, Cause::OriginBusy),
            (503, Cause::OriginBusy),
            (599, Cause::OriginBusy),
        ] {
            for credentials in [false, true] {
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(judge(status, credentials).0, cause, "{status}");
            }
        }
    }

    #[test]
    fn a_missing_name_is_distinguished_from_a_dns_failure() {
        for (kind, cause) in [
            (LookupErrorKind::NoName, Cause::HostUnknown),
            (LookupErrorKind::NoData, Cause::HostUnknown),
            (LookupErrorKind::Again, Cause::Connection),
            (LookupErrorKind::Fail, Cause::Connection),
            (LookupErrorKind::System, Cause::Connection),
        ] {
            let lookup = LookupFailed {
                kind,
                error: io::Error::other("x"),
            };
            assert_eq!(of_lookup(&lookup).0, cause, "{kind:?}");
        }
    }

    #[test]
    fn only_the_reason_is_taken_from_openssl() {
        let (cause, why) = of_tls(
            "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1889: (self-signed certificate)",
        );
        assert_eq!(cause, Cause::Tls);
        assert!(
            why.starts_with("has a certificate that is not trusted: self-signed certificate: add"),
            "{why}"
        );
        let (_, why) = of_tls(
            "error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record/ssl3_record.c:354:",
        );
        assert!(
            why.starts_with("fails in TLS: wrong version number: does"),
            "{why}"
        );
    }
}
