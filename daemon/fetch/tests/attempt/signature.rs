//! The detached signature.

use wharf_frames::{
    Cause,
    fetch::{FetchRequest, FetchTimeouts, MAX_SIGNATURE},
};

use crate::support::{
    as_user,
    origin::{Asked, Origin, Stream, answer, fall_silent},
    program::{Ended, Fetch},
    request,
};

const ARMORED: &[u8] = b"-----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----\n";
const BINARY: &[u8] = &[0x88, 4, 4, 0, 22, 8];

/// An origin with a package. The script answers requests for signatures.
fn with(script: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static) -> Origin {
    Origin::http(move |asked, to| match asked.is_for_signature() {
        true => script(asked, to),
        false => answer(to, "200 OK", &[], b"package"),
    })
}

fn fetched(origin: &Origin) -> Ended {
    let ended = Fetch::start(&request(&origin.uri("/p.deb?q"))).ended();
    assert_eq!(ended.complete(), b"package");
    ended
}

fn targets(origin: &Origin) -> Vec<String> {
    origin
        .asked()
        .into_iter()
        .map(|asked| asked.target)
        .collect()
}

#[test]
fn an_armored_signature_comes_before_the_package_and_ends_the_search() {
    let origin = with(|_, to| answer(to, "200 OK", &[], ARMORED));
    assert_eq!(fetched(&origin).signature(), Some(ARMORED));
    assert_eq!(targets(&origin), ["/p.deb.asc?q", "/p.deb?q"]);
}

#[test]
fn a_binary_signature_is_found_under_its_own_name() {
    let origin = with(|asked, to| match asked.target.as_str() {
        "/p.deb.sig?q" => answer(to, "200 OK", &[], BINARY),
        _ => answer(to, "404 Not Found", &[], b""),
    });
    assert_eq!(fetched(&origin).signature(), Some(BINARY));
}

#[test]
fn it_is_asked_for_with_user_name_and_password() {
    let origin = with(|_, to| answer(to, "200 OK", &[], ARMORED));
    Fetch::start(&as_user("u", "p", request(&origin.uri("/p.deb"))))
        .ended()
        .complete();
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| asked.field("authorization").is_some())
    );
}

#[test]
fn a_body_that_is_not_a_signature_counts_as_none() {
    let page = b"<!DOCTYPE html><title>Welcome</title>".to_vec();
    let oversized = [ARMORED, &vec![b'\n'; MAX_SIGNATURE]].concat();
    for (status, body) in [
        ("200 OK", page.clone()),
        ("200 OK", Vec::new()),
        ("200 OK", oversized),
        ("204 No Content", Vec::new()),
        ("302 Found", page.clone()),
        ("400 Bad Request", page.clone()),
        ("401 Unauthorized", page.clone()),
        ("403 Forbidden", page.clone()),
        ("404 Not Found", page),
    ] {
        let length = body.len();
        let origin = with(move |_, to| answer(to, status, &[("Location", "/login")], &body));
        assert_eq!(
            fetched(&origin).signature(),
            None,
            "{status}, {length} bytes"
        );
        assert_eq!(
            targets(&origin),
            ["/p.deb.asc?q", "/p.deb.sig?q", "/p.deb?q"],
            "{status}"
        );
    }
}

#[test]
fn the_longest_signature_is_accepted() {
    let longest = [ARMORED, &vec![b'\n'; MAX_SIGNATURE - ARMORED.len()]].concat();
    let sent = longest.clone();
    let origin = with(move |_, to| answer(to, "200 OK", &[], &sent));
    assert_eq!(fetched(&origin).signature(), Some(&*longest));
}

#[test]
fn an_origin_that_is_busy_fails_the_attempt_instead_of_looking_unsigned() {
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "429 Too Many Requests",
    ] {
        let origin = with(move |_, to| answer(to, status, &[], b""));
        let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
        assert_eq!(
            ended.failure().cause,
            Cause::OriginBusy,
            "{}",
            ended.failure()
        );
        assert!(origin.packages_asked().is_empty(), "{status}");
    }
}

#[test]
fn an_origin_that_falls_silent_fails_the_attempt_instead_of_looking_unsigned() {
    let origin = with(|_, to| fall_silent(to));
    let limits = FetchTimeouts {
        connect_ms: 200,
        stall_ms: 200,
    };
    let ended = Fetch::start(&FetchRequest {
        limits,
        ..request(&origin.uri("/p.deb"))
    })
    .ended();
    assert_eq!(ended.failure().cause, Cause::Timeout, "{}", ended.failure());
}
