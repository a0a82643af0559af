//! Refusals: their Update Results, and the state of the device after them.

use std::fs;

use wharf_tests::{
    gateway::Gateway,
    keys::Signer,
    origin::{Fault, OriginRequest},
    package::{Package, Script},
    server::format,
};

use crate::stage_set::StageSet;

#[track_caller]
fn expect_reason(set: &StageSet, words: &[&str]) {
    let reason = set.client().read_text("/9/0/16");
    for word in words {
        assert!(reason.contains(word), "{word:?} is not in {reason:?}");
    }
}

#[test]
fn a_package_without_a_trusted_signature_ends_53() {
    let set = StageSet::simulated();
    for signer in [Signer::Expired, Signer::Revoked] {
        set.keys.trust(signer, &set.gateway.path());
    }
    let table = [
        (None, "no signature"),
        (Some(Signer::Stranger), "not in the keyring"),
        (Some(Signer::Expired), "expired"),
        (Some(Signer::Revoked), "revoked"),
    ];
    for (signer, why) in table {
        let uri = set.publish_signed(&Package::new(&name_for(signer), "1.0.1"), signer);
        set.order(&uri);
        set.wait_for("0/53");
        expect_reason(&set, &["20: ", why]);
    }
}

fn name_for(signer: Option<Signer>) -> String {
    format!("by-{}", signer.map_or("nobody", Signer::name))
}

/// debsigs signs bytes, not names, and dpkg unpacks a member as its name says.
#[test]
fn a_member_renamed_under_its_signature_ends_54_and_its_preinst_never_runs() {
    let set = StageSet::debian();
    let package = Package::new("hello", "1.0-1").script(Script::Preinst, "touch /preinst-ran");
    let signed = fs::read(set.signed_inside(&package)).expect("the package");
    for stem in ["control.tar", "data.tar"] {
        let renamed = renamed(&signed, &format!("{stem}.xz"), stem);
        set.order(&set.origin.serve(&format!("/{stem}.deb"), renamed));
        set.wait_for("0/54");
        expect_reason(&set, &["20: ", stem]);
    }
    set.order(&set.origin.serve("/hello.deb", signed));
    set.wait_for("3/0");
    assert!(!set.gateway.path().join("preinst-ran").exists());
}

/// The archive with another name in the header of a member, padded with spaces (ar(5)).
fn renamed(package: &[u8], from: &str, to: &str) -> Vec<u8> {
    let field = |name: &str| format!("{name:<16}").into_bytes();
    let at = package.windows(16).position(|bytes| bytes == field(from));
    let at = at.expect("the member");
    [&package[..at], &field(to), &package[at + 16..]].concat()
}

#[test]
fn what_the_origin_says_becomes_its_update_result() {
    let set = StageSet::simulated();
    set.origin.serve("/p.deb", "never served");
    let table = [(401, "0/57"), (403, "0/57"), (404, "0/56"), (410, "0/56")];
    for (status, expected) in table {
        for path in ["/p.deb.asc", "/p.deb.sig", "/p.deb"] {
            set.origin.fault(path, Fault::Status(status));
        }
        set.order(&set.origin.uri("/p.deb"));
        set.wait_for(expected);
        expect_reason(&set, &["20: ", &status.to_string()]);
    }
}

#[test]
fn a_malformed_uri_is_4_00_and_result_56() {
    let set = StageSet::simulated();
    for uri in [
        "",
        "no uri",
        "ftp://origin/p.deb",
        "http://user:secret@origin/p.deb",
    ] {
        set.client().write_text("/9/0/3", uri).expect("4.00");
        set.wait_for("0/56");
    }
}

#[test]
fn a_host_that_does_not_exist_ends_56_or_52() {
    let set = StageSet::simulated();
    set.order("http://no-such-host.invalid/p.deb");
    // Without a name server the two causes cannot be told apart.
    wharf_tests::waiting::wait_until("the end of the download", || {
        let result = set.client().read_text("/9/0/9");
        ["56", "52"].contains(&result.as_str()).then_some(())
    });
}

#[test]
fn an_older_version_is_refused_also_after_its_removal() {
    let set = StageSet::debian();
    set.install(&Package::new("hello", "2.0-1"));
    let client = set.client();
    client.execute("/9/0/6", "").expect("2.04");
    set.wait_for("0/0");
    set.deliver(&Package::new("hello", "1.0-1"));
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/57");
    expect_reason(&set, &["60: ", "hello"]);
    assert_eq!(set.gateway.debian_root().installed_version("hello"), None);
}

#[test]
fn a_failing_script_ends_58_and_the_package_stays_delivered() {
    let set = StageSet::debian();
    let package =
        Package::new("hello", "1.0-1").script(Script::Preinst, "echo no luck >&2; exit 3");
    set.deliver(&package);
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/58");
    expect_reason(&set, &["60: ", "hello", "it said: no luck"]);
    assert_eq!(set.gateway.debian_root().installed_version("hello"), None);
}

#[test]
fn a_missing_dependency_ends_58_and_is_named() {
    let set = StageSet::debian();
    let package = Package::new("hello", "1.0-1").depends("no-such-library (>= 3)");
    set.deliver(&package);
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/58");
    expect_reason(&set, &["no-such-library"]);
}

#[test]
fn another_package_than_the_one_in_place_ends_57_naming_both() {
    let set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    set.client().execute("/9/0/6", "1").expect("2.04");
    set.deliver(&Package::new("other", "1.0.1"));
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/57");
    expect_reason(&set, &["hello", "other"]);
}

#[test]
fn activation_without_a_service_manager_says_so_and_changes_nothing() {
    let set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    set.client().execute("/9/0/10", "").expect("2.04");
    set.wait_for_reason("service manager");
    assert_eq!(set.client().read_text("/9/0/12"), "0");
    set.wait_for("4/2");
}

#[test]
fn write_only_resources_are_never_read_and_secrets_never_logged() {
    let mut set = StageSet::simulated();
    set.origin.require("fleet", "correct-horse-battery");
    // wharfd aborts if it frees memory that it has not wiped.
    set.gateway.daemon().terminate();
    set.start_daemon_again_with(&[("WHARF_FAULT_FREED", "correct-horse-battery,t0ken")]);
    set.install_with_credentials();
    let client = set.client();
    for resource in [2, 3, 14, 15] {
        client.read(&format!("/9/0/{resource}")).expect("4.05");
    }
    let whole = client.read("/9/0").expect("2.05").payload;
    let logged = [
        set.gateway.daemon().errors().all(),
        set.gateway.installer().errors().all(),
    ];
    let logged = logged.concat().join("\n");
    for secret in ["correct-horse-battery", "t0ken"] {
        let in_read = whole
            .windows(secret.len())
            .any(|bytes| bytes == secret.as_bytes());
        assert!(!in_read, "{secret} is in a read of the instance");
        assert!(!logged.contains(secret), "{secret} is in a log: {logged}");
    }
    assert!(set.gateway.is_running(), "{logged}");
}

#[test]
fn user_name_and_password_go_over_plain_http_only_to_an_origin_that_the_file_names() {
    let mut set = StageSet::configured(Gateway::simulated(), "");
    let allowed = "etc/wharfd/wharfd.toml.d/download.toml";
    fs::remove_file(set.gateway.path().join(allowed)).unwrap();
    set.gateway.start();
    set.origin.require("fleet", "correct-horse-battery");
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    set.order_with_credentials(&uri);
    set.wait_for("0/57");
    let origin = set.origin.uri("");
    let line = format!("[download] credentials-over-http = [\"{origin}\"]");
    expect_reason(
        &set,
        &["20: ", &origin, "write an https URI", "wharfd.toml", &line],
    );
    assert_eq!(set.origin.requests(), [], "nothing is asked for");

    set.gateway.allow_credentials_over_http(&[&origin]);
    set.gateway.daemon().terminate();
    set.start_daemon_again();
    set.order_with_credentials(&uri);
    set.wait_for("3/0");
    let requests = set.origin.requests();
    let authorised = |request: &OriginRequest| request.fields.contains_key("authorization");
    assert!(requests.iter().all(authorised), "{requests:?}");
}

impl StageSet {
    fn order_with_credentials(&self, uri: &str) {
        let client = self.client();
        client.write_text("/9/0/14", "fleet").expect("2.04");
        client
            .write_text("/9/0/15", "correct-horse-battery")
            .expect("2.04");
        self.order(uri);
    }

    fn install_with_credentials(&self) {
        let uri = self.publish(&Package::new("hello", "1.0.1"));
        // The origin of the tests knows paths with their query.
        let path = uri.rsplit('/').next().unwrap();
        for suffix in ["", ".asc"] {
            let file = self.folder.join(format!("{path}{suffix}"));
            let content = fs::read(file).unwrap();
            self.origin
                .serve(&format!("/{path}{suffix}?sig=t0ken"), content);
        }
        self.order_with_credentials(&format!("{uri}?sig=t0ken"));
        self.wait_for("3/0");
    }
}

#[test]
fn a_uri_of_2048_bytes_is_taken_whole_and_in_blocks_and_a_longer_one_is_not() {
    let set = StageSet::simulated();
    let uri = |length: usize| {
        let begin = set.origin.uri("/p.deb?");
        format!("{begin}{}", "x".repeat(length - begin.len()))
    };
    let client = set.client();
    client.write_text("/9/0/3", &uri(2049)).expect("4.00");
    set.wait_for("0/56");
    client
        .put("/9/0/3", format::TEXT, uri(2048).as_bytes())
        .expect("2.04");
    set.wait_for_reason("404");
    set.wait_for("0/56");
    client.write_text("/9/0/3", &uri(2048)).expect("2.04");
    set.wait_for("0/56");
}
