//! The upgrade of wharfd's own package through Object 9. The observing server gets INSTALLED, in spite of restarts by
//! any party.

use std::{fs, path::Path};

use serde_json::json;
use wharf_tests::{booted::Booted, gateway::ENDPOINT, leshan::Leshan, wharfd_package::repacked};

const UNITS: &str =
    "wharf-fetch.socket wharf-installer.service wharf-installer.socket wharfd.service";

#[test]
fn wharfd_is_upgraded_by_wharfd_and_the_observing_server_gets_installed() {
    let mut gateway = Booted::by_leshan();
    gateway.configure();
    gateway.create_and_observe(1);

    // The package as shipped. Until it is configured, the old wharfd uses the new wharf-installer.
    let package = repacked(gateway.folder.path(), "1:1", waits_in_postinst);
    begin(&mut gateway, &package);
    gateway
        .container
        .sh("systemctl kill --signal=KILL wharf-installer");
    gateway.wait_for_wharfctl(1, &json!({ "update_state": 3, "busy": true }));
    ends_at_the_truth(&mut gateway, "1:1");

    // The reverse. Then its postinst restarts all units, which is debhelper's default.
    let package = repacked(gateway.folder.path(), "1:2", |scripts| {
        write_scripts(scripts, "prerm-systemd", "postinst-systemd-restart");
        waits_in_postinst(scripts);
    });
    prepare(&mut gateway);
    begin(&mut gateway, &package);
    gateway.container.sh("systemctl restart wharfd");
    gateway.wait_for_wharfctl(1, &json!({ "update_state": 3, "busy": true }));
    ends_at_the_truth(&mut gateway, "1:2");

    // The prerm of the old version stops all units, and the postinst of the new one starts them.
    let package = repacked(gateway.folder.path(), "1:3", |scripts| {
        write_scripts(scripts, "prerm-systemd", "postinst-systemd-start");
        waits_in_postinst(scripts);
    });
    prepare(&mut gateway);
    begin(&mut gateway, &package);
    assert_eq!(gateway.container.unit::<i32>("wharfd", "MainPID"), 0);
    ends_at_the_truth(&mut gateway, "1:3");

    let again = [1, 2, 3, 4, 0].repeat(3);
    gateway.wait_until_told("/9/1/7", &json!(again[..again.len() - 1]));
    assert_eq!(gateway.events("registered"), 1);
    for path in ["/9/1/6", "/9/1/11"] {
        let answer = gateway.server.execute(ENDPOINT, path, None);
        assert_eq!(answer.code, "4.05", "{path}: {answer:?}");
    }
}

/// Uninstall with ForUpdate: wharfd keeps running.
fn prepare(gateway: &mut Booted<Leshan>) {
    gateway.execute("/9/1/6", Some("1"));
    gateway.wait_for_wharfctl(1, &json!({ "update_state": 0 }));
}

/// Package URI and Install. Returns when the new version is unpacked and its postinst waits.
fn begin(gateway: &mut Booted<Leshan>, package: &Path) {
    let uri = gateway.publish_file(package);
    gateway.write("/9/1/3", &uri);
    gateway.wait_for_wharfctl(1, &json!({ "update_state": 3 }));
    gateway.execute("/9/1/4", None);
    gateway.wait_for_file("/run/postinst.waits");
}

/// The server, `wharfctl`, dpkg and the running programs agree.
fn ends_at_the_truth(gateway: &mut Booted<Leshan>, version: &str) {
    gateway.container.sh("rm /run/postinst.waits");
    let done = json!({
        "update_state": 4,
        "update_result": 2,
        "name": "wharfd",
        "version": version,
        "active": true,
        "busy": false,
    });
    gateway.wait_for_wharfctl(1, &done);
    gateway.wait_for_status("registered with coaps://");
    assert_eq!(gateway.read("/9/1/7"), 4);
    assert_eq!(gateway.read("/9/1/1"), version);
    assert_eq!(gateway.read("/9/1/12"), true);
    assert_eq!(gateway.version("wharfd").as_deref(), Some(version));
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
    assert_eq!(gateway.container.failed_units(), [""; 0]);
    assert_eq!(gateway.container.sh(REPLACED), "");
}

/// Lists running programs of ours whose file is deleted.
pub(crate) const REPLACED: &str =
    "ls -l /proc/*/exe 2>/dev/null | grep '/wharfd/.*(deleted)' || true";

fn waits_in_postinst(scripts: &Path) {
    let script = scripts.join("postinst");
    let text = fs::read_to_string(&script).expect("a postinst");
    let wait = "#!/bin/sh\ntouch /run/postinst.waits\n\
                while test -e /run/postinst.waits; do sleep 0.05; done\n";
    fs::write(&script, text.replacen("#!/bin/sh\n", wait, 1)).expect("a postinst");
}

/// Writes maintainer scripts of debhelper's own parts, for all units.
fn write_scripts(scripts: &Path, prerm: &str, postinst: &str) {
    for (script, part) in [("prerm", prerm), ("postinst", postinst)] {
        let part = Path::new("/usr/share/debhelper/autoscripts").join(part);
        let part = fs::read_to_string(part).expect("a part of debhelper");
        let part = part
            .replace("#UNITFILES#", UNITS)
            .replace("#RESTART_ACTION#", "restart");
        let text = format!("#!/bin/sh\nset -e\n{part}");
        fs::write(scripts.join(script), text).expect("a maintainer script");
    }
}
