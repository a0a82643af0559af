use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use wharf_tests::{
    folder::Folder,
    origin::{Fault, Origin, ValidatorKind},
    package::incompressible,
};

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .output()
        .unwrap()
}

/// The content after a download that was cut at `at` is continued by `curl -C -`.
fn continued(origin: &Origin, uri: &str, path: &str, at: usize) -> Vec<u8> {
    let folder = Folder::new();
    let file = folder.join("file");
    let file = file.to_str().unwrap();
    origin.fault(path, Fault::CutAfter(at));
    let cut = curl(&["-o", file, uri]);
    assert_eq!(cut.status.code(), Some(18), "curl says: partial file");
    assert_eq!(fs::read(file).unwrap().len(), at);
    assert!(curl(&["-C", "-", "-o", file, uri]).status.success());
    fs::read(file).unwrap()
}

#[test]
fn a_cut_download_is_continued_by_range() {
    let origin = Origin::http();
    let content = incompressible(300_000);
    for validator in [
        ValidatorKind::ETag,
        ValidatorKind::LastModified("Wed, 01 Jan 2025 00:00:00 GMT".to_owned()),
    ] {
        let uri = origin.serve_with("/a.deb", content.clone(), validator);
        assert!(continued(&origin, &uri, "/a.deb", 100_000) == content);
    }
    let statuses: Vec<u16> = origin
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [200, 206, 200, 206]);
    let range = origin.requests()[1].fields.get("range").cloned();
    assert_eq!(range.as_deref(), Some("bytes=100000-"));
    assert_eq!(origin.sent(), 600_000, "nothing was sent twice");
}

#[test]
fn if_range_of_changed_content_gives_the_whole() {
    let origin = Origin::http();
    let uri = origin.serve("/a.deb", "old");
    let head = String::from_utf8(curl(&["-I", &uri]).stdout).unwrap();
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("ETag: "))
        .unwrap();
    origin.serve("/a.deb", "newer");
    let had = format!("If-Range: {tag}");
    let answer = curl(&["-i", "-r", "1-", "-H", &had, &uri]).stdout;
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("newer"),
        "{answer}"
    );
}

#[test]
fn asks_for_user_and_password() {
    let origin = Origin::http();
    origin.require("gateway", "s3cret");
    let uri = origin.serve("/a.deb", "content");
    for (user, status) in [("gateway:wrong", "401"), ("gateway:s3cret", "200")] {
        let answer = curl(&["-o", "/dev/null", "-w", "%{http_code}", "-u", user, &uri]);
        assert_eq!(String::from_utf8_lossy(&answer.stdout), status, "{user}");
    }
}

#[test]
fn each_fault_comes_once_and_in_order() {
    let origin = Origin::http();
    let uri = origin.serve("/a.deb", "content");
    let target = origin.serve("/b.deb", "elsewhere");
    origin.fault("/a.deb", Fault::Unavailable(Some(7)));
    origin.fault("/a.deb", Fault::Redirect(target.clone()));
    origin.fault("/a.deb", Fault::Status(410));
    origin.fault("/a.deb", Fault::LengthTooLarge(5));
    origin.fault("/a.deb", Fault::RangeIgnored);
    let form = "%{http_code} %header{retry-after} %{redirect_url}";
    let told = || String::from_utf8(curl(&["-o", "/dev/null", "-w", form, &uri]).stdout).unwrap();
    assert_eq!(told(), "503 7 ");
    assert_eq!(told(), format!("302  {target}"));
    assert_eq!(told(), "410  ");
    assert_eq!(
        curl(&["-o", "/dev/null", &uri]).status.code(),
        Some(18),
        "a body too short"
    );
    let ranged = curl(&["-r", "3-", &uri]);
    assert_eq!(String::from_utf8_lossy(&ranged.stdout), "content");
    assert_eq!(
        String::from_utf8_lossy(&curl(&["-r", "3-", &uri]).stdout),
        "tent"
    );
    let missing = curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &origin.uri("/none"),
    ]);
    assert_eq!(String::from_utf8_lossy(&missing.stdout), "404");
}

#[test]
fn a_stalled_answer_goes_on_when_released() {
    let origin = Origin::http();
    let content = incompressible(50_000);
    let uri = origin.serve("/a.deb", content.clone());
    origin.fault("/a.deb", Fault::StallAfter(20_000));
    std::thread::scope(|scope| {
        let download = scope.spawn(|| curl(&[&uri]).stdout);
        origin.wait_for_stall();
        assert_eq!(origin.sent(), 20_000);
        origin.release();
        assert!(download.join().unwrap() == content);
    });
}

#[test]
fn https_is_trusted_by_its_authority_alone() {
    let origin = Origin::https();
    let uri = origin.serve("/a.deb", "content");
    let folder = Folder::new();
    let authority: PathBuf = folder.join("ca.pem");
    fs::write(&authority, origin.authority()).unwrap();
    let trusted = curl(&["--cacert", authority.to_str().unwrap(), &uri]);
    assert_eq!(
        String::from_utf8_lossy(&trusted.stdout),
        "content",
        "{trusted:?}"
    );
    assert_eq!(
        curl(&[&uri]).status.code(),
        Some(60),
        "curl says: not trusted"
    );
}
