//! Resuming after an earlier attempt.

use std::sync::atomic::{AtomicBool, Ordering};

use wharf_frames::{
    Cause,
    fetch::{FetchEvent, FetchRequest, Resume, Validator},
};

use crate::support::{
    origin::{Origin, answer, fall_silent, head, nothing, serve_package},
    package,
    program::{Ended, Fetch},
    request, resumed,
};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn validators(ended: &Ended) -> Vec<Option<Validator>> {
    let started = ended.events.iter().filter_map(|event| match event {
        FetchEvent::Started { validator, .. } => Some(validator.clone()),
        _ => None,
    });
    started.collect()
}

#[test]
fn resumes_a_cut_download_with_the_missing_bytes() {
    let bytes = package(300_000);
    let (served, cut) = (bytes.clone(), AtomicBool::new(false));
    let origin = Origin::http(move |asked, to| {
        if asked.is_for_signature() || cut.swap(true, Ordering::SeqCst) {
            return serve_package(&served, "\"1\"", asked, to);
        }
        head(to, "200 OK", &[("ETag", "\"1\"")], served.len());
        to.write_all(&served[..100_000]).unwrap();
    });

    let first = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert_eq!(
        first.failure().cause,
        Cause::Connection,
        "{}",
        first.failure()
    );
    assert_eq!(first.durable(), Some(100_000));
    assert_eq!(first.staged, &bytes[..100_000]);

    let again = resumed(100_000, "\"1\"", request(&origin.uri("/p.deb")));
    let second = Fetch::start_after(&first.staged, &again).ended();
    assert!(second.complete() == bytes, "other bytes than the origin's");
    assert_eq!(second.started_at(), Some(100_000));
    let asked = origin.packages_asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1].field("range"), Some("bytes=100000-"));
    assert_eq!(asked[1].field("if-range"), Some("\"1\""));
}

#[test]
fn resumes_after_the_last_durable_byte_after_a_kill() {
    let bytes = package(20 << 20);
    let (served, held) = (bytes.clone(), AtomicBool::new(false));
    let origin = Origin::http(move |asked, to| {
        if asked.is_for_signature() || held.swap(true, Ordering::SeqCst) {
            return serve_package(&served, "\"1\"", asked, to);
        }
        head(to, "200 OK", &[("ETag", "\"1\"")], served.len());
        to.write_all(&served[..12 << 20]).unwrap();
        fall_silent(to);
    });

    let fetch = Fetch::start(&request(&origin.uri("/p.deb")));
    let durable = fetch.wait_for_durable() as usize;
    let left = fetch.kill();
    assert!(
        left.len() >= durable,
        "{} bytes left, {durable} were durable",
        left.len()
    );

    let again = resumed(durable, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(&left, &again).ended();
    assert!(ended.complete() == bytes, "other bytes than the origin's");
    assert_eq!(ended.started_at(), Some(durable as u64));
}

#[test]
fn starts_over_when_the_origin_has_other_bytes_now() {
    let origin = Origin::http(|asked, to| serve_package(b"new", "\"2\"", asked, to));
    let again = resumed(5, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"old, and long", &again).ended();
    assert_eq!(ended.complete(), b"new");
    assert_eq!(ended.started_at(), Some(0));
    assert_eq!(validators(&ended), [Some(Validator::ETag("\"2\"".into()))]);
}

#[test]
fn resumes_by_last_modified_without_a_strong_entity_tag() {
    let origin = Origin::http(|asked, to| {
        let fields = [("ETag", "W/\"1\""), ("Last-Modified", DATE)];
        match (asked.is_for_signature(), asked.field("if-range")) {
            (true, _) => nothing(to),
            (false, None) => answer(to, "200 OK", &fields, b"0123456789"),
            (false, Some(DATE)) => {
                let range = ("Content-Range", "bytes 4-9/10");
                answer(
                    to,
                    "206 Partial Content",
                    &[fields[0], fields[1], range],
                    b"456789",
                );
            }
            (false, Some(other)) => panic!("If-Range: {other}"),
        }
    });
    let date = Validator::LastModified(DATE.into());
    let first = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert_eq!(validators(&first), [Some(date.clone())]);

    let resume = Some(Resume {
        offset: 4,
        validator: date.clone(),
    });
    let again = FetchRequest {
        resume,
        ..request(&origin.uri("/p.deb"))
    };
    let second = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(second.complete(), b"0123456789");
    assert_eq!(validators(&second), [Some(date)]);
}

#[test]
fn without_a_validator_no_byte_is_kept() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            head(to, "200 OK", &[("ETag", "W/\"weak\"")], 10);
            to.write_all(b"01234").unwrap();
        }
    });
    let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert_eq!(ended.failure().cause, Cause::Connection);
    assert_eq!((validators(&ended), ended.durable()), (vec![None], Some(0)));
}

#[test]
fn an_origin_without_ranges_sends_it_from_the_start() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => answer(to, "200 OK", &[("ETag", "\"1\"")], b"0123456789"),
    });
    let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(
        (ended.complete(), ended.started_at()),
        (&b"0123456789"[..], Some(0))
    );
    assert_eq!(origin.packages_asked().len(), 1);
}

#[test]
fn a_rejected_or_wrong_range_is_requested_once_more_from_the_start() {
    for (status, range) in [
        ("416 Range Not Satisfiable", "bytes */3"),
        ("416 Range Not Satisfiable", ""),
        ("206 Partial Content", "bytes 3-9/10"),
        ("206 Partial Content", "bytes 5-9/10"),
        ("206 Partial Content", ""),
    ] {
        let origin =
            Origin::http(
                move |asked, to| match (asked.is_for_signature(), asked.first()) {
                    (true, _) => nothing(to),
                    (false, None) => answer(to, "200 OK", &[("ETag", "\"1\"")], b"0123456789"),
                    (false, Some(_)) => answer(to, status, &[("Content-Range", range)], b"xxxxx"),
                },
            );
        let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
        let ended = Fetch::start_after(b"0123", &again).ended();
        assert_eq!(ended.complete(), b"0123456789", "{status} {range}");
        assert_eq!(ended.started_at(), Some(0), "{status} {range}");
        assert_eq!(origin.packages_asked().len(), 2, "{status} {range}");
    }
}

#[test]
fn an_origin_that_answers_every_request_with_416_is_not_asked_without_end() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => answer(to, "416 Range Not Satisfiable", &[], b""),
    });
    let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(ended.failure().cause, Cause::OriginRefused);
    assert_eq!(origin.packages_asked().len(), 2);
}

#[test]
fn a_complete_package_is_not_fetched_again() {
    let origin = Origin::http(|asked, to| serve_package(b"0123", "\"1\"", asked, to));
    let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(
        (ended.complete(), ended.started_at()),
        (&b"0123"[..], Some(4))
    );
}

#[test]
fn a_failure_before_the_first_byte_keeps_earlier_bytes() {
    let origin = Origin::http(|_, to| answer(to, "503 Service Unavailable", &[], b""));
    let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(ended.failure().cause, Cause::OriginBusy);
    assert_eq!((ended.durable(), &*ended.staged), (Some(4), &b"0123"[..]));
}

#[test]
fn a_part_that_ends_too_early_is_a_cut() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            let fields = [("ETag", "\"1\""), ("Content-Range", "bytes 4-5/10")];
            answer(to, "206 Partial Content", &fields, b"45");
        }
    });
    let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(
        (ended.failure().cause, ended.durable()),
        (Cause::Connection, Some(6))
    );
}

#[test]
fn a_part_that_is_longer_than_the_whole_has_the_wrong_length() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            let fields = [("ETag", "\"1\""), ("Content-Range", "bytes 4-5/6")];
            answer(to, "206 Partial Content", &fields, b"456789");
        }
    });
    let again = resumed(4, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(b"0123", &again).ended();
    assert_eq!(
        ended.failure().cause,
        Cause::WrongDigest,
        "{}",
        ended.failure()
    );
}
