//! Only the origin sees User Name, Password and a presigned URI.

use wharf_frames::fetch::FetchEvent;
use wharf_uri::PackageUri;

use crate::support::{
    as_user,
    origin::{Origin, fall_silent, head, nothing, serve_package},
    program::Fetch,
    request,
};

#[test]
fn each_spelling_of_a_host_is_asked_at_the_origin_that_wharfd_judges() {
    let origin = Origin::http(|asked, to| serve_package(b"package", "\"1\"", asked, to));
    let plain = origin.uri("/p.deb");
    for host in [
        "127.1",
        "0x7f000001",
        "2130706433",
        "%3127.0.0.1",
        "LOCALHOST",
    ] {
        let uri = plain.replace("127.0.0.1", host);
        let judged = PackageUri::parse(uri.as_bytes()).unwrap().origin();
        let ended = Fetch::start(&as_user("u", "p", request(&uri))).ended();
        assert_eq!(ended.complete(), b"package", "{uri}");
        let asked = origin.asked().pop().unwrap();
        let host = asked.field("host").unwrap();
        assert_eq!(format!("http://{host}"), judged.to_string(), "{uri}");
        assert!(asked.field("authorization").is_some(), "{uri}");
    }
}

#[test]
fn nothing_of_them_is_in_proc_on_stderr_or_in_an_event() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            head(to, "200 OK", &[("ETag", "\"1\"")], 10);
            to.write_all(b"01234").unwrap();
            fall_silent(to);
        }
    });
    let request = as_user(
        "hunter1",
        "hunter2",
        request(&origin.uri("/p.deb?hunter3#hunter4")),
    );
    let fetch = Fetch::start(&request);
    let started = fetch.next().unwrap();
    assert!(matches!(started, FetchEvent::Started { .. }), "{started:?}");

    let proc = format!("/proc/{}", fetch.pid());
    for file in ["cmdline", "environ", "comm", "status"] {
        let shown = std::fs::read(format!("{proc}/{file}")).unwrap();
        assert!(
            !String::from_utf8_lossy(&shown).contains("hunter"),
            "{file}"
        );
    }
    fetch.stop();
    let ended = fetch.ended();
    assert_eq!(ended.stderr, "");
    assert!(
        !format!("{:?}", ended.events).contains("hunter"),
        "{:?}",
        ended.events
    );
}

#[test]
fn the_process_gains_no_privilege_and_leaves_no_core() {
    let fetch = Fetch::start_idle(
        crate::support::program::program(),
        tempfile::NamedTempFile::new().unwrap(),
    );
    let origin = Origin::http(|_, to| fall_silent(to));
    fetch.ask(&request(&origin.uri("/p.deb")));
    origin.wait_until_asked();

    let read = |file| std::fs::read_to_string(format!("/proc/{}/{file}", fetch.pid())).unwrap();
    assert!(
        read("status").contains("NoNewPrivs:\t1"),
        "{}",
        read("status")
    );
    let limits = read("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}
