//! Redirects, and the origins that get User Name and Password.

use wharf_frames::Cause;

use crate::support::{
    as_user,
    origin::{Origin, answer, nothing, serve_package},
    program::Fetch,
    request,
};

/// An origin that redirects `/p.deb` to `location`, and serves every other path.
fn redirects_to(location: String) -> Origin {
    Origin::http(move |asked, to| match asked.target.as_str() {
        "/p.deb" => answer(to, "302 Found", &[("Location", &location)], b"go there"),
        _ => serve_package(b"behind it", "\"1\"", asked, to),
    })
}

#[test]
fn follows_within_the_origin_with_user_name_and_password() {
    let origin = redirects_to("/pool/p.deb?token=1".into());
    let ended = Fetch::start(&as_user("u", "p", request(&origin.uri("/p.deb")))).ended();
    assert_eq!(ended.complete(), b"behind it");
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| asked.field("authorization").is_some())
    );
}

#[test]
fn follows_to_another_origin_without_user_name_and_password() {
    let other = Origin::http(|asked, to| serve_package(b"elsewhere", "\"1\"", asked, to));
    let origin = redirects_to(other.uri("/x"));
    let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert_eq!(ended.complete(), b"elsewhere");
}

#[test]
fn another_origin_never_sees_user_name_and_password() {
    let other = Origin::http(|asked, to| serve_package(b"elsewhere", "\"1\"", asked, to));
    let origin = redirects_to(other.uri("/x?hunter2"));
    let ended = Fetch::start(&as_user("u", "hunter2", request(&origin.uri("/p.deb")))).ended();
    let failure = ended.failure();
    assert_eq!(failure.cause, Cause::Redirect, "{failure}");
    let detail = failure.detail.as_str();
    assert!(
        detail.contains(&other.uri("/x")) && detail.contains("User Name and Password"),
        "{detail}"
    );
    assert!(!detail.contains("hunter2"), "{detail}");
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[test]
fn the_sixth_redirect_is_one_too_many() {
    let origin = Origin::http(|asked, to| {
        if asked.is_for_signature() {
            return nothing(to);
        }
        let hops: u32 = asked.target[1..].parse().unwrap();
        match hops {
            0 => answer(to, "200 OK", &[], b"arrived"),
            _ => answer(
                to,
                "307 Temporary Redirect",
                &[("Location", &format!("/{}", hops - 1))],
                b"",
            ),
        }
    });
    assert_eq!(
        Fetch::start(&request(&origin.uri("/5"))).ended().complete(),
        b"arrived"
    );
    let ended = Fetch::start(&request(&origin.uri("/6"))).ended();
    assert_eq!(
        ended.failure().cause,
        Cause::Redirect,
        "{}",
        ended.failure()
    );
}

#[test]
fn a_redirect_without_a_valid_location_is_rejected() {
    for location in ["", "ftp://127.0.0.1/p.deb", "http://u:p@127.0.0.1/p.deb"] {
        let origin = Origin::http(
            move |asked, to| match (asked.is_for_signature(), location) {
                (true, _) => nothing(to),
                (false, "") => answer(to, "301 Moved Permanently", &[], b""),
                (false, location) => {
                    answer(to, "301 Moved Permanently", &[("Location", location)], b"")
                }
            },
        );
        let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
        assert_eq!(
            ended.failure().cause,
            Cause::Redirect,
            "{location}: {}",
            ended.failure()
        );
    }
}
