//! Faults of a gateway, and their display by `systemctl status`, `journalctl` and `wharfctl doctor`, each with its
//! remedy.

use std::{fs, net::Ipv4Addr, process::Command};

use wharf_tests::{booted::Booted, command::text_of, package::Package, waiting::wait_until};

/// A gateway and the commands to inspect it.
struct Screens {
    gateway: Booted,
}

impl Screens {
    /// Configures one server by these lines.
    fn server(&self, lines: &str) {
        let timing = "[timing]\nack-timeout = 20\nretry-first = 200\nretry-longest = 400\n";
        let text = format!("endpoint = \"gateway\"\n\n[[server]]\n{lines}\n{timing}");
        let file = self.gateway.container.path().join("etc/wharfd/wharfd.toml");
        fs::write(file, text).expect("wharfd.toml");
    }

    fn start(&self) {
        let _ = self
            .gateway
            .container
            .try_sh("systemctl reset-failed wharfd; systemctl restart wharfd");
    }

    /// wharfd takes its D-Bus name after it has begun to register.
    fn wait_for_wharfd_on_the_bus(&self) {
        wait_until("wharfd on the bus", || {
            let asked = self.gateway.container.try_sh("wharfctl status");
            asked.status.success().then_some(())
        });
    }

    #[track_caller]
    fn status_has(&self, expected: &str) {
        self.gateway.container.sh("journalctl --sync");
        let shown = self
            .gateway
            .container
            .try_sh("systemctl status wharfd --no-pager --full --lines=20");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }

    #[track_caller]
    fn journal_has(&self, expected: &str) {
        let line = "journalctl --sync; journalctl --unit wharfd --unit wharf-installer --output cat --lines 30";
        let shown = self.gateway.container.sh(line);
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }

    #[track_caller]
    fn doctor_has(&self, expected: &[&str]) {
        self.doctor_has_where("", expected);
    }

    /// The same, with these variables.
    #[track_caller]
    fn doctor_has_where(&self, variables: &str, expected: &[&str]) {
        let line = format!("env {variables} wharfctl doctor");
        let shown = self.gateway.container.try_sh(&line);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        for expected in expected {
            assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
        }
    }
}

#[test]
fn what_is_wrong_is_seen_in_status_journal_and_doctor() {
    let screens = Screens {
        gateway: Booted::registered(),
    };
    screens.wait_for_wharfd_on_the_bus();
    screens.doctor_has(&[
        "ok    registration",
        "ok    keys            1 in the keyring, each valid",
    ]);
    a_first_boot_in_1970(&screens);
    a_reload_that_is_refused(&screens);
    a_wrong_configuration(&screens);
    a_missing_key(&screens);
    a_refused_port(&screens);
    an_unreachable_server(&screens);
    a_keyring_that_cannot_be_used(&screens);
    a_wrong_policy(&screens);
    a_full_disk(&screens);
}

/// By libfaketime(1) of this machine, since a container has no clock of its own.
fn a_first_boot_in_1970(screens: &Screens) {
    const CLOCK: &str =
        "LD_PRELOAD=/opt/libfaketime.so.1 DONT_FAKE_MONOTONIC=1 'FAKETIME=1970-01-01 00:00:10'";
    let container = &screens.gateway.container;
    let library = text_of(Command::new("sh").args([
        "-c",
        "dpkg --listfiles libfaketime | grep '/libfaketime.so.1$'",
    ]));
    fs::copy(library, container.path().join("opt/libfaketime.so.1")).expect("libfaketime");
    let unit = container.inside("/run/systemd/system/wharfd.service.d");
    fs::create_dir_all(&unit).expect("a folder for drop-ins");
    fs::write(
        unit.join("1970.conf"),
        format!("[Service]\nEnvironment={CLOCK}\n"),
    )
    .expect("a drop-in");
    container.sh("systemctl daemon-reload; systemctl restart wharfd");
    screens.gateway.wait_for_status("registered with coap://");
    screens.status_has("; the clock is not set, and downloads by https wait until it is");
    screens.journal_has("the clock of this machine is not set: it is before the day that");
    screens.doctor_has_where(CLOCK, &["FAIL  clock           1970-01-01T00:00:1"]);
    container.sh("rm -r /run/systemd/system/wharfd.service.d; systemctl daemon-reload; systemctl restart wharfd");
    screens.gateway.wait_for_status("registered with coap://");
}

/// A refused reload leaves the running configuration.
fn a_reload_that_is_refused(screens: &Screens) {
    screens.server("url = \"coaps://h\"");
    let reloaded = screens.gateway.container.try_sh("systemctl reload wharfd");
    assert!(!reloaded.status.success(), "{reloaded:?}");
    screens.journal_has("/etc/wharfd/wharfd.toml, line 4, column 1: server: unknown field `url`");
    screens.gateway.client().read("/9/0/7").expect("2.05");
}

fn a_wrong_configuration(screens: &Screens) {
    screens.server("url = \"coaps://h\"");
    screens.start();
    let container = &screens.gateway.container;
    container.wait_for_unit("wharfd", "failed");
    assert_eq!(container.unit::<i32>("wharfd", "ExecMainStatus"), 78);
    let wrong =
        "/etc/wharfd/wharfd.toml, line 4, column 1: server: unknown field `url`, expected one of";
    screens.status_has(wrong);
    screens.journal_has(wrong);
    screens.doctor_has(&[
        "FAIL  configuration",
        wrong,
        "FAIL  wharfd          is not on D-Bus",
    ]);
}

fn a_missing_key(screens: &Screens) {
    screens.server(
        "uri = \"coaps://h\"\npsk-identity = \"gateway-17\"\npsk-key-file = \"/etc/wharfd/psk\"",
    );
    screens.start();
    screens.gateway.container.wait_for_unit("wharfd", "failed");
    let wrong = "/etc/wharfd/wharfd.toml, line 6: psk-key-file: ";
    screens.status_has(wrong);
    screens.journal_has(wrong);
    screens.doctor_has(&[wrong]);

    let container = &screens.gateway.container;
    container.sh("( umask 077; echo 00112233445566778899aabbccddeeff >/etc/wharfd/psk )"); // only root can read it
    screens.start();
    container.wait_for_unit("wharfd", "failed");
    let wrong = "psk-key-file: /etc/wharfd/psk cannot be read (Permission denied";
    screens.status_has(wrong);
    screens.doctor_has(&["FAIL  configuration", wrong]);
    // Root can read the file.
    let check = container.try_sh("/usr/libexec/wharfd/wharfd --check-config");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(78), "{said}");
    assert!(said.contains(wrong), "{said}");
}

/// Without a listener at the port, the kernel of the peer refuses.
fn a_refused_port(screens: &Screens) {
    let outside = screens.gateway.container.network().outside();
    over_dtls(screens, &format!("{outside}:1"));
    let begin = format!("cannot reach coaps://{outside}:1");
    screens.gateway.wait_for_status(&begin);
    let why = "no answer to the handshake: is there a DTLS server at this address and port";
    screens.status_has(why);
    screens.journal_has(why);
    screens.doctor_has(&["FAIL  handshake", why, "FAIL  registration"]);
}

/// There is no route to this address.
fn an_unreachable_server(screens: &Screens) {
    over_dtls(screens, &format!("{}:5684", Ipv4Addr::new(203, 0, 113, 1)));
    screens.gateway.wait_for_status(
        "cannot reach coaps://203.0.113.1:5684 at 203.0.113.1:5684: Network is unreachable",
    );
    screens.journal_has("Network is unreachable (os error 101)");
    screens.doctor_has(&["FAIL  handshake       203.0.113.1:5684: Network is unreachable"]);
}

fn over_dtls(screens: &Screens, server: &str) {
    let key = "( umask 077; echo 00112233445566778899aabbccddeeff >/etc/wharfd/psk ); chown root:wharfd /etc/wharfd/psk; \
               chmod 0640 /etc/wharfd/psk";
    screens.gateway.container.sh(key);
    screens.server(&format!(
        "uri = \"coaps://{server}\"\npsk-identity = \"gateway-17\"\npsk-key-file = \"/etc/wharfd/psk\""
    ));
    screens.start();
    screens.wait_for_wharfd_on_the_bus();
}

fn a_keyring_that_cannot_be_used(screens: &Screens) {
    screens.gateway.configure();
    screens.start();
    screens.gateway.wait_for_status("registered with coap://");
    let broken = screens
        .gateway
        .container
        .path()
        .join("etc/wharfd/keys/broken.asc");
    fs::write(&broken, "no certificate").expect("broken.asc");
    screens.doctor_has(&[
        "FAIL  keys            the keyring cannot be used: /etc/wharfd/keys/broken.asc is not",
    ]);
    fs::remove_file(&broken).expect("broken.asc");
}

/// A client that waits at the socket restarts the installer repeatedly, at a limited rate.
fn a_wrong_policy(screens: &Screens) {
    let gateway = &screens.gateway;
    let container = &gateway.container;
    let policy = "/etc/wharfd/installer.toml";
    container.sh(&format!(
        "cp {policy} /root; echo bogus = 1 >>{policy}; systemctl stop wharf-installer"
    ));
    let uri = gateway.publish(&Package::new("hello", "1.0-1"));
    gateway.client().write_text("/9/0/3", &uri).expect("2.04");
    let ends = || -> Vec<u64> {
        let wrong = "journalctl SYSLOG_IDENTIFIER=wharf-installer --grep 'unknown field .bogus' --output json \
                     --output-fields MESSAGE || true";
        let lines = container.sh(wrong);
        let lines = lines
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let at = |line: serde_json::Value| line["__MONOTONIC_TIMESTAMP"].as_str()?.parse().ok();
        lines.filter_map(at).collect()
    };
    let between = wait_until("the second failed start", || match ends()[..] {
        [first, second, ..] => Some(second - first),
        _ => None,
    });
    assert!(between >= 5_000_000, "tried again after {between} us");
    screens.doctor_has(&["FAIL  policy          /etc/wharfd/installer.toml, line "]);
    container.sh(&format!("cp /root/installer.toml {policy}"));
    gateway.wait_for("/9/0", "3/0");
    gateway.client().execute("/9/0/6", "").expect("2.04");
}

/// First the disk of staged packages, then that of wharfd's database.
fn a_full_disk(screens: &Screens) {
    let gateway = &screens.gateway;
    let container = &gateway.container;
    container.sh("systemctl stop wharf-installer; mount -t tmpfs -o size=60m,mode=700 tmpfs /var/lib/wharf-installer");
    let uri = gateway.publish(&Package::new("hello", "1.0-1"));
    gateway.client().write_text("/9/0/3", &uri).expect("2.04");
    gateway.wait_for("/9/0", "0/50");
    screens.journal_has("instance 0: INITIAL/50, 20: ");
    screens.doctor_has(&["FAIL  disk", "in /var/lib/wharf-installer", "make room"]);

    container.sh("systemctl stop wharfd; mount -t tmpfs -o size=4m,mode=700,uid=wharfd tmpfs /var/lib/wharfd");
    let full = "dd if=/dev/zero of=/var/lib/wharfd/filler bs=4k 2>/dev/null || true";
    container.sh(full);
    screens.start();
    let why = "/var/lib/wharfd/wharfd.db: make room on its file system";
    screens
        .gateway
        .wait_for_status("no room to write /var/lib/wharfd/wharfd.db");
    screens.journal_has(why);
    screens.doctor_has(&["FAIL  disk", "in /var/lib/wharfd"]);
    container.sh("rm /var/lib/wharfd/filler");
    gateway.wait_for_status("registered with coap://");
}
