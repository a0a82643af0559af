//! The checks of `wharfctl doctor`.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use wharf_tests::{gateway::Gateway, system_bus::SystemBus, waiting::wait_until};

use super::{NOBODY, OnBus, run};
use crate::stage_set::StageSet;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[test]
fn doctor_finds_nothing_where_all_is_well() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    wait_until("the package manager's name", || {
        let status = on_bus.json(&["status"]);
        (!status["agent"]["backend"].is_null()).then_some(())
    });
    let findings = on_bus.json(&["doctor"]);
    let findings = findings.as_array().unwrap();
    for finding in findings {
        assert_eq!(finding["verdict"], "ok", "{finding}");
    }
    let checks: Vec<&str> = findings
        .iter()
        .filter_map(|it| it["check"].as_str())
        .collect();
    assert_eq!(
        checks,
        [
            "configuration",
            "clock",
            "server's name",
            "wharfd",
            "registration",
            "installer",
            "policy",
            "keys",
            "disk",
            "package manager",
            "lock",
            "packages",
            "way back",
        ]
    );

    let said = on_bus.wharfctl_as(NOBODY, &["doctor"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.output.contains("\nok    policy  "), "{said:?}");
}

#[test]
fn the_package_manager_is_known_as_soon_as_an_installer_that_was_down_answers() {
    let gateway = Gateway::simulated();
    let bus = SystemBus::start(&gateway.path());
    let mut set = StageSet::configured(gateway, "");
    set.gateway.start_daemon(&[]);
    let mut on_bus = OnBus::with(set, bus);
    let doctor = |on_bus: &OnBus| on_bus.wharfctl(&["doctor"]).output;
    let said = doctor(&on_bus);
    let line = "FAIL  installer       has not answered wharfd\n";
    assert!(said.contains(line), "{said}");
    on_bus.set.gateway.start_installer(&[]);
    wait_until("the name of the package manager", || {
        let line = "ok    installer       has answered, and drives simulated\n";
        doctor(&on_bus).contains(line).then_some(())
    });
}

/// The installer judges signatures by the times of future files, unless the kernel vouches for the clock.
#[test]
fn doctor_sees_the_clock_as_the_installer_does() {
    let gateway = Gateway::simulated();
    gateway.configure("coap://127.0.0.1:1", "");
    let database = gateway.path().join("var/lib/wharf-simulated/history");
    fs::create_dir_all(database.parent().unwrap()).unwrap();
    fs::write(&database, "").unwrap();
    let database = fs::File::open(database).unwrap();
    let far = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    database
        .set_modified(far.max(SystemTime::now() + YEAR))
        .unwrap();
    let simulated = gateway.path().join("etc/wharf-simulated");
    fs::create_dir_all(&simulated).unwrap();
    let doctor = || run(gateway.command("wharfctl", &[]).arg("doctor")).output;

    fs::write(simulated.join("clock-unsynchronised"), "").unwrap();
    let said = doctor();
    for line in [
        "FAIL  clock           the clock shows ",
        "var/lib/wharf-simulated/history is of 20",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    fs::write(simulated.join("clock-synchronised"), "").unwrap();
    let said = doctor();
    assert!(said.contains("warn  clock  "), "{said}");
    database.set_modified(UNIX_EPOCH).unwrap();
    let said = doctor();
    assert!(said.contains("ok    clock  "), "{said}");
}

#[test]
fn doctor_names_each_thing_that_is_wrong_and_what_to_do() {
    let gateway = Gateway::simulated();
    let doctor = || run(gateway.command("wharfctl", &[]).arg("doctor"));
    gateway.write("etc/wharfd/wharfd.toml", "[[server]]\nurl = \"coap://h\"\n");
    let said = doctor();
    assert_eq!(said.code, Some(1), "{said:?}");
    for line in [
        "FAIL  configuration ",
        "wharfd.toml, line 2",
        "FAIL  wharfd          cannot reach D-Bus",
        "FAIL  keys            nobody may sign",
    ] {
        assert!(said.output.contains(line), "no {line:?} in {}", said.output);
    }
    assert_eq!(said.errors, "wharfctl: 3 checks failed\n");

    gateway.configure(
        "coaps://no-such-host.invalid",
        "psk-identity = \"gateway-17\"",
    );
    let said = doctor();
    assert!(
        said.output
            .contains("A key that is a credential can be read here only while wharfd runs"),
        "{said:?}"
    );
    let key = gateway.path().join("etc/wharfd/psk");
    fs::write(&key, "00".repeat(16)).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let with_key = "psk-identity = \"gateway-17\"\npsk-key-file = \"/etc/wharfd/psk\"";
    gateway.configure("coaps://no-such-host.invalid", with_key);
    let said = doctor();
    assert!(
        said.output
            .contains("FAIL  server's name   no-such-host.invalid has no address"),
        "{said:?}"
    );
    // The name already tells it, so there is no second line.
    assert!(!said.output.contains("handshake"), "{said:?}");

    let policy = "backend = \"simulated\"\n[quota]\nreserve = 9000000000000000\n";
    gateway.write("etc/wharfd/installer.toml", policy);
    let said = doctor();
    assert!(said.output.contains("FAIL  disk  "), "{said:?}");
    assert!(said.output.contains("of which 9000"), "{said:?}");
    gateway.write("var/lib/wharf-simulated/hello_half", "");
    let lines = "FAIL  packages        hello_half\n                      \
                 run `wharf-simulated finish`; or install the package again with wharfctl\n";
    let said = doctor();
    assert!(said.output.contains(lines), "{said:?}");
    let line = "ok    package manager simulated 1, for .simulated packages (amd64)\n";
    assert!(said.output.contains(line), "{said:?}");
    let lock = gateway.path().join("var/lib/wharf-simulated/lock");
    let lock = fs::File::create(lock).unwrap();
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&lock, FcntlArg::F_SETLK(&whole)).unwrap();
    let said = doctor();
    let line = format!("warn  lock            process {} (", std::process::id());
    assert!(said.output.contains(&line), "{said:?}");
    let line = "warn  packages        hello_half\n";
    assert!(said.output.contains(line), "{said:?}");
    drop(lock);
    gateway.write("etc/wharfd/installer.toml", "\nallow-unsinged = true\n");
    let said = doctor();
    let line = "installer.toml, line 2";
    assert_eq!(said.output.matches(line).count(), 1, "{said:?}");
    assert!(said.output.contains("FAIL  policy  "), "{said:?}");
    // The default package manager is checked, and this root has none.
    for words in ["FAIL  packages  ", "(backend in installer.toml)"] {
        assert!(said.output.contains(words), "{said:?}");
    }
    let said = run(gateway.command("wharfctl", &[]).arg("doctor").uid(NOBODY));
    assert!(said.output.contains(line), "{said:?}");

    let folder = gateway.path().join("etc/wharfd");
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let mut command = gateway.command("wharfctl", &[]);
    let said = run(command.arg("doctor").uid(NOBODY));
    assert!(
        said.output.contains("warn  configuration ")
            && !said.output.contains("FAIL  configuration"),
        "{said:?}"
    );
    let line =
        "warn  policy          only root may read it\n                      run this as root\n";
    assert!(said.output.contains(line), "{said:?}");
    let line =
        "warn  packages        only root enters another root\n                      ask as root\n";
    assert!(said.output.contains(line), "{said:?}");
}
