//! Cuts, restarts and kills: the work that resumes, and the values that a server reads.

use std::{fs, net::TcpListener};

use nix::sys::signal::Signal;
use wharf_tests::{
    gateway::Gateway,
    origin::{Fault, Origin, ValidatorKind},
    package::{Package, Script},
    waiting::wait_until,
};

use crate::stage_set::{StageSet, small_disk};

const LARGE: usize = 20 << 20;

/// A large package at the origin; its URI and its path there.
fn publish_large(set: &StageSet) -> (String, String) {
    let uri = set.publish(&Package::new("large", "1.0.1").padding(LARGE));
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    (uri, path)
}

#[test]
fn a_cut_download_goes_on_by_range() {
    let set = StageSet::simulated();
    let (uri, path) = publish_large(&set);
    set.origin.fault(&path, Fault::CutAfter(12 << 20));
    set.order(&uri);
    set.wait_for("3/0");
    let requests = set.origin.wait_for_requests(&path, 2);
    let range = requests[1].fields.get("range").cloned().unwrap_or_default();
    assert!(
        range.starts_with("bytes=") && range != "bytes=0-",
        "{range:?}"
    );
    assert!(
        set.origin.sent() < LARGE + (13 << 20),
        "{} bytes were sent",
        set.origin.sent()
    );
}

#[test]
fn a_download_goes_on_after_an_orderly_restart_of_wharfd() {
    let mut set = StageSet::simulated();
    let (uri, path) = publish_large(&set);
    set.origin.fault(&path, Fault::StallAfter(3 << 20));
    set.order(&uri);
    set.origin.wait_for_stall();
    wait_until("bytes in the staged file", || staged(&set, 1 << 20));
    set.gateway.daemon().terminate();
    set.start_daemon_again();
    set.wait_for("3/0");
    let requests = set.origin.wait_for_requests(&path, 2);
    assert!(
        requests[1].fields.contains_key("range"),
        "{:?}",
        requests[1]
    );
}

#[test]
fn a_download_goes_on_after_wharfd_is_killed() {
    let mut set = StageSet::simulated();
    let (uri, path) = publish_large(&set);
    set.gateway.daemon().terminate();
    set.start_daemon_again_with(&[("WHARF_FAULT_AT", "pull.durable=1")]);
    set.order(&uri);
    let status = set.gateway.daemon().wait();
    assert_eq!(status.code(), Some(86), "nothing became durable");
    set.start_daemon_again();
    set.wait_for("3/0");
    let requests = set.origin.wait_for_requests(&path, 2);
    let range = requests[1].fields.get("range").cloned().unwrap_or_default();
    let first: usize = range
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap_or(0);
    assert!(first >= 8 << 20, "the second request was for {range:?}");
}

/// Whether the staged file has this many bytes.
fn staged(set: &StageSet, length: u64) -> Option<()> {
    let staged = set.gateway.path().join("var/lib/wharf-installer/staged");
    let mut lengths = fs::read_dir(staged)
        .ok()?
        .flatten()
        .filter_map(|file| Some(file.metadata().ok()?.len()));
    lengths.any(|found| found >= length).then_some(())
}

#[test]
fn changed_content_at_the_origin_starts_over() {
    let set = StageSet::simulated();
    let (uri, path) = publish_large(&set);
    set.origin.fault(&path, Fault::CutAfter(12 << 20));
    set.origin.fault(&path, Fault::RangeIgnored);
    set.order(&uri);
    set.wait_for("3/0");
}

#[test]
fn an_origin_without_validator_is_asked_for_everything_again() {
    let set = StageSet::simulated();
    let (uri, path) = publish_large(&set);
    let content = fs::read(set.folder.join(path.trim_start_matches('/'))).unwrap();
    set.origin.serve_with(&path, content, ValidatorKind::None);
    set.origin.fault(&path, Fault::CutAfter(12 << 20));
    set.order(&uri);
    set.wait_for("3/0");
    let requests = set.origin.wait_for_requests(&path, 2);
    assert!(
        !requests[1].fields.contains_key("range"),
        "{:?}",
        requests[1]
    );
}

#[test]
fn an_origin_that_never_works_ends_52_after_a_bounded_number_of_attempts() {
    let set = StageSet::simulated();
    let (uri, path) = publish_large(&set);
    for _ in 0..20 {
        set.origin.fault(&path, Fault::Unavailable(None));
    }
    set.order(&uri);
    set.wait_for("0/52");
    assert_eq!(set.origin.wait_for_requests(&path, 8).len(), 8);
    assert!(set.client().read_text("/9/0/16").contains("operator"));
}

/// libfaketime(1): the wall clock of a machine that has none of its own, after a power cut.
const NEVER_SET: [(&str, &str); 3] = [
    ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"),
    ("FAKETIME", "1970-01-01 00:00:10"),
    ("DONT_FAKE_MONOTONIC", "1"),
];

#[test]
fn a_download_over_tls_waits_for_the_clock_also_where_it_had_begun() {
    let mut set = StageSet::simulated();
    set.origin = Origin::https(); // of a CA that the gateway does not know: each attempt fails
    set.order(&set.publish(&Package::new("hello", "1.0.1")));
    set.wait_for_reason("waiting for attempt");
    set.gateway.daemon().kill();
    set.start_daemon_again_with(&NEVER_SET);
    set.wait_for_reason("10: waiting for the clock");
    set.wait_for("1/1");
    let lines = set.gateway.daemon().errors();
    lines.wait_for("the clock of this machine is not set");
    let doctor = set
        .gateway
        .command("wharfctl", &NEVER_SET)
        .arg("doctor")
        .output();
    let seen = String::from_utf8(doctor.unwrap().stdout).unwrap();
    assert!(
        seen.contains("FAIL  clock           1970-01-01T00:00:1"),
        "{seen}"
    );
    set.kill_and_start_daemon();
    set.wait_for("0/52");
}

#[test]
fn an_empty_package_is_4_00_and_result_54_is_read_and_told() {
    use wharf_tests::server::format;
    let set = StageSet::simulated();
    set.observe(&[7, 9, 16]);
    let client = set.client();
    let refused = client.push_block("/9/0/2", format::OPAQUE, &[], 512, 0);
    refused.expect("4.00");
    set.expect_story(&["16=20: the Package is empty", "9=54"]);
    set.wait_for("0/54");
}

#[test]
fn a_half_push_found_at_start_is_initial_52() {
    use wharf_tests::server::format;
    let mut set = StageSet::simulated();
    let bytes = vec![7; 4096];
    let client = set.client();
    for number in [0, 1] {
        client
            .push_block("/9/0/2", format::OPAQUE, &bytes, 512, number)
            .expect("2.31");
    }
    set.wait_for("1/1");
    set.kill_and_start_daemon();
    set.wait_for("0/52");
}

#[test]
fn every_readable_resource_reads_the_same_after_a_restart() {
    let mut set = StageSet::simulated();
    set.client()
        .write_text("/9/0/3", "gopher://origin/x")
        .expect("4.00");
    let read = |set: &StageSet| -> Vec<String> {
        let client = set.client();
        let read = [0, 1, 7, 8, 9, 12, 13, 16].map(|id| client.read_text(&format!("/9/0/{id}")));
        read.to_vec()
    };
    let restart = |set: &mut StageSet| {
        let before = read(set);
        set.kill_and_start_daemon();
        assert_eq!(read(set), before);
    };
    restart(&mut set);
    set.client().write_text("/9/0/8", "1").expect("2.04");
    set.client().write_text("/9/0/13", "1:0").expect("2.04");
    set.deliver(&Package::new("hello", "1.0.1"));
    restart(&mut set);
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    restart(&mut set);
    set.client().execute("/9/0/6", "1").expect("2.04");
    set.wait_for("0/0");
    restart(&mut set);
    set.deliver(&Package::new("other", "1.0.1"));
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/57");
    restart(&mut set);
    let told = read(&set);
    assert_eq!(told[..7], ["other", "1.0.1", "3", "1", "57", "0", "1:0"]);
}

#[test]
fn an_install_ends_truly_although_both_daemons_are_killed_in_it() {
    let mut set = StageSet::debian();
    let pause = "mkfifo /pause && cat /pause >/dev/null";
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, pause);
    set.deliver(&package);
    set.client().execute("/9/0/4", "").expect("2.04");
    let fifo = set.gateway.path().join("pause");
    wait_until("the postinst", || fifo.exists().then_some(()));
    set.gateway.daemon().kill();
    set.gateway.installer().kill();
    set.gateway.start_installer(&[]);
    set.start_daemon_again();
    fs::write(&fifo, "go on").unwrap();
    set.wait_for("4/2");
    let installed = set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed.as_deref(), Some("1.0-1"));
}

#[test]
fn software_that_was_removed_by_hand_is_told_at_the_next_start() {
    let mut set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    set.gateway.daemon().terminate();
    let removed = set
        .gateway
        .debian_root()
        .command("/usr/bin/dpkg")
        .args(["-r", "hello"])
        .status();
    assert!(removed.unwrap().success());
    set.start_daemon_again();
    set.wait_for("0/0");
    assert_eq!(set.client().read_text("/9/0/0"), "");
}

#[test]
fn software_that_is_removed_or_installed_by_hand_is_told() {
    let set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    let newer = Package::new("hello", "1.0-2").build(&set.gateway.path().join("tmp"));
    let newer = newer.file_name().unwrap().to_str().unwrap();
    set.observe(&[0, 1, 7, 9, 12, 16]);
    dpkg(&set, &["-i", &format!("/tmp/{newer}")]);
    let upgraded = ["1=1.0-2", "16=40: hello 1.0-2 is installed"];
    set.expect_story(&upgraded);
    dpkg(&set, &["-r", "hello"]);
    let removed = [
        "0=",
        "1=",
        "16=10: hello 1.0-2 was removed on the device",
        "9=0",
        "7=0",
    ];
    set.expect_story(&[upgraded.as_slice(), removed.as_slice()].concat());
}

#[test]
fn software_that_is_damaged_by_hand_is_told_until_it_is_repaired() {
    let set = StageSet::configured(Gateway::debian(), "");
    let file = set.gateway.path().join("etc/wharfd/wharfd.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "in-part = 1\n").unwrap();
    let mut set = set.started();
    let package = Package::new("hello", "1.0-1");
    set.install(&package);
    set.observe(&[7, 9, 16]);

    let fails = package.script(Script::Postinst, "[ -e /repaired ]");
    let fails = fails.build(&set.gateway.path().join("tmp"));
    let fails = format!("/tmp/{}", fails.file_name().unwrap().display());
    let mut install = set.gateway.debian_root().command("/usr/bin/dpkg");
    assert!(!install.args(["-i", &fails]).status().unwrap().success());
    let damaged = "16=40: hello 1.0-1 is half-configured: repair it on the device \
                   (`wharfctl doctor` says how), or install it again";
    set.expect_story(&[damaged]);

    set.client().read("/9/0/16").expect("2.05"); // the acknowledgement came before this
    set.kill_and_start_daemon();
    assert_eq!(format!("16={}", set.client().read_text("/9/0/16")), damaged);
    fs::write(set.gateway.path().join("repaired"), "").unwrap();
    dpkg(&set, &["--configure", "-a"]);
    set.expect_story(&[damaged, "16=40: hello 1.0-1 is installed"]);
}

/// A user of the device runs dpkg.
fn dpkg(set: &StageSet, arguments: &[&str]) {
    let mut dpkg = set.gateway.debian_root().command("/usr/bin/dpkg");
    assert!(dpkg.args(arguments).status().unwrap().success());
}

#[test]
fn software_that_was_purged_by_hand_can_be_uninstalled() {
    let mut set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    // Without the installer, wharfd cannot know before Uninstall arrives.
    set.gateway.installer().kill();
    dpkg(&set, &["--purge", "hello"]);
    set.client().execute("/9/0/6", "").expect("2.04");
    set.gateway.start_installer(&[]);
    set.wait_for("0/0");
    set.client().delete("/9/0").expect("2.02");
}

#[test]
fn a_continued_download_that_was_judged_before_a_crash_is_delivered_without_another_request() {
    let mut set = StageSet::simulated();
    set.gateway.daemon().terminate();
    set.gateway
        .start_daemon(&[("WHARF_FAULT_AT", "seal.judged=1")]);
    let (uri, path) = publish_large(&set);
    set.origin.fault(&path, Fault::CutAfter(12 << 20));
    set.client().write_text("/9/0/3", &uri).expect("2.04");
    let status = set.gateway.daemon().wait();
    assert_eq!(status.code(), Some(86), "wharfd did not come to the seal");
    set.start_daemon_again();
    set.wait_for("3/0");
    assert_eq!(set.origin.wait_for_requests(&path, 2).len(), 2);
}

#[test]
fn a_full_disk_refuses_what_cannot_be_stored_and_loses_nothing() {
    let set = StageSet::configured(Gateway::simulated(), "");
    small_disk(&set.gateway);
    let mut set = set.started();
    let client = set.client();
    set.install(&Package::new("hello", "1.0.1"));

    let ballast = set.fill_disk();
    set.wait_for("4/2");
    // The observation is stored with the first message after there is room.
    client.observe("/9/0/7").expect("2.05");

    fs::remove_file(&ballast).unwrap();
    assert_eq!(client.read_text("/9/0/7"), "4");
    set.gateway.daemon().kill();
    set.start_daemon_again();
    let client = set.client();
    client.execute("/9/0/6", "").expect("2.04");
    set.wait_for("0/0");
    set.server.wait_for_notification("/9/0/7", "0", 0);
}

#[test]
fn an_installer_that_does_not_answer_is_in_status_reason_and_the_journal_until_it_does() {
    let mut set = StageSet::simulated();
    let silent_origin = TcpListener::bind("127.0.0.1:0").unwrap();
    set.gateway.installer().signal(Signal::SIGSTOP);
    set.order(&format!("http://{}/", silent_origin.local_addr().unwrap()));
    let look = "look at `systemctl status wharf-installer` on the device";
    let why = format!("10: waiting for the installer, which does not answer: {look}");
    assert_eq!(set.wait_for_reason(&why), why);
    let errors = set.gateway.daemon().errors();
    errors.wait_for(&format!("the installer has not answered for 10 s: {look}"));
    set.gateway.installer().signal(Signal::SIGCONT);
    let why = "10: waiting for the first byte";
    assert_eq!(set.wait_for_reason(why), why);
}

#[test]
fn a_package_is_kept_and_says_why_it_cannot_be_judged_until_the_keyring_is_mended() {
    let mut set = StageSet::simulated();
    let broken = set.gateway.path().join("etc/wharfd/keys/broken.asc");
    fs::write(&broken, "no certificate").unwrap();
    set.order(&set.publish(&Package::new("hello", "1.0.1")));
    // More often than a restart of the installer would explain.
    let journal = set.gateway.daemon().errors();
    wait_until("asking for a verdict again and again", || {
        let lines = journal.all().into_iter();
        let in_vain = lines.filter(|line| line.contains("cannot verify the file"));
        (in_vain.count() > 15).then_some(())
    });
    set.wait_for("2/0");
    let reason = set.client().read_text("/9/0/16");
    let expected = "40: waiting for a verdict: the keyring cannot be used: ";
    assert!(reason.starts_with(expected), "{reason}");
    assert!(reason.contains("broken.asc"), "{reason}");
    fs::remove_file(&broken).unwrap();
    set.wait_for("3/0");
}

#[test]
fn an_install_whose_installer_is_gone_says_so_until_it_is_back() {
    let mut set = StageSet::simulated();
    set.deliver(&Package::new("hello", "1.0.1"));
    set.gateway.installer().kill();
    set.client().execute("/9/0/4", "").expect("2.04");
    let expected = "50: waiting for the installer: cannot speak with the installer at ";
    let reason = set.wait_for_reason(expected);
    assert!(reason.starts_with(expected), "{reason}");
    assert!(reason.ends_with("Is wharf-installer running?"), "{reason}");
    set.gateway.start_installer(&[]);
    set.wait_for("4/2");
}

#[test]
fn a_package_that_cannot_be_judged_for_the_configured_time_ends_52() {
    let set = StageSet::configured(Gateway::simulated(), "");
    let configuration = set.gateway.path().join("etc/wharfd/wharfd.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    let shorter = text.replace("[timing]\n", "[timing]\nverdict = 500\n");
    assert_ne!(text, shorter);
    fs::write(&configuration, shorter).unwrap();
    set.gateway
        .write("etc/wharfd/keys/broken.asc", "no certificate");
    let set = set.started();
    set.order(&set.publish(&Package::new("hello", "1.0.1")));
    set.wait_for("0/52");
    let reason = set.client().read_text("/9/0/16");
    assert!(
        reason.starts_with("20: the keyring cannot be used: "),
        "{reason}"
    );
}

#[test]
fn an_install_says_that_the_installer_does_not_answer_until_it_does() {
    let mut set = StageSet::simulated();
    set.deliver(&Package::new("hello", "1.0.1"));
    set.gateway.installer().signal(Signal::SIGSTOP);
    set.client().execute("/9/0/4", "").expect("2.04");
    let expected = "50: waiting for the installer, which does not answer: look at `systemctl status wharf-installer` on the device";
    assert_eq!(set.wait_for_reason(expected), expected);
    set.gateway.installer().signal(Signal::SIGCONT);
    set.wait_for("4/2");
}
