//! Errors of the origin and of the connection to it.

use std::{net::TcpListener, thread, time::Duration};

use wharf_frames::{
    Cause,
    fetch::{FetchEvent, FetchRequest, FetchTimeouts},
};

use crate::support::{
    as_user,
    origin::{Origin, answer, fall_silent, head, nothing},
    program::Fetch,
    request,
};

fn answers(status: &'static str) -> Origin {
    Origin::http(move |asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => answer(to, status, &[], b"<html>"),
    })
}

#[test]
fn each_status_ends_with_its_cause_and_nothing_written() {
    for (status, cause) in [
        ("401 Unauthorized", Cause::Unauthorised),
        ("403 Forbidden", Cause::Unauthorised),
        ("407 Proxy Authentication Required", Cause::Unauthorised),
        ("404 Not Found", Cause::NotFound),
        ("410 Gone", Cause::NotFound),
        ("408 Request Timeout", Cause::OriginBusy),
        ("429 Too Many Requests", Cause::OriginBusy),
        ("500 Internal Server Error", Cause::OriginBusy),
        ("503 Service Unavailable", Cause::OriginBusy),
        ("418 I'm a teapot", Cause::OriginRefused),
        ("204 No Content", Cause::OriginRefused),
        ("206 Partial Content", Cause::OriginRefused),
        ("304 Not Modified", Cause::Redirect),
    ] {
        let origin = answers(status);
        let ended = Fetch::start(&request(&origin.uri("/p.deb?hunter2"))).ended();
        let failure = ended.failure();
        assert_eq!(failure.cause, cause, "{status}: {failure}");
        assert!(
            failure
                .detail
                .as_str()
                .starts_with(&origin.uri("/p.deb answered ")),
            "{failure}"
        );
        assert!(!failure.detail.as_str().contains("hunter2"), "{failure}");
        assert_eq!(
            (ended.staged.len(), ended.started_at()),
            (0, None),
            "{status}"
        );
    }
}

#[test]
fn a_401_tells_missing_from_wrong_credentials() {
    let origin = answers("401 Unauthorized");
    let without = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert!(
        without
            .failure()
            .detail
            .as_str()
            .ends_with("write User Name and Password")
    );
    let with = Fetch::start(&as_user("u", "hunter2", request(&origin.uri("/p.deb")))).ended();
    let detail = with.failure().detail.as_str();
    assert!(
        detail.contains("Password is wrong") && !detail.contains("hunter2"),
        "{detail}"
    );
}

#[test]
fn passes_on_the_retry_after_of_a_busy_origin() {
    for (value, expected) in [
        ("120", Some(120)),
        ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
        ("soon", None),
    ] {
        let origin = Origin::http(move |asked, to| {
            let fields = [
                ("Retry-After", value),
                ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ];
            match asked.is_for_signature() {
                true => nothing(to),
                false => answer(to, "503 Service Unavailable", &fields, b""),
            }
        });
        match Fetch::start(&request(&origin.uri("/p.deb")))
            .ended()
            .events
            .last()
        {
            Some(FetchEvent::Failed { retry_after, .. }) => {
                assert_eq!(*retry_after, expected, "{value}")
            }
            other => panic!("expected a failure, got {other:?}"),
        }
    }
}

#[test]
fn a_stall_ends_as_timeout_and_keeps_what_came() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            head(to, "200 OK", &[("ETag", "\"1\"")], 10);
            to.write_all(b"01234").unwrap();
            fall_silent(to);
        }
    });
    let limits = FetchTimeouts {
        connect_ms: 30_000,
        stall_ms: 200,
    };
    let ended = Fetch::start(&FetchRequest {
        limits,
        ..request(&origin.uri("/p.deb"))
    })
    .ended();
    assert_eq!(ended.failure().cause, Cause::Timeout, "{}", ended.failure());
    assert_eq!((ended.durable(), &*ended.staged), (Some(5), &b"01234"[..]));
}

#[test]
fn an_origin_that_drips_ends_as_timeout_and_keeps_what_came() {
    for drips_in_signature in [true, false] {
        let origin = Origin::http(move |asked, to| {
            if asked.is_for_signature() != drips_in_signature {
                return nothing(to);
            }
            head(to, "200 OK", &[("ETag", "\"1\"")], 60_000);
            while to.write_all(b"-").and_then(|()| to.flush()).is_ok() {
                thread::sleep(Duration::from_millis(2));
            }
        });
        let limits = FetchTimeouts {
            connect_ms: 30_000,
            stall_ms: 400,
        };
        let ended = Fetch::start(&FetchRequest {
            limits,
            ..request(&origin.uri("/p.deb"))
        })
        .ended();
        let failure = ended.failure();
        assert_eq!(failure.cause, Cause::Timeout, "{failure}");
        assert!(failure.detail.as_str().contains("sent only"), "{failure}");
        assert_eq!(ended.durable(), Some(ended.staged.len() as u64));
        assert_eq!(ended.staged.is_empty(), drips_in_signature);
    }
}

#[test]
fn an_origin_that_never_answers_ends_as_timeout() {
    let origin = Origin::http(|_, to| fall_silent(to));
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

#[test]
fn an_origin_that_refuses_the_connection_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/p.deb", listener.local_addr().unwrap());
    drop(listener);
    let ended = Fetch::start(&request(&uri)).ended();
    let failure = ended.failure();
    assert_eq!(failure.cause, Cause::Connection, "{failure}");
    assert!(
        failure.detail.as_str().contains("refuses the connection"),
        "{failure}"
    );
}

#[test]
fn an_answer_that_is_not_http_is_a_failed_connection() {
    let origin = Origin::http(|_, to| to.write_all(b"220 smtp.example.org ESMTP\r\n").unwrap());
    let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert_eq!(
        ended.failure().cause,
        Cause::Connection,
        "{}",
        ended.failure()
    );
}

#[test]
fn an_invalid_uri_has_its_own_cause() {
    for (uri, cause) in [
        ("", Cause::UriMalformed),
        ("https://u:hunter2@localhost/p.deb", Cause::UriMalformed),
        ("coap://localhost/p.deb", Cause::UriScheme),
    ] {
        let ended = Fetch::start(&request(uri)).ended();
        assert_eq!(ended.failure().cause, cause, "{uri}: {}", ended.failure());
        assert!(!ended.failure().to_string().contains("hunter2"));
    }
}

#[test]
fn a_name_that_does_not_resolve_shows_no_query() {
    // A machine without DNS cannot know that the name does not exist (RFC 2606 2).
    let ended = Fetch::start(&request("http://origin.invalid/p.deb?hunter2")).ended();
    let failure = ended.failure();
    assert!(
        matches!(failure.cause, Cause::HostUnknown | Cause::Connection),
        "{failure:?}"
    );
    assert!(
        failure
            .detail
            .as_str()
            .starts_with("http://origin.invalid/p.deb.asc names a host"),
        "{failure}"
    );
}

#[test]
fn credentials_that_do_not_fit_a_header_are_rejected_before_a_request() {
    let origin = answers("200 OK");
    for (user_name, password) in [("a:b", "p"), ("a\n", "p"), ("a", "p\r\nX: y")] {
        let ended = Fetch::start(&as_user(user_name, password, request(&origin.uri("/p")))).ended();
        assert_eq!(
            ended.failure().cause,
            Cause::Unauthorised,
            "{user_name:?} {password:?}"
        );
    }
    assert!(origin.asked().is_empty());
}
