//! Upgrades that do not stay up: the old version is back and runs.

use std::fs;

use serde_json::Value;
use wharf_tests::{
    booted::Booted,
    package::{Package, Script},
    services::UNITS,
};

const INSTANCE: &str = "/9/3";
const REASON: &str = "/9/3/16";

/// A way in which a version of pump does not stay up.
struct Fault {
    version: &'static str,
    service: &'static str,
    postinst: &'static str,
    /// A part of the reason.
    why: &'static str,
    /// Whether it starts, and fails while it is watched.
    starts: bool,
}

const FAULTS: [Fault; 4] = [
    Fault {
        version: "2",
        service: "ExecStart=/bin/sh -c 'sleep 2; echo no anchor; exit 1'",
        postinst: "true",
        why: "no anchor",
        starts: false,
    },
    Fault {
        version: "3",
        service: "ExecStart=/bin/sh -c 'sleep 20; echo no water; exit 1'",
        postinst: "true",
        why: "no water",
        starts: true,
    },
    Fault {
        version: "4",
        service: "Type=notify\nTimeoutStartSec=5\nExecStart=/bin/sleep infinity",
        postinst: "true",
        why: "timeout",
        starts: false,
    },
    Fault {
        version: "5",
        service: RUNS,
        postinst: "rm -r /var/lib/pump",
        why: "No such file",
        starts: false,
    },
];

const RUNS: &str = "ExecStart=/bin/sh -c 'exec sleep infinity </var/lib/pump/level'";

/// pump needs its data, which each installation makes.
fn pump(version: &str, service: &str, postinst: &str) -> Package {
    let unit = format!(
        "[Unit]\nDescription=pump {version}\n[Service]\n{service}\n[Install]\nWantedBy=multi-user.target\n"
    );
    Package::new("pump", version)
        .file(&format!("{UNITS}/pump.service"), unit)
        .script(
            Script::Postinst,
            &format!(
                "mkdir -p /var/lib/pump\n[ -e /var/lib/pump/level ] || echo 7 >/var/lib/pump/level\n\
                 {postinst}\nsystemctl daemon-reload\nsystemctl enable --quiet pump.service"
            ),
        )
}

/// Has wharf-job watch the services of an upgrade for so many seconds.
pub(crate) fn watch_for(gateway: &Booted, seconds: u32) {
    let file = gateway.container.path().join("etc/wharfd/installer.toml");
    let policy = fs::read_to_string(&file).expect("root's policy");
    let rest = policy.lines().filter(|line| !line.starts_with("steady"));
    let rest: Vec<&str> = rest.collect();
    let text = format!("steady = {seconds}\n{}\n", rest.join("\n"));
    fs::write(file, text).expect("root's policy");
}

/// Brings a package to DELIVERED, and executes Install. Returns the URI of the package.
#[track_caller]
fn begin(gateway: &Booted, package: &Package) -> String {
    let uri = gateway.publish(package);
    begin_from(gateway, &uri);
    uri
}

#[track_caller]
fn begin_from(gateway: &Booted, uri: &str) {
    let client = gateway.client();
    client
        .write_text(&format!("{INSTANCE}/3"), uri)
        .expect("2.04");
    gateway.wait_for(INSTANCE, "3/0");
    again(gateway);
}

#[track_caller]
fn again(gateway: &Booted) {
    let install = format!("{INSTANCE}/4");
    gateway.client().execute(&install, "").expect("2.04");
}

/// Drops the package, and keeps the software in place.
#[track_caller]
fn make_room(gateway: &Booted) {
    let uninstall = format!("{INSTANCE}/6");
    gateway.client().execute(&uninstall, "1").expect("2.04");
    gateway.wait_for(INSTANCE, "0/0");
}

/// This version is in place and runs.
#[track_caller]
fn runs(gateway: &Booted, version: &str) {
    assert_eq!(gateway.version("pump").as_deref(), Some(version));
    let of_unit = |property: &str| gateway.container.unit::<String>("pump.service", property);
    let found = (of_unit("ActiveState"), of_unit("Description"));
    assert_eq!(found, ("active".to_owned(), format!("pump {version}")));
    assert_eq!(of_unit("UnitFileState"), "enabled");
    assert_eq!(gateway.container.sh("cat /var/lib/pump/level"), "7");
}

/// The policy for activations is `keep`.
pub(crate) fn an_upgrade_that_does_not_stay_up_is_sent_back(gateway: &Booted) {
    watch_for(gateway, 30);
    gateway.client().create("/9", Some(3), &[]).expect("2.01");
    gateway.client().observe(REASON).expect("2.05");
    begin(gateway, &pump("1", RUNS, "true"));
    gateway.wait_for(INSTANCE, "4/2");
    gateway.container.sh("wharfctl activate pump");
    runs(gateway, "1");
    make_room(gateway);
    let mut uris = Vec::new();
    for fault in &FAULTS {
        uris.push(is_sent_back(gateway, fault));
        make_room(gateway);
    }
    the_third_order_of_the_same_bytes_is_refused(gateway, &uris[0]);
    a_user_goes_back(gateway);
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}

/// Returns the URI of the package.
#[track_caller]
fn is_sent_back(gateway: &Booted, fault: &Fault) -> String {
    let version = fault.version;
    eprintln!("pump {version}");
    let told = gateway.server.notifications().len();
    let uri = begin(gateway, &pump(version, fault.service, fault.postinst));
    let wait = |doing: &str, told| {
        let reason = format!("50: pump {version}: {doing}");
        gateway.server.wait_for_notification(REASON, &reason, told)
    };
    let told = match fault.starts {
        true => wait("checking that it stays up", told),
        false => told,
    };
    wait("going back to 1", told);
    gateway.wait_for(INSTANCE, "3/58");
    let said = gateway.client().read_text(REASON);
    let begins = format!("60: pump {version} is not installed: it was sent back: pump.service ");
    assert!(said.starts_with(&begins), "{said}");
    assert!(said.contains(fault.why), "{said}");
    assert!(said.ends_with("; pump 1 is in place and runs"), "{said}");
    runs(gateway, "1");
    uri
}

/// The first one was among the faults.
fn the_third_order_of_the_same_bytes_is_refused(gateway: &Booted, uri: &str) {
    begin_from(gateway, uri);
    gateway.wait_for(INSTANCE, "3/58");
    again(gateway);
    gateway.wait_for(INSTANCE, "3/57");
    let said = gateway.client().read_text(REASON);
    assert!(said.contains("wharfctl forgive pump"), "{said}");
    runs(gateway, "1");
    gateway.container.sh("wharfctl forgive pump");
    again(gateway);
    gateway.wait_for(INSTANCE, "3/58");
    runs(gateway, "1");
    make_room(gateway);
}

/// `wharfctl back` puts the version before in place, which runs if the one in place ran.
fn a_user_goes_back(gateway: &Booted) {
    watch_for(gateway, 2);
    begin(gateway, &pump("6", RUNS, "true"));
    gateway.wait_for(INSTANCE, "4/2");
    runs(gateway, "6");
    let shown = gateway.container.sh("wharfctl --json show pump");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let kept = shown["kept"].as_array().expect("kept files");
    let before = kept.iter().find(|file| file["previous"] == true);
    assert_eq!(before.expect("the version before")["version"], "1");
    let said = gateway.container.sh("wharfctl back pump");
    let end = "pump 1 is back in the place of pump 6, and active";
    assert!(said.ends_with(end), "{said}");
    gateway.wait_for(INSTANCE, "4/2");
    runs(gateway, "1");
    let again = gateway.container.try_sh("wharfctl back pump");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}
