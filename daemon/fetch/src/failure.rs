//! What went wrong between here and the origin, in the terms of [`Cause`] and in words that a person can act
//! on. No text from the HTTP client is passed on whole: it would show the URI's query.

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

/// A failure, and how long the origin asks to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// In seconds (Retry-After).
    pub retry_after: Option<u64>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}

/// The origin answered, and not with the package.
pub fn of_status(url: &Url, status: StatusCode, headers: &HeaderMap, credentials: bool) -> Failed {
    let (cause, advice) = judge(status, credentials);
    let detail = format!("{} answered {}: {advice}", Shown(url), status.as_u16());
    let retry_after = (cause == Cause::OriginBusy)
        .then(|| wait(headers))
        .flatten();
    Failed {
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
        (407, _) => (Cause::Unauthorised, "a proxy in between wants a password; let this device pass it"),
        (404 | 410, _) => (Cause::NotFound, "there is nothing; look at the Package URI"),
        (408 | 429 | 500.., _) => (Cause::OriginBusy, "the origin cannot serve it now; look at the origin if this stays"),
        (300..=399, _) => (Cause::Redirect, "not a redirect that is followed; write the URI of the file itself"),
        _ => (Cause::OriginRefused, "not the package; look at the origin"),
    }
}

/// Whether an answer says that the origin cannot serve now.
pub fn is_busy(status: StatusCode) -> bool {
    judge(status, false).0 == Cause::OriginBusy
}

fn wait(headers: &HeaderMap) -> Option<u64> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    retry_after::seconds(text(RETRY_AFTER)?, text(DATE), SystemTime::now())
}

/// Not a single byte came for so long.
pub fn stalled(url: &Url, limit: Duration) -> Failed {
    let (url, seconds) = (Shown(url), limit.as_secs_f32());
    let detail = format!(
        "{url} sent nothing for {seconds} s: look at the network and the origin if this stays"
    );
    Failure::new(Cause::Timeout, detail).into()
}

/// So few bytes came in so long.
pub fn dripped(url: &Url, came: u64, took: Duration) -> Failed {
    let (url, seconds) = (Shown(url), took.as_secs_f32());
    let detail = format!(
        "{url} sent only {came} bytes in {seconds:.0} s: look at the network and the origin if this stays"
    );
    Failure::new(Cause::Timeout, detail).into()
}

/// The exchange with the origin broke.
pub fn of_exchange(url: &Url, error: &reqwest::Error) -> Failed {
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

/// OpenSSL says `error:CODE:library:function:reason:file:line:`, then, of a certificate, `(why)`.
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

/// The error of this type among the sources.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    sources(error).find_map(|source| source.downcast_ref())
}

fn innermost(error: &reqwest::Error) -> String {
    sources(error)
        .skip(1)
        .last()
        .map_or_else(|| "no answer in HTTP".into(), ToString::to_string)
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
    fn a_name_that_does_not_exist_is_told_from_dns_that_is_down() {
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
