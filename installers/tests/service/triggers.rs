//! Sockets of other packages that start nothing but held units.

use wharf_frames::{Cause, installer::Outcome};
use wharf_tests::{debian_root::archived, services::UNITS, waiting::wait_until};

use crate::{
    activation::{FOREVER, service, succeeded},
    aliases::held,
    conditions::FRAGILE,
    machine::{Deb, Machine, Script},
};

impl Machine {
    /// Logs a line, which journald forwards to whoever listens, and waits until systemd has done what comes of it.
    fn log(&mut self, line: &str) {
        let command =
            format!("logger {line}; journalctl --sync; systemctl is-system-running --wait || true");
        self.container().sh(&command);
    }

    /// The states of both, and that no trigger was given up.
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
    a_logger_that_starts_at_boot_is_held_with_its_socket(&mut machine);
    sockets_that_others_use_are_never_stopped(&mut machine);
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

    // Somebody left it as an older wharfd did.
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

/// Held until Activate, and pulled in at each boot: the socket comes with it.
fn a_logger_that_starts_at_boot_is_held_with_its_socket(machine: &mut Machine) {
    let board = "[Socket]\nListenDatagram=/run/board.log\nService=boot-logger.service\n";
    machine.install_by_hand(&Deb::new("board", "1").file(&format!("{UNITS}/board.socket"), board));
    let unit = format!("[Unit]\nRequires=board.socket\n[Service]\n{FRAGILE}\n");
    let wants = format!("{UNITS}/multi-user.target.wants/boot-logger.service");
    let deb = Deb::new("boot-logger", "1")
        .file(&format!("{UNITS}/boot-logger.service"), unit)
        .link(&wants, "../boot-logger.service");
    succeeded(&machine.install(&deb), false);
    let drop_ins = "/etc/systemd/system/board.socket.d/00-wharfd-held.conf\n\
                    /etc/systemd/system/boot-logger.service.d/00-wharfd-held.conf";
    let stand = |machine: &mut Machine| {
        ["boot-logger.service", "board.socket"]
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
    assert_eq!(stand(machine), ["inactive", "inactive"]);
    assert_eq!(machine.container().failed_units(), [""; 0]);
    machine.container().sh("touch /opt/broken");
    fails(&machine.activate("boot-logger"), Cause::Unit);
    assert_eq!(stand(machine), ["failed", "inactive"]);
    assert_eq!(held(machine.container()), drop_ins, "they are held again");
    machine.container().sh("rm /opt/broken");
    succeeded(&machine.activate("boot-logger"), true);
    assert_eq!(stand(machine), ["active", "active"]);
    succeeded(&machine.deactivate("boot-logger"), false);
    assert_eq!(stand(machine), ["inactive", "inactive"]);
    assert_eq!(held(machine.container()), drop_ins);
    assert_eq!(machine.remove("boot-logger").failure, None);
    assert_eq!(held(machine.container()), "");
}

fn sockets_that_others_use_are_never_stopped(machine: &mut Machine) {
    const SOCKETS: [&str; 3] = ["use-both.socket", "use-needed.socket", "use-wanted.socket"];
    let named = |name: &str| format!("{UNITS}/{name}");
    let socket = |name: &str| {
        format!(
            "[Socket]\nListenDatagram=/run/{name}\nService=acme.service\n[Install]\nWantedBy=sockets.target\n"
        )
    };
    let others = SOCKETS.iter().fold(Deb::new("use", "1"), |deb, name| {
        deb.file(&named(name), socket(name))
    });
    let both = "[Service]\nSockets=use-both.socket\nExecStart=/bin/sleep infinity\n";
    let needs = "[Unit]\nRequires=use-needed.socket\n[Service]\nExecStart=/bin/sleep infinity\n";
    let others = others
        .file(&named("use-both.service"), both)
        .file(&named("use-needs.service"), needs);
    machine.install_by_hand(&others);
    succeeded(&machine.install(&service("acme", "1", FOREVER)), false);
    machine
        .container()
        .sh("systemctl enable --quiet use-wanted.socket\n\
         systemctl start use-both.socket use-needed.socket use-wanted.socket use-both.service use-needs.service");
    let stay = |machine: &mut Machine, when: &str| {
        for unit in SOCKETS.iter().chain(&["use-needs.service"]) {
            let state: String = machine.container().unit(unit, "ActiveState");
            assert_eq!(state, "active", "{unit} {when}");
        }
        assert_eq!(held(machine.container()), "", "{when}");
    };
    succeeded(&machine.install(&service("acme", "2", FOREVER)), false);
    stay(machine, "upgraded");
    succeeded(&machine.activate("acme"), true);
    succeeded(&machine.deactivate("acme"), false);
    stay(machine, "deactivated");
}
