//! TLS: trusted certificates, and the errors for others.

use wharf_frames::Cause;

use crate::support::{
    as_user,
    authority::Authority,
    origin::{Origin, answer, nothing, serve_package},
    program::{Fetch, program},
    request,
};

fn of_package(authority: &Authority, host: &str, days_ago: i64) -> Origin {
    Origin::https(authority.issue(host, days_ago), |asked, to| {
        serve_package(b"over TLS", "\"1\"", asked, to);
    })
}

#[track_caller]
fn fails_with(authority: &Authority, origin: &Origin, words: &str) {
    let request = as_user(
        "u",
        "hunter2",
        request(&origin.uri_by_name("/p.deb?hunter2")),
    );
    let ended = Fetch::start_trusting(authority.file(), &request).ended();
    let failure = ended.failure();
    assert_eq!(failure.cause, Cause::Tls, "{failure}");
    let detail = failure.detail.as_str();
    assert!(detail.contains(words), "expected {words:?}, got {detail:?}");
    assert!(!detail.contains("hunter2"), "{detail}");
    assert!(origin.asked().is_empty(), "something was sent");
}

#[test]
fn fetches_from_an_origin_whose_ca_this_device_trusts() {
    let authority = Authority::new();
    let origin = of_package(&authority, "localhost", 0);
    let request = as_user("u", "p", request(&origin.uri_by_name("/p.deb")));
    let ended = Fetch::start_trusting(authority.file(), &request).ended();
    assert_eq!(ended.complete(), b"over TLS");
}

#[test]
fn a_folder_of_hashed_links_is_enough_to_trust() {
    let authority = Authority::new();
    let folder = authority.folder();
    let origin = of_package(&authority, "localhost", 0);
    let mut command = program();
    command
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", folder.path());
    let request = request(&origin.uri_by_name("/p.deb"));
    assert_eq!(
        Fetch::start_as(command, b"", &request).ended().complete(),
        b"over TLS"
    );
}

#[test]
fn a_ca_that_is_not_known_says_how_to_add_it() {
    let origin = of_package(&Authority::new(), "localhost", 0);
    fails_with(&Authority::new(), &origin, "update-ca-certificates");
}

#[test]
fn an_expired_certificate_says_so() {
    let authority = Authority::new();
    fails_with(
        &authority,
        &of_package(&authority, "localhost", 500),
        "certificate has expired: renew",
    );
}

#[test]
fn a_certificate_from_the_future_asks_for_the_clock() {
    let authority = Authority::new();
    fails_with(
        &authority,
        &of_package(&authority, "localhost", -5),
        "clock right?",
    );
}

#[test]
fn a_certificate_of_another_name_says_so() {
    let authority = Authority::new();
    fails_with(
        &authority,
        &of_package(&authority, "other.example.org", 0),
        "another name",
    );
}

#[test]
fn an_origin_that_speaks_no_tls_says_so() {
    let plain = Origin::http(|_, to| answer(to, "400 Bad Request", &[], b"this is http"));
    let uri = plain.uri_by_name("/p.deb").replace("http://", "https://");
    let ended = Fetch::start(&request(&uri)).ended();
    let failure = ended.failure();
    assert_eq!(failure.cause, Cause::Tls, "{failure}");
    assert!(failure.detail.as_str().contains("speak TLS"), "{failure}");
}

#[test]
fn goes_up_from_http_to_https_and_never_down() {
    let authority = Authority::new();
    let secure = of_package(&authority, "localhost", 0);
    let up = secure.uri_by_name("/p.deb");
    let plain = Origin::http(move |asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => answer(to, "301 Moved Permanently", &[("Location", &up)], b""),
    });
    let ended = Fetch::start_trusting(authority.file(), &request(&plain.uri("/p.deb"))).ended();
    assert_eq!(ended.complete(), b"over TLS");

    let down = plain.uri("/p.deb");
    let secure = Origin::https(
        authority.issue("localhost", 0),
        move |asked, to| match asked.is_for_signature() {
            true => nothing(to),
            false => answer(to, "301 Moved Permanently", &[("Location", &down)], b""),
        },
    );
    let request = request(&secure.uri_by_name("/p.deb"));
    let ended = Fetch::start_trusting(authority.file(), &request).ended();
    let failure = ended.failure();
    assert_eq!(failure.cause, Cause::Redirect, "{failure}");
    assert!(
        failure.detail.as_str().contains("no longer TLS"),
        "{failure}"
    );
    assert_eq!(plain.packages_asked().len(), 1, "asked in the clear");
}
