//! Limits of space: policy, the disk and the process.

use std::{fs::File, process::Command};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use wharf_frames::{Cause, encode, fetch::FetchRequest};

use crate::support::{
    origin::{Origin, nothing, serve_package},
    package,
    program::{Fetch, program},
    request, resumed,
};

fn origin(length: usize) -> Origin {
    let bytes = package(length);
    Origin::http(move |asked, to| serve_package(&bytes, "\"1\"", asked, to))
}

#[test]
fn a_package_that_announces_too_much_is_refused_before_a_byte_is_written() {
    let origin = origin(101);
    let request = FetchRequest {
        max_size: 100,
        ..request(&origin.uri("/p.deb"))
    };
    let ended = Fetch::start(&request).ended();
    assert_eq!(ended.failure().cause, Cause::Quota, "{}", ended.failure());
    assert_eq!((ended.staged.len(), ended.started_at()), (0, None));
}

#[test]
fn a_package_that_announces_nothing_is_cut_off_at_the_limit() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => {
            let _ = to.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            // The body has no end, so that the client must close the connection.
            while to.write_all(&[0; 1 << 16]).is_ok() {}
        }
    });
    let request = FetchRequest {
        max_size: 1 << 20,
        ..request(&origin.uri("/p.deb"))
    };
    let ended = Fetch::start(&request).ended();
    assert_eq!(ended.failure().cause, Cause::Quota, "{}", ended.failure());
    assert!(
        ended.staged.len() <= 1 << 20,
        "{} bytes",
        ended.staged.len()
    );
}

#[test]
fn a_package_of_exactly_the_limit_is_allowed() {
    let origin = origin(100);
    let request = FetchRequest {
        max_size: 100,
        ..request(&origin.uri("/p.deb"))
    };
    assert_eq!(Fetch::start(&request).ended().complete().len(), 100);
}

#[test]
fn a_resumed_package_over_the_limit_is_rejected() {
    let origin = origin(200);
    let request = resumed(50, "\"1\"", request(&origin.uri("/p.deb")));
    let ended = Fetch::start_after(
        &package(50),
        &FetchRequest {
            max_size: 100,
            ..request
        },
    )
    .ended();
    assert_eq!(ended.failure().cause, Cause::Quota, "{}", ended.failure());
}

#[test]
fn a_full_disk_is_reported_and_keeps_the_written_bytes() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tried: only root can mount a small file system");
        return;
    }
    let origin = origin(4 << 20);
    let folder = tempfile::tempdir().unwrap();
    let (tmpfs, options) = (Some("tmpfs"), Some("size=1m"));
    mount(tmpfs, folder.path(), tmpfs, MsFlags::empty(), options).unwrap();
    let full = File::create(folder.path().join("staged"));
    // The disk exists until its last descriptor is closed.
    umount2(folder.path(), MntFlags::MNT_DETACH).unwrap();

    let fetch = Fetch::start_idle(program(), tempfile::NamedTempFile::new().unwrap());
    fetch.send(
        &encode(&request(&origin.uri("/p.deb"))).unwrap(),
        &[full.unwrap().into()],
    );
    let ended = fetch.ended();
    assert_eq!(
        ended.failure().cause,
        Cause::DiskFull,
        "{}",
        ended.failure()
    );
    let durable = ended.durable().unwrap();
    assert!((1..=1 << 20).contains(&durable), "{durable} bytes kept");
}

#[test]
fn a_file_size_limit_is_reported_and_does_not_kill() {
    let origin = origin(1 << 20);
    let mut limited = Command::new("prlimit");
    limited.arg("--fsize=100000").arg(program().get_program());
    let request = request(&origin.uri("/p.deb"));
    let ended = Fetch::start_as(limited, b"", &request).ended();
    assert_eq!(
        ended.failure().cause,
        Cause::DiskFull,
        "{}",
        ended.failure()
    );
}
