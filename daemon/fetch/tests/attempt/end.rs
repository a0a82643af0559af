//! The end of the process, and starts without a valid request.

use std::{fs::File, os::fd::OwnedFd, process::Stdio};

use tempfile::NamedTempFile;
use wharf_frames::{Cause, MAX_FRAME, encode, fetch::FetchEvent};

use crate::support::{
    origin::{Origin, fall_silent, head, nothing},
    package,
    program::{Fetch, program},
    request,
};

/// An origin that sends 12 MiB of 20, and then nothing.
fn halting() -> Origin {
    let bytes = package(12 << 20);
    Origin::http(move |asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            head(to, "200 OK", &[("ETag", "\"1\"")], 20 << 20);
            let _ = to.write_all(&bytes);
            fall_silent(to);
        }
    })
}

fn write_only(staged: &NamedTempFile) -> OwnedFd {
    File::options()
        .write(true)
        .open(staged.path())
        .unwrap()
        .into()
}

#[test]
fn ends_when_its_socket_closes() {
    let origin = halting();
    let fetch = Fetch::start(&request(&origin.uri("/p.deb")));
    fetch.wait_for_durable();
    assert!(fetch.close().success());
}

#[test]
fn reports_durable_bytes_to_a_side_that_only_stopped_sending() {
    let origin = halting();
    let fetch = Fetch::start(&request(&origin.uri("/p.deb")));
    let first = fetch.wait_for_durable();
    fetch.stop();
    let last = fetch.wait_for_durable();
    assert!((first..=12 << 20).contains(&last), "{last} after {first}");
    assert_eq!(fetch.next(), None);
    assert!(
        fetch
            .staged()
            .starts_with(&package(12 << 20)[..last as usize])
    );
}

#[test]
fn ends_when_the_socket_closes_without_a_request() {
    let fetch = Fetch::start_idle(program(), NamedTempFile::new().unwrap());
    assert!(!fetch.close().success());
}

#[test]
fn an_invalid_request_ends_it_with_the_reason() {
    let whole = encode(&request("http://localhost/")).unwrap();
    let staged = NamedTempFile::new().unwrap();
    let file = || write_only(&staged);
    for (packet, descriptors, words) in [
        (&b"\xff"[..], vec![file()], "the request is invalid"),
        (
            &whole[..whole.len() - 1],
            vec![file()],
            "the request is invalid",
        ),
        (&[&whole[..], b"\0"].concat(), vec![file()], "after the end"),
        (&vec![0; MAX_FRAME + 1], vec![file()], "at most"),
        (&whole, vec![], "has none"),
        (&whole, vec![file(), file()], "has several"),
        (&whole, (0..100).map(|_| file()).collect(), "has several"),
    ] {
        let fetch = Fetch::start_idle(program(), NamedTempFile::new().unwrap());
        fetch.send(packet, &descriptors);
        let ended = fetch.ended();
        assert_eq!(ended.events, [], "{words}");
        assert!(
            ended.stderr.contains(words),
            "expected {words:?}, got {:?}",
            ended.stderr
        );
    }
}

#[test]
fn a_descriptor_that_is_not_a_write_only_file_is_rejected() {
    let staged = NamedTempFile::new().unwrap();
    let reading = File::open(staged.path()).unwrap();
    let (_pipe, end) = nix::unistd::pipe().unwrap();
    for descriptor in [reading.into(), end] {
        let fetch = Fetch::start_idle(program(), NamedTempFile::new().unwrap());
        fetch.send(
            &encode(&request("http://localhost/")).unwrap(),
            &[descriptor],
        );
        assert_eq!(fetch.ended().failure().cause, Cause::Unavailable);
    }
}

#[test]
fn the_descriptor_is_closed_before_the_last_event() {
    let origin =
        Origin::http(|asked, to| crate::support::origin::serve_package(b"x", "\"1\"", asked, to));
    let fetch = Fetch::start(&request(&origin.uri("/p.deb")));
    while !matches!(fetch.next(), Some(FetchEvent::Complete { .. })) {}
    assert!(!fetch.holds_the_file());
}

#[test]
fn a_start_by_a_person_names_the_program_that_starts_it() {
    let output = program().stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && stderr.contains("wharfd starts this program"),
        "{stderr}"
    );
}
