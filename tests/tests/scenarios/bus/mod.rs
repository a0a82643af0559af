//! wharfctl over D-Bus, for an administrator of the gateway, beside the server that manages it.

mod changes;
mod connection;
mod doctor;
mod local_instances;
mod output;
mod rights;
mod upgrades;

use std::{os::unix::process::CommandExt as _, path::Path, process::Command};

use serde_json::Value;
use wharf_tests::{
    gateway::Gateway, origin::Fault, package::Package, process::Process, system_bus::SystemBus,
    waiting::wait_until,
};

use crate::stage_set::StageSet;

pub(crate) const ROOT: u32 = 0;

const NOBODY: u32 = 65534;

/// The output and the exit code of a program.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A gateway on a bus, registered.
pub(crate) struct OnBus {
    pub(crate) set: StageSet,
    bus: SystemBus,
}

impl OnBus {
    pub(crate) fn simulated() -> Self {
        Self::on(Gateway::simulated(), SystemBus::start)
    }

    pub(crate) fn on(gateway: Gateway, start: impl Fn(&Path) -> SystemBus) -> Self {
        let bus = start(&gateway.path());
        Self::with(StageSet::registered(gateway, ""), bus)
    }

    /// Runs everything on this bus.
    pub(crate) fn with(set: StageSet, bus: SystemBus) -> Self {
        let on_bus = Self { set, bus };
        on_bus.wait_for_wharfd();
        on_bus
    }

    /// Waits until wharfd is on the bus, and answers.
    #[track_caller]
    pub(crate) fn wait_for_wharfd(&self) {
        wait_until("wharfd on the bus", || {
            (self.wharfctl(&["status"]).code == Some(0)).then_some(())
        });
    }

    /// Sends a signal like wharfd's, from another sender.
    pub(crate) fn signal_from_wharfd(&self) {
        let signal = "org.freedesktop.DBus.Properties.PropertiesChanged";
        let mut send = self.bus.send();
        send.args(["--type=signal", "/org/wharfd/Agent1/instances/0", signal]);
        assert_eq!(run(&mut send).code, Some(0));
    }

    pub(crate) fn wharfctl(&self, arguments: &[&str]) -> Said {
        self.wharfctl_as(ROOT, arguments)
    }

    fn wharfctl_as(&self, user: u32, arguments: &[&str]) -> Said {
        run(self
            .set
            .gateway
            .command("wharfctl", &[])
            .args(arguments)
            .uid(user))
    }

    /// The command line by which a shell calls wharfctl.
    fn wharfctl_line(&self) -> String {
        let command = self.set.gateway.command("wharfctl", &[]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        words.join(" ")
    }

    /// Restarts wharfd, and waits until this install has ended well.
    pub(crate) fn restart_during(&mut self, install: &mut Process) {
        self.set.gateway.daemon().terminate();
        install.output().wait_for("wharfd is away");
        self.set.gateway.start_daemon(&[]);
        install
            .output()
            .wait_for("hello 1.0.1 is installed in instance ");
        assert_eq!(install.wait().code(), Some(0));
    }

    /// wharfctl that installs into instance 0, half of whose package has come.
    pub(crate) fn install_that_stalls(&self) -> Process {
        let package = Package::new("hello", "1.0.1").padding(200_000);
        let uri = self.set.publish(&package);
        let path = format!("/{}", uri.rsplit('/').next().unwrap());
        self.set.origin.fault(&path, Fault::StallAfter(100_000));
        let mut command = self.set.gateway.command("wharfctl", &[]);
        let install = Process::spawn(command.args(["install", "--instance", "0", &uri]));
        self.set.origin.wait_for_stall();
        install
    }

    /// `wharfctl install` of a URI into instance 0, with User Name and Password for its origin.
    fn install_with_password(&self, uri: &str) -> Said {
        let file = self.set.folder.join("password");
        std::fs::write(&file, "correct horse\n").unwrap();
        let file = file.to_str().unwrap();
        let credentials = ["--user", "fleet", "--password-file", file];
        self.wharfctl(&[&["install", uri, "--instance", "0"], &credentials[..]].concat())
    }

    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let said = self.wharfctl(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.output
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.done(&[&["--json"], arguments].concat());
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// wharfctl shows the same values of `/9/0` as the server reads.
    #[track_caller]
    pub(crate) fn agree(&self, expected: &str) {
        self.agree_on(0, expected);
    }

    /// The same of another instance.
    #[track_caller]
    fn agree_on(&self, instance: u16, expected: &str) {
        let shown = &self.json(&["show", &instance.to_string()]);
        let client = self.set.client();
        let read = |resource: u16| client.read_text(&format!("/9/{instance}/{resource}"));
        let told = |name: &str| match &shown[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        for (name, resource) in [
            ("name", 0),
            ("version", 1),
            ("update_state", 7),
            ("update_result", 9),
            ("status_reason", 16),
        ] {
            assert_eq!(told(name), read(resource), "{name} of {shown}");
        }
        assert_eq!(format!("{}/{}", read(7), read(9)), expected);
    }
}

pub(crate) fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code(),
        output: text(output.stdout),
        errors: text(output.stderr),
    }
}

/// A method of `/9/0`, by somebody who has no wharfctl for it.
pub(crate) fn call(on_bus: &OnBus, user: u32, method: &str, arguments: &[&str]) -> Said {
    let instance = "/org/wharfd/Agent1/instances/0";
    run(on_bus
        .bus
        .send()
        .args(["--print-reply", "--dest=org.wharfd.Agent1", instance])
        .arg(format!("org.wharfd.Agent1.Instance.{method}"))
        .args(arguments)
        .uid(user))
}

/// The instances, each with its version in place.
#[track_caller]
fn in_place(on_bus: &OnBus) -> Vec<(u64, String)> {
    let instances = on_bus.json(&["list"]);
    let version = |one: &Value| {
        let software = &one["in_place"];
        let of = |part: &str| software[part].as_str().unwrap_or_default().to_owned();
        format!("{} {}", of("name"), of("version"))
    };
    let instances = instances.as_array().unwrap().iter();
    instances
        .map(|one| (one["id"].as_u64().unwrap(), version(one)))
        .collect()
}

#[track_caller]
fn has_in_place(on_bus: &OnBus, expected: &[(u64, &str)]) {
    let expected = expected
        .iter()
        .map(|(id, software)| (*id, (*software).to_owned()));
    assert_eq!(in_place(on_bus), expected.collect::<Vec<_>>());
}
