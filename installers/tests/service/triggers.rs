//! Sockets of other packages that start nothing but held units.

use wharf_frames::{Cause, installer::Outcome};
use wharf_tests::{debian_root::archived, services::UNITS, waiting::wait_until};

use crate::{
    activation::{FOREVER, service, succeeded},
    aliases::{held, pulled},
    conditions::FRAGILE,
    machine::{Deb, Machine, Script},
};

impl Machine {
    /// Logs a line, which journald forwards to all listeners, and waits until systemd has handled the result.
    fn log(&mut self, line: &str) {
        let command =
            format!("logger {line}; journalctl --sync; systemctl is-system-running --wait || true");
        self.container().sh(&command);
    }

    /// Checks the states of both, and that no trigger failed.
    #[track_caller]
    fn logs_by(&mut self, service: &str, active: &str) {
        self.log("anything");
        let state = |machine: &mut Self, unit: &str| -> [String; 2] {
            ["ActiveState", "Result"].map(|it| machine.container().unit(unit, it))
        };
        for unit in [service, "syslog.socket"] {
            assert_eq!(state(self, unit), [active, "success"], "{unit}");
        }
        assert_eq!(self.container().failed_units(), [""; 0]);
    }

    #[track_caller]
    fn is_written(&mut self, line: &str) {
        self.log(line);
        let log = self.root().join("var/log/syslog");
        wait_until("the line in /var/log/syslog", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains(line).then_some(())
        });
    }
}

#[test]
fn systemds_syslog_socket_is_held_with_the_logger_that_it_starts() {
    let mut machine = Machine::booted();
    machine.policy("protected-units = [\"kept\"]\n"); // once it boots again
    for library in ["libestr0", "libfastjson4", "liblognorm5"] {
        machine.unpack_by_hand(&archived(library));
    }
    machine.unpack_by_hand(&archived("rsyslog"));
    machine.is_written("by-hand");
    let removed_by_hand = removed(&mut machine, "dpkg --remove rsyslog");
    machine.container().sh("dpkg --purge rsyslog");

    machine.unpack_by_hand(&archived("rsyslog"));
    succeeded(&machine.install_archived("rsyslog"), true);
    machine.logs_by("rsyslog.service", "active");
    machine.is_written("adopted");
    machine.container().sh("dpkg --purge rsyslog");

    succeeded(&machine.install_archived("rsyslog"), false);
    machine.logs_by("rsyslog.service", "inactive");
    assert_eq!(held(machine.container()), "", "it is disabled");
    machine.reboot();
    machine.logs_by("rsyslog.service", "inactive");
    for round in ["first", "second"] {
        succeeded(&machine.activate("rsyslog"), true);
        machine.logs_by("rsyslog.service", "active");
        machine.is_written(round);
        succeeded(&machine.deactivate("rsyslog"), false);
        machine.logs_by("rsyslog.service", "inactive");
    }
    succeeded(&machine.activate("rsyslog"), true);
    assert_eq!(machine.remove("rsyslog").failure, None);
    machine.logs_by("rsyslog.service", "inactive");
    assert_eq!(removed(&mut machine, "true"), removed_by_hand);
    machine.container().sh("dpkg --purge rsyslog");

    an_upgrade_of_a_logger_stops_its_socket(&mut machine);
    a_logger_that_starts_at_boot_is_held_with_its_sockets(&mut machine);
    sockets_that_others_use_are_never_stopped(&mut machine);
    a_socket_of_a_package_that_policy_protects_is_never_stopped(&mut machine);
}

/// The units of the device after this command.
fn removed(machine: &mut Machine, command: &str) -> String {
    machine.container().sh(&format!(
        "{command} >&2; find /etc/systemd -printf '%p %l\\n' | sort; systemctl list-unit-files --no-legend\n\
         systemctl show --property=ActiveState,Result,DropInPaths,Triggers syslog.socket"
    ))
}

/// It reads nothing.
fn logger(version: &str, exec: &str) -> Deb {
    let unit = format!(
        "[Unit]\nRequires=syslog.socket\n[Service]\n{exec}\n\
         [Install]\nWantedBy=multi-user.target\nAlias=syslog.service\n"
    );
    service("logger", version, exec).file(&format!("{UNITS}/logger.service"), unit)
}

fn fails(outcome: &Outcome, expected: Cause) {
    let cause = outcome.failure.as_ref().map(|failure| failure.cause);
    assert_eq!(cause, Some(expected));
}

const SOCKET: &str = "/etc/systemd/system/syslog.socket.d/00-wharfd-held.conf";

fn an_upgrade_of_a_logger_stops_its_socket(machine: &mut Machine) {
    succeeded(&machine.install(&logger("1", FOREVER)), false);
    succeeded(&machine.activate("logger"), true);
    let refused = logger("2", FOREVER).script(Script::Preinst, "exit 1");
    fails(&machine.install(&refused), Cause::Script);
    machine.logs_by("logger.service", "active");

    let look = format!("[ -e {SOCKET} ] && systemctl start syslog.socket && logger anything");
    succeeded(
        &machine.install(&logger("2", FRAGILE).then(Script::Postinst, &look)),
        false,
    );
    machine.logs_by("logger.service", "inactive");
    machine.container().sh("touch /opt/broken");
    fails(&machine.activate("logger"), Cause::Unit);
    machine
        .container()
        .sh("systemctl reset-failed logger.service");
    machine.logs_by("logger.service", "inactive");
    machine.container().sh("rm /opt/broken");
    succeeded(&machine.activate("logger"), true);
    machine.logs_by("logger.service", "active");

    // An older wharfd left it in this state.
    machine.container().sh(
        "systemctl stop syslog.socket; mkdir /run/systemd/system/logger.service.d\n\
         printf '[Unit]\\nConditionPathExists=/opt/none\\n' >/run/systemd/system/logger.service.d/no.conf\n\
         systemctl daemon-reload; systemctl start syslog.socket\n\
         until systemctl is-failed --quiet syslog.socket; do logger anything; done\n\
         rm -r /run/systemd/system/logger.service.d; systemctl daemon-reload",
    );
    succeeded(&machine.deactivate("logger"), false);
    machine.logs_by("logger.service", "inactive");
    assert_eq!(machine.remove("logger").failure, None);
    assert_eq!(held(machine.container()), "");
}

/// Started at each boot. It has the socket of another package, and one of the administrator.
fn boot_logger(version: &str) -> Deb {
    let unit = format!("[Unit]\nRequires=admin.socket board.socket\n[Service]\n{FRAGILE}\n");
    let wants = format!("{UNITS}/multi-user.target.wants/boot-logger.service");
    Deb::new("boot-logger", version)
        .file(&format!("{UNITS}/boot-logger.service"), unit)
        .link(&wants, "../boot-logger.service")
}

/// Held until Activate, and started at each boot with its sockets.
fn a_logger_that_starts_at_boot_is_held_with_its_sockets(machine: &mut Machine) {
    let socket = |name: &str| {
        format!(
            "[Socket]\nListenDatagram=/run/{name}.log\nService=boot-logger.service\n\
             [Install]\nWantedBy=sockets.target\n"
        )
    };
    let board = Deb::new("board", "1").file(&format!("{UNITS}/board.socket"), socket("board"));
    machine.install_by_hand(&board);
    let admin = machine.root().join("etc/systemd/system/admin.socket");
    std::fs::write(&admin, socket("admin")).unwrap();
    succeeded(&machine.install(&boot_logger("1")), false);
    let drop_ins = "/etc/systemd/system/admin.socket.d/00-wharfd-held.conf\n\
                    /etc/systemd/system/board.socket.d/00-wharfd-held.conf\n\
                    /etc/systemd/system/boot-logger.service.d/00-wharfd-held.conf";
    let stand = |machine: &mut Machine| {
        ["boot-logger.service", "board.socket", "admin.socket"]
            .map(|it| machine.container().unit::<String>(it, "ActiveState"))
    };
    assert_eq!(held(machine.container()), drop_ins);
    machine.container().sh("/usr/libexec/wharfd/wharf-job tidy");
    assert_eq!(
        held(machine.container()),
        drop_ins,
        "it is held for a reason"
    );
    machine.reboot();
    assert_eq!(stand(machine), ["inactive"; 3]);
    assert_eq!(machine.container().failed_units(), [""; 0]);
    machine.container().sh("touch /opt/broken");
    fails(&machine.activate("boot-logger"), Cause::Unit);
    assert_eq!(stand(machine), ["failed", "inactive", "inactive"]);
    assert_eq!(held(machine.container()), drop_ins, "they are held again");
    machine.container().sh("rm /opt/broken");
    succeeded(&machine.activate("boot-logger"), true);
    assert_eq!(stand(machine), ["active"; 3]);
    let refused = boot_logger("2").script(Script::Preinst, "exit 1");
    fails(&machine.install(&refused), Cause::Script);
    assert_eq!(stand(machine), ["active"; 3], "the older version runs on");
    assert_eq!(held(machine.container()), "");
    succeeded(&machine.install(&boot_logger("2")), false);
    assert_eq!(stand(machine), ["inactive"; 3]);
    assert_eq!(held(machine.container()), drop_ins, "it is INACTIVE");
    succeeded(&machine.activate("boot-logger"), true);
    succeeded(&machine.deactivate("boot-logger"), false);
    assert_eq!(stand(machine), ["inactive"; 3]);
    assert_eq!(held(machine.container()), drop_ins);
    let listed = machine
        .container()
        .sh("/usr/libexec/wharfd/wharf-installer --json -- units boot-logger");
    let told = "not the package's, but it starts nothing else";
    assert_eq!(listed.matches(told).count(), 2, "{listed}");

    machine.container().sh(
        "systemctl enable --quiet admin.socket; /usr/libexec/wharfd/wharf-job tidy; systemctl start admin.socket",
    );
    let left = drop_ins.split_once('\n').map(|(_, left)| left);
    assert_eq!(
        Some(held(machine.container()).as_str()),
        left,
        "sockets.target wants it"
    );
    assert_eq!(stand(machine), ["inactive", "inactive", "active"]);
    machine
        .container()
        .sh("systemctl disable --quiet --now admin.socket");
    assert_eq!(machine.remove("boot-logger").failure, None);
    assert_eq!(held(machine.container()), "");
}

fn a_socket_of_a_package_that_policy_protects_is_never_stopped(machine: &mut Machine) {
    let socket = "[Socket]\nListenDatagram=/run/lamp\nService=lamp.service\n";
    let kept = Deb::new("kept", "1").file(&format!("{UNITS}/switch.socket"), socket);
    machine.install_by_hand(&kept);
    let state = |machine: &mut Machine| {
        machine
            .container()
            .unit::<String>("switch.socket", "ActiveState")
    };
    succeeded(&machine.install(&pulled("lamp", "1", FOREVER)), false);
    let lamp = "/etc/systemd/system/lamp.service.d/00-wharfd-held.conf";
    assert_eq!(held(machine.container()), lamp);
    machine.container().sh("systemctl start switch.socket");
    succeeded(&machine.activate("lamp"), true);
    succeeded(&machine.deactivate("lamp"), false);
    assert_eq!(held(machine.container()), lamp);
    assert_eq!(state(machine), "active");
    assert_eq!(machine.remove("lamp").failure, None);
}

fn sockets_that_others_use_are_never_stopped(machine: &mut Machine) {
    const SOCKETS: [&str; 5] = [
        "use-accept.socket",
        "use-both.socket",
        "use-needed.socket",
        "use-stops.socket",
        "use-wanted.socket",
    ];
    let named = |name: &str| format!("{UNITS}/{name}");
    let socket = |name: &str| {
        let starts = match name {
            "use-accept.socket" => "Accept=yes\nListenStream=/run/use-accept",
            _ => &format!("Service=acme.service\nListenDatagram=/run/{name}"),
        };
        format!("[Socket]\n{starts}\n[Install]\nWantedBy=sockets.target\n")
    };
    let others = SOCKETS.iter().fold(Deb::new("use", "1"), |deb, name| {
        deb.file(&named(name), socket(name))
    });
    let both = "[Service]\nSockets=use-both.socket\nExecStart=/bin/sleep infinity\n";
    let needs = "[Unit]\nRequires=use-needed.socket\n[Service]\nExecStart=/bin/sleep infinity\n";
    let stops =
        "[Unit]\nStopPropagatedFrom=use-stops.socket\n[Service]\nExecStart=/bin/sleep infinity\n";
    let others = others
        .file(&named("use-both.service"), both)
        .file(&named("use-needs.service"), needs)
        .file(&named("use-stops.service"), stops);
    machine.install_by_hand(&others);
    let acme = |version: &str| {
        let each = "[Service]\nStandardInput=socket\nExecStart=/bin/sleep infinity\n";
        service("acme", version, FOREVER).file(&named("use-accept@.service"), each)
    };
    succeeded(&machine.install(&acme("1")), false);
    machine.container().sh(&format!(
        "systemctl enable --quiet use-wanted.socket\n\
         systemctl start {} use-both.service use-needs.service use-stops.service",
        SOCKETS.join(" ")
    ));
    let stay = |machine: &mut Machine, when: &str| {
        for unit in SOCKETS
            .iter()
            .chain(&["use-needs.service", "use-stops.service"])
        {
            let state: String = machine.container().unit(unit, "ActiveState");
            assert_eq!(state, "active", "{unit} {when}");
        }
        assert_eq!(held(machine.container()), "", "{when}");
    };
    // A connection is open, so systemd shows an instance that the socket starts.
    machine.container().sh(
        "systemd-run --quiet perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(\"/run/use-accept\") && sleep'\n\
         until systemctl show --property=Triggers use-accept.socket | grep -q @.; do :; done",
    );
    succeeded(&machine.install(&acme("2")), false);
    stay(machine, "upgraded");
    succeeded(&machine.activate("acme"), true);
    succeeded(&machine.deactivate("acme"), false);
    stay(machine, "deactivated");
}
