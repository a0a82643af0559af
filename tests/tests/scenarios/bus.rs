//! What an administrator sees and does on the gateway itself, by wharfctl over D-Bus, beside the server that manages it.

use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt as _, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use wharf_tests::{
    gateway::{ENDPOINT, Gateway, SHORT_TIMES},
    origin::{Fault, Origin},
    package::{Package, Script},
    process::Process,
    system_bus::SystemBus,
    waiting::wait_until,
};

use crate::stage_set::StageSet;

pub(crate) const ROOT: u32 = 0;
const NOBODY: u32 = 65534;
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a program said, and how it ended.
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

    /// What wharfctl shows of `/9/0` is what the server reads there.
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

#[test]
fn wharfctl_and_the_server_agree_at_each_step() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    on_bus.agree("0/0");
    set.deliver(&Package::new("hello", "1.0.1"));
    on_bus.agree("3/0");
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    on_bus.agree("4/2");
    let shown = on_bus.json(&["show", "hello"]);
    let kinds: Vec<String> = shown["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| {
            format!(
                "{} {} {}",
                operation["kind"], operation["origin"], operation["state"]
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [r#""pull" "server" "done""#, r#""install" "server" "done""#]
    );
}

#[test]
fn what_is_done_locally_goes_through_the_same_instance_and_notifies_the_server() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.origin.require("fleet", "correct horse");
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    set.observe(&[9, 7, 0, 1]);

    let said = on_bus.install_with_password(&uri);

    assert_eq!(said.code, Some(0), "{said:?}");
    let said = said.output;
    assert!(
        said.ends_with(
            "hello 1.0.1 is installed in instance 0, and inactive: `wharfctl activate 0` starts it\n"
        ),
        "{said}"
    );
    set.expect_story(&[
        "9=1", "7=1", "9=0", "7=2", "0=hello", "1=1.0.1", "7=3", "9=2", "7=4",
    ]);
    on_bus.agree("4/2");
    let operations = &on_bus.json(&["status"])["operations"];
    assert_eq!(operations[0]["kind"], "pull");
    assert_eq!(operations[0]["origin"], "user");
    assert_eq!(operations[0]["origin_id"], 0);

    on_bus.done(&["uninstall", "hello"]);
    on_bus.agree("0/0");
}

#[test]
fn an_install_with_a_password_over_plain_http_is_refused_here_too() {
    let on_bus = OnBus::simulated();
    let elsewhere = Origin::http();
    let uri = elsewhere.serve("/hello.deb", "never served");

    let said = on_bus.install_with_password(&uri);

    assert_eq!(said.code, Some(1), "{said:?}");
    let allow = format!("credentials-over-http = [\"{}\"]", elsewhere.uri(""));
    assert!(said.errors.contains(&allow), "{said:?}");
    assert_eq!(elsewhere.requests(), []);
    on_bus.agree("0/57");
}

#[test]
fn activate_and_deactivate_are_followed_to_their_end() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    assert_eq!(on_bus.json(&["list"])[0]["active"], false);
    on_bus.done(&["activate", "0"]);
    assert_eq!(on_bus.set.client().read_text("/9/0/12"), "1");
    assert_eq!(on_bus.json(&["list"])[0]["active"], true);
    on_bus.done(&["deactivate", "hello"]);
    assert_eq!(on_bus.set.client().read_text("/9/0/12"), "0");
}

/// What takes longer to stop than anybody waits is disabled by then, and may still run.
#[test]
fn a_deactivate_that_failed_is_told_as_failed_although_nothing_is_active() {
    let mut on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    on_bus.done(&["activate", "hello"]);
    let faults = on_bus.set.gateway.path().join("etc/wharf-simulated");
    std::fs::create_dir(&faults).unwrap();
    std::fs::write(faults.join("fail-deactivate"), "").unwrap();

    let said = on_bus.wharfctl(&["deactivate", "hello"]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.errors.contains("fail-deactivate"), "{said:?}");
    assert_eq!(on_bus.json(&["list"])[0]["active"], false);
    let shown = on_bus.json(&["show", "hello"]);
    let last = shown["operations"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["state"]),
        (&"deactivate".into(), &"failed".into()),
        "{shown}"
    );
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("warning: instance 0: INSTALLED/2, inactive, 40: simulated: fail-deactivate");
}

#[test]
fn what_is_installed_locally_is_inactive_whatever_is_configured_for_the_server() {
    let gateway = Gateway::simulated();
    let _bus = SystemBus::start(&gateway.path());
    let options = "activation = \"always\"\n[package.own]\nactivation = \"always\"\n";
    let set = StageSet::registered(gateway, options);
    let install = |package: &Package| {
        let file = set.signed_inside(package);
        wait_until("a local install", || {
            let mut wharfctl = set.gateway.command("wharfctl", &[]);
            let said = run(wharfctl.args(["install", file.to_str().unwrap()]));
            assert!(matches!(said.code, Some(0 | 69)), "{said:?}");
            (said.code == Some(0)).then_some(())
        });
    };
    install(&Package::new("hello", "1.0.1"));
    assert_eq!(set.client().read_text("/9/15/12"), "0");
    let operations = run(set
        .gateway
        .command("wharfctl", &[])
        .args(["--json", "status"]));
    assert!(!operations.output.contains("activate"), "{operations:?}");

    install(&Package::new("own", "1.0.1")); // what is configured for the package holds
    wait_until("own to be active", || {
        (set.client().read_text("/9/14/12") == "1").then_some(())
    });
}

#[test]
fn a_file_is_handed_over_as_a_descriptor_and_judged_like_a_push() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    let set = &on_bus.set;
    let inside = set.signed_inside(&Package::new("inside", "1.0-1").padding(300_000));
    on_bus.done(&["install", inside.to_str().unwrap()]);
    on_bus.agree_on(15, "4/2");

    let beside = Package::new("beside", "2.0-1").build(set.folder.path());
    set.keys
        .sign_beside(wharf_tests::keys::Signer::Vendor, &beside);
    let said = on_bus.done(&["install", beside.to_str().unwrap()]);
    assert!(
        said.contains("\nbeside 2.0-1 is installed in instance 14, and inactive"),
        "{said}"
    );
    let around = Package::new("around", "3.0-1").build(set.folder.path());
    let around = set
        .keys
        .sign_around(wharf_tests::keys::Signer::Vendor, &around);
    on_bus.done(&["install", around.to_str().unwrap()]);
    let installed = |name| set.gateway.debian_root().installed_version(name);
    assert_eq!(installed("inside").as_deref(), Some("1.0-1"));
    assert_eq!(installed("beside").as_deref(), Some("2.0-1"));
    assert_eq!(installed("around").as_deref(), Some("3.0-1"));

    let unsigned = Package::new("unsigned", "1.0-1").build(set.folder.path());
    let said = on_bus.wharfctl(&["install", unsigned.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.errors
            .contains("INITIAL/53, 20: there is no signature"),
        "{said:?}"
    );
    assert_eq!(installed("unsigned"), None);
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

#[test]
fn an_install_upgrades_the_instance_that_has_the_package() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let install = |package: &Package, name: Option<&str>| {
        let mut file = set.signed_inside(package);
        if let Some(name) = name {
            let other = set.folder.join(name);
            std::fs::rename(&file, &other).unwrap();
            file = other;
        }
        on_bus.done(&["install", file.to_str().unwrap()]);
    };
    install(&Package::new("hello", "1.0.1"), None);
    let uri = set.publish(&Package::new("hello", "2.0.1"));
    on_bus.done(&["install", &uri]);
    has_in_place(&on_bus, &[(0, " "), (15, "hello 2.0.1")]);
    install(&Package::new("other", "1.0.1"), None);
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 2.0.1")],
    );

    // The name of a file is a guess.
    install(&Package::new("hello", "3.0.1"), Some("update.deb"));
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 3.0.1")],
    );
    install(&Package::new("hello", "4.0.1"), Some("other_4.0.1_all.deb"));
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 4.0.1")],
    );

    let last = set.signed_inside(&Package::new("hello", "5.0.1"));
    on_bus.done(&["install", last.to_str().unwrap(), "--instance", "hello"]);
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 5.0.1")],
    );
}

/// hello is INSTALLED, and nobody has asked for another hello.
#[test]
fn a_package_under_another_name_leaves_the_software_of_that_name_installed() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let lying = |package: &Package, name: &str| {
        let other = set.folder.join(name);
        std::fs::rename(set.signed_inside(package), &other).unwrap();
        other.to_str().unwrap().to_owned()
    };
    let world = lying(&Package::new("world", "1.0.1"), "hello_9_all.deb");
    let said = on_bus.wharfctl(&["install", &world, "--instance", "0"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let why = "instance 0 has hello in place, and the package is world: leave out --instance";
    assert!(said.errors.contains(why), "{said:?}");
    on_bus.agree("4/2");

    let unsigned = set.build(&Package::new("hello", "2.0.1"));
    let said = on_bus.wharfctl(&["install", unsigned.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    on_bus.agree("4/2");

    on_bus.done(&["install", &world]);
    has_in_place(&on_bus, &[(0, "hello 1.0.1"), (15, "world 1.0.1")]);
    on_bus.agree("4/2");

    // The package behind a URI is known only after its download.
    let newer = std::fs::read(set.signed_inside(&Package::new("world", "2.0.1"))).unwrap();
    let hello = set.origin.serve("/hello_9_all.deb", newer);
    let said = on_bus.done(&["install", &hello]);
    let told = "\nworld 2.0.1 is delivered again, into the instance that has it in place\n";
    assert!(said.contains(told), "{said}");
    has_in_place(&on_bus, &[(0, "hello 1.0.1"), (15, "world 2.0.1")]);
    on_bus.agree("4/2");

    let missing = hello.replace("hello_9", "hello_10");
    let said = on_bus.wharfctl(&["install", &missing]);
    assert!(
        said.errors.contains("instance 14, INITIAL/56, "),
        "{said:?}"
    );
    has_in_place(
        &on_bus,
        &[(0, "hello 1.0.1"), (14, " "), (15, "world 2.0.1")],
    );
    on_bus.agree("4/2");

    let said = on_bus.wharfctl(&["install", "--instance", "hello", &missing]);
    assert!(
        said.errors
            .ends_with("; hello 1.0.1 is in place and does not run\n"),
        "{said:?}"
    );
    on_bus.agree("0/56");
}

#[test]
fn a_package_that_another_instance_has_is_not_installed_into_a_new_one() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let second = set.signed_inside(&Package::new("hello", "2.0.1"));

    let said = on_bus.wharfctl(&["install", "--new", second.to_str().unwrap()]);

    assert_eq!(said.code, Some(1), "{said:?}");
    let why =
        "instance 0 has hello in place: leave out --new and --instance to upgrade or repair it";
    assert!(said.errors.contains(why), "{said:?}");
    has_in_place(&on_bus, &[(0, "hello 1.0.1")]);
}

#[test]
fn new_instances_come_from_the_top_and_the_limit_names_its_key() {
    let gateway = Gateway::simulated();
    let bus = SystemBus::start(&gateway.path());
    let set = StageSet::configured(gateway, "");
    set.gateway
        .write("etc/wharfd/wharfd.toml.d/few.toml", "max-instances = 3\n");
    let on_bus = OnBus::with(set.started(), bus);
    let install = |name: &str| {
        let file = on_bus.set.signed_inside(&Package::new(name, "1.0.1"));
        on_bus.wharfctl(&["install", "--new", file.to_str().unwrap()])
    };
    for name in ["first", "second"] {
        let said = install(name);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    has_in_place(
        &on_bus,
        &[(0, " "), (1, "second 1.0.1"), (2, "first 1.0.1")],
    );
    let said = install("third");
    assert_eq!(
        (said.code, &*said.errors),
        (
            Some(1),
            "wharfctl: there are 3 instances, and `max-instances` in wharfd.toml allows 3: Delete one, or allow more\n"
        )
    );
    let free = "take the free one of the server with --instance 0\n";
    let third = on_bus.set.signed_inside(&Package::new("third", "1.0.1"));
    let said = on_bus.wharfctl(&["install", third.to_str().unwrap()]);
    let advice = format!("Delete one, or allow more, or {free}");
    assert!(said.errors.ends_with(&advice), "{said:?}");
    let newer = on_bus.set.publish(&Package::new("first", "2.0.1"));
    let said = on_bus.wharfctl(&["install", &newer]);
    let advice = format!("or allow more, or name the one to upgrade with --instance, or {free}");
    assert!(said.errors.ends_with(&advice), "{said:?}");
    on_bus.done(&["install", "--instance", "first", &newer]);
}

#[test]
fn a_free_instance_that_no_local_user_created_is_left_to_the_server() {
    let mut on_bus = OnBus::simulated();
    on_bus.set.client().create("/9", None, &[]).expect("2.01");
    let install = |on_bus: &OnBus, package: &str| {
        let file = on_bus.set.signed_inside(&Package::new(package, "1.0.1"));
        on_bus.done(&["install", file.to_str().unwrap()]);
    };
    let unsigned = on_bus.set.build(&Package::new("unsigned", "1.0.1"));
    let said = on_bus.wharfctl(&["install", unsigned.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    has_in_place(&on_bus, &[(0, " "), (1, " "), (15, " ")]);

    // wharfctl takes its own free instance again, also after a restart of wharfd.
    on_bus.set.kill_and_start_daemon();
    on_bus.wait_for_wharfd();
    install(&on_bus, "hello");
    has_in_place(&on_bus, &[(0, " "), (1, " "), (15, "hello 1.0.1")]);
    install(&on_bus, "other");
    on_bus.done(&["uninstall", "hello"]);
    install(&on_bus, "third");
    let all = [(0, " "), (1, " "), (14, "other 1.0.1"), (15, "third 1.0.1")];
    has_in_place(&on_bus, &all);
    on_bus.agree("0/0");
    let local = on_bus.json(&["list"]);
    let local = local.as_array().unwrap().iter().map(|one| &one["local"]);
    assert_eq!(local.collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn a_refusal_carries_the_text_of_the_machine() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    for (arguments, code, text) in [
        (
            &["delete", "0"][..],
            1,
            "hello 1.0.1 is in place: Uninstall first",
        ),
        (&["activate", "9"], 1, "there is no instance 9"),
        (&["install", "ftp://h/x.deb"], 1, "only http, https are"),
        (&["show", "none"], 1, "no instance has a package none"),
        (
            &["install", "hello"],
            1,
            "there is no file \"hello\": name a file, a URI",
        ),
        (&["instal"], 64, "unrecognized subcommand"),
        (&["install", "/"], 1, "wharfctl: / is not a regular file"),
        (
            &["keys", "check", "/"],
            1,
            "cannot read /: it is no regular file",
        ),
        (
            &["units", "two words"],
            1,
            "wharfctl: units \"two words\": a name",
        ),
        (
            &["install", "--user", "fleet", "--password-file", "/p", "/x"],
            64,
            "--user and --password-file need a URI",
        ),
    ] {
        let said = on_bus.wharfctl(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        assert!(said.errors.contains(text), "{arguments:?}: {said:?}");
        assert!(!said.errors.contains("Usage: wharf-installer"), "{said:?}");
    }
}

#[test]
fn a_refusal_names_what_it_is_about() {
    let on_bus = OnBus::simulated();
    let said = on_bus.wharfctl(&["activate", "0"]);
    assert_eq!(
        said.errors,
        "wharfctl: instance 0: Activate has no effect in INITIAL\n"
    );
}

#[test]
fn a_package_that_two_instances_have_is_named_by_its_instance() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.install(&Package::new("hello", "1.0.1"));
    let uri = set.publish(&Package::new("hello", "2.0.1"));
    let created = set.client().create("/9", Some(1), &[(3, uri.as_bytes())]);
    created.expect("2.01");
    set.wait_for_instance(1, "3/0");

    let said = on_bus.wharfctl(&["uninstall", "hello"]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.errors
            .contains("instances 0 and 1 both have a package hello"),
        "{said:?}"
    );
    on_bus.agree("4/2");
}

/// The server sees it in 16 alone: 12 and its own Activate are for INSTALLED (TS 5.2).
#[test]
fn after_a_refused_upgrade_the_software_in_place_is_activated_and_deactivated() {
    let mut on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.install(&Package::new("hello", "1.0.1"));
    on_bus.done(&["activate", "hello"]);
    let unsigned = set.build(&Package::new("hello", "2.0.1"));
    let said = on_bus.wharfctl(&["install", "--instance", "0", unsigned.to_str().unwrap()]);
    assert!(
        said.errors
            .ends_with("; hello 1.0.1 is in place and runs\n"),
        "{said:?}"
    );
    for resource in [10, 11] {
        let refused = set.client().execute(&format!("/9/0/{resource}"), "");
        refused.expect("4.05");
    }
    assert_eq!(
        on_bus.done(&["deactivate", "hello"]).lines().last(),
        Some("hello 1.0.1 is inactive")
    );
    on_bus.agree("0/53");
    let reason = || on_bus.set.client().read_text("/9/0/16");
    assert!(reason().ends_with("; hello 1.0.1 is in place and does not run"));
    let operations = &on_bus.json(&["show", "hello"])["operations"];
    let last = operations.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["state"]),
        (&"deactivate".into(), &"done".into())
    );
    // The missing package was reported before.
    let stopped = "; hello 1.0.1 is in place and does not run";
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for(stopped);
    let all = lines.all();
    let mut told = all.iter().filter(|line| line.contains(stopped));
    assert!(told.all(|line| !line.starts_with("warning: ")), "{all:?}");

    on_bus.set.kill_and_start_daemon();
    on_bus
        .set
        .wait_for_reason("; hello 1.0.1 is in place and does not run");
    wait_until("wharfd on the bus again", || {
        (on_bus.wharfctl(&["activate", "hello"]).code == Some(0)).then_some(())
    });
    on_bus.agree("0/53");
    assert_eq!(on_bus.set.client().read_text("/9/0/12"), "0");
    assert!(
        on_bus
            .set
            .client()
            .read_text("/9/0/16")
            .ends_with("is in place and runs")
    );
    assert_eq!(on_bus.json(&["list"])[0]["in_place"]["runs"], true);
}

#[test]
fn after_an_upgrade_that_apt_could_not_do_activate_is_about_the_old_software() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    let set = &on_bus.set;
    set.install(&Package::new("hello", "1.0-1"));
    let failing = Package::new("hello", "2.0-1").script(Script::Preinst, "exit 3");
    let failing = set.signed_inside(&failing);
    let said = on_bus.wharfctl(&["install", "--instance", "0", failing.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for words in [
        "hello 2.0-1, DELIVERED/58, 60: hello 2.0-1 is not installed: ",
        "; hello 1.0-1 is in place and does not run\n",
    ] {
        assert!(said.errors.contains(words), "{said:?}");
    }
    set.client().execute("/9/0/10", "").expect("4.05");

    let said = on_bus.wharfctl(&["activate", "hello"]);

    assert_eq!(said.code, Some(1), "{said:?}");
    let why = "; hello 1.0-1 is in place and does not run: no service manager runs here";
    assert!(said.errors.contains(why), "{said:?}");
    on_bus.agree("3/58");
    assert_eq!(set.client().read_text("/9/0/1"), "2.0-1");
    let read_by_others = on_bus.wharfctl_as(NOBODY, &["show", "0"]).output;
    let public = "60: hello 2.0-1 is not installed: the installation failed; hello 1.0-1 is in place and does not run\n";
    assert!(read_by_others.contains(public), "{read_by_others}");
}

#[test]
fn software_without_services_is_told_as_such_also_after_a_restart() {
    let mut on_bus = OnBus::simulated();
    let faults = on_bus.set.gateway.path().join("etc/wharf-simulated");
    std::fs::create_dir(&faults).unwrap();
    std::fs::write(faults.join("no-services"), "").unwrap();
    let package = on_bus.set.signed_inside(&Package::new("hello", "1.0.1"));

    let said = on_bus.done(&["install", "--instance", "0", package.to_str().unwrap()]);

    let last = "hello 1.0.1 is installed in instance 0, and has no services";
    assert_eq!(said.lines().last(), Some(last));
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("instance 0: INSTALLED/2, no services, 40: hello 1.0.1 is installed");
    let told = |on_bus: &OnBus| {
        let list = on_bus.done(&["list"]);
        assert!(
            list.contains("INSTALLED/2  1.0.1     no services  40: "),
            "{list}"
        );
        let show = on_bus.done(&["show", "0"]);
        assert!(
            show.contains("  in place       hello 1.0.1, no services\n"),
            "{show}"
        );
        assert_eq!(on_bus.json(&["list"])[0]["in_place"]["no_services"], true);
    };
    told(&on_bus);
    // The specification defines Resource 12.
    for (verb, state) in [("activate", "1"), ("deactivate", "0")] {
        let said = on_bus.done(&[verb, "hello"]);
        assert_eq!(said.lines().last(), Some("hello 1.0.1 has no services"));
        assert_eq!(on_bus.set.client().read_text("/9/0/12"), state);
    }
    on_bus.set.kill_and_start_daemon();
    wait_until("wharfd on the bus again", || {
        (on_bus.wharfctl(&["status"]).code == Some(0)).then_some(())
    });
    told(&on_bus);
}

#[test]
fn an_upgrade_that_is_refused_says_what_stays_in_place() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let package = on_bus.set.build(&Package::new("hello", "2.0.1"));

    let said = on_bus.wharfctl(&["install", "--instance", "0", package.to_str().unwrap()]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.errors
            .ends_with("; hello 1.0.1 is in place and does not run\n"),
        "{said:?}"
    );
    let status = on_bus.done(&["status"]);
    assert!(
        status.contains("instance 0: hello 1.0.1, INITIAL/53, 20: "),
        "{status}"
    );
}

#[test]
fn a_change_in_json_is_told_as_watch_tells_it() {
    let on_bus = OnBus::simulated();
    let uri = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    let last = |arguments: &[&str]| -> Value {
        let said = on_bus.done(&[&["--json"], arguments].concat());
        let lines = said.lines().map(serde_json::from_str::<Value>);
        let lines: Vec<Value> = lines.map(|line| line.expect(&said)).collect();
        lines.last().unwrap().clone()
    };
    let installed = last(&["install", "--instance", "0", &uri]);
    assert_eq!(installed["update_state_name"], "INSTALLED");
    assert_eq!(last(&["activate", "0"])["active"], true);
    assert_eq!(last(&["deactivate", "0"])["active"], false);
    assert_eq!(last(&["uninstall", "0"])["update_state_name"], "INITIAL");
    let deleted = serde_json::json!({ "id": 0, "deleted": true });
    assert_eq!(last(&["delete", "0"]), deleted);
}

#[test]
fn what_nobody_reads_is_done_all_the_same() {
    let on_bus = OnBus::simulated();
    let uri = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    let unread = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = on_bus.set.gateway.command("wharfctl", &[]);
        let command = command.args(arguments).stdout(writer);
        let output = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*errors),
            (Some(0), ""),
            "{arguments:?}"
        );
    };
    unread(&["install", "--instance", "0", &uri]);
    on_bus.agree("4/2");
    for verb in ["status", "history", "activate", "uninstall"] {
        let package = matches!(verb, "activate" | "uninstall").then_some("hello");
        unread(&[&[verb], package.as_slice()].concat());
    }
    on_bus.agree("0/0");
}

#[test]
fn a_change_is_followed_across_restarts_of_wharfd() {
    let mut on_bus = OnBus::simulated();
    let mut install = on_bus.install_that_stalls();

    on_bus.restart_during(&mut install);
}

#[test]
fn an_interrupted_change_goes_on_and_says_so() {
    let on_bus = OnBus::simulated();
    let mut install = on_bus.install_that_stalls();
    // Whoever waits sees how far it is, long before so much is durable.
    wait_until("some percent", || {
        let percent = on_bus.json(&["list"])[0]["percent"].as_u64();
        percent.filter(|percent| (1..100).contains(percent))
    });

    install.signal(Signal::SIGINT);

    assert_eq!(install.wait().code(), Some(130));
    install
        .errors()
        .wait_for("the accepted operation continues");
    on_bus.set.origin.release();
    on_bus.set.wait_for("3/0");
}

fn reads_but_changes_nothing(on_bus: &OnBus) {
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    for verb in ["status", "list", "history"] {
        let said = on_bus.wharfctl_as(NOBODY, &[verb]);
        assert_eq!(said.code, Some(0), "{verb}: {said:?}");
    }
    for arguments in [
        &["install", "http://h/x.deb"][..],
        &["uninstall", "0"],
        &["uninstall", "0", "--purge"],
        &["activate", "0"],
        &["deactivate", "0"],
        &["delete", "0"],
    ] {
        let said = on_bus.wharfctl_as(NOBODY, arguments);
        assert_eq!(said.code, Some(77), "{arguments:?}: {said:?}");
        assert!(said.errors.contains("only root"), "{said:?}");
    }
    on_bus.agree("4/2");
}

#[test]
fn an_unprivileged_user_reads_but_changes_nothing() {
    reads_but_changes_nothing(&OnBus::simulated());
}

#[test]
fn wharfd_itself_asks_who_calls() {
    reads_but_changes_nothing(&OnBus::on(Gateway::simulated(), SystemBus::permissive));
}

#[test]
fn only_wharfd_owns_its_name() {
    let on_bus = OnBus::simulated();
    for user in [ROOT, NOBODY] {
        let said = run(on_bus
            .bus
            .send()
            .args(["--print-reply", "--dest=org.freedesktop.DBus", "/"])
            .args([
                "org.freedesktop.DBus.RequestName",
                "string:org.wharfd.Agent1",
                "uint32:2",
            ])
            .uid(user));
        assert_ne!(said.code, Some(0), "{user}: {said:?}");
        assert!(said.errors.contains("AccessDenied"), "{user}: {said:?}");
    }
}

#[test]
fn no_secret_is_in_a_property_a_signal_or_the_introspection() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let mut monitor = Process::spawn(Command::new("dbus-monitor").args([
        "--address",
        &on_bus.bus.address(),
        "sender=org.wharfd.Agent1",
    ]));
    monitor.output().wait_for("NameAcquired");
    set.origin.require("fleet", "correct horse");
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    let client = set.client();
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    set.order(&format!("{uri}?token=hunter2"));
    wait_until("the end of the download", || {
        let state = client.read_text("/9/0/7");
        (state == "0" || state == "3").then_some(())
    });
    monitor.output().wait_for("UpdateState");
    let mut seen = vec![
        on_bus.done(&["--json", "status"]),
        on_bus.done(&["--json", "history"]),
    ];
    for path in ["/org/wharfd/Agent1", "/org/wharfd/Agent1/instances/0"] {
        let said = run(on_bus
            .bus
            .send()
            .args(["--print-reply", "--dest=org.wharfd.Agent1", path])
            .arg("org.freedesktop.DBus.Introspectable.Introspect"));
        assert_eq!(said.code, Some(0), "{said:?}");
        seen.push(said.output);
    }
    monitor.kill();
    seen.push(monitor.output().wait_for_end().join("\n"));
    for secret in ["correct horse", "hunter2", "fleet"] {
        for text in &seen {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// A folder of an origin that is as good as a password.
const PATH: &str = "t0ken-in-the-path";
const QUERY: &str = "t0ken-in-the-query";
/// The output of a maintainer script.
const WORDS: &str = "password of the cloud: hunter2";

/// A package with a script that fails, at an origin with a secret path. Gives its URI.
fn publish_in_a_secret_folder(set: &StageSet) -> String {
    let failing = format!("echo '{WORDS}' >&2; exit 3");
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, &failing);
    let file = set.signed_inside(&package);
    let path = format!("/{PATH}/hello_1.0-1_all.deb?signature={QUERY}");
    let uri = set.origin.serve(&path, std::fs::read(file).unwrap());
    set.origin.fault(&path, Fault::StallAfter(200));
    uri
}

/// All that a user gets to read on the bus, with the names of methods that are not for him.
fn all_that_is_read_by(on_bus: &OnBus, user: u32) -> String {
    let ask = |path: &str, call: &[&str]| {
        let mut send = on_bus.bus.send();
        send.args(["--print-reply", "--dest=org.wharfd.Agent1", path]);
        run(send.args(call).uid(user))
    };
    let agent = "/org/wharfd/Agent1";
    let instance = "/org/wharfd/Agent1/instances/0";
    let managed = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
    let all = "org.freedesktop.DBus.Properties.GetAll";
    let mut read = String::new();
    for (path, call) in [
        (agent, &[managed][..]),
        (agent, &[all, "string:org.wharfd.Agent1"]),
        (instance, &[all, "string:org.wharfd.Agent1.Instance"]),
        (agent, &["org.wharfd.Agent1.History", "int32:-1"]),
        (agent, &["org.wharfd.Agent1.Operations"]),
        (agent, &["org.freedesktop.DBus.Introspectable.Introspect"]),
        (
            instance,
            &["org.freedesktop.DBus.Introspectable.Introspect"],
        ),
    ] {
        let said = ask(path, call);
        assert_eq!(said.code, Some(0), "{call:?}: {said:?}");
        read += &said.output;
    }
    let reasons = ask(agent, &["org.wharfd.Agent1.Reasons"]);
    assert_eq!(
        (
            reasons.code == Some(0),
            reasons.errors.contains("AccessDenied")
        ),
        (user == ROOT, user != ROOT),
        "{reasons:?}"
    );
    for verb in [
        &["status"][..],
        &["list"],
        &["show", "0"],
        &["history"],
        &["--json", "show", "0"],
        &["--json", "history"],
    ] {
        let said = on_bus.wharfctl_as(user, verb);
        read += &(said.output + &said.errors);
    }
    read + &reasons.output
}

fn others_read_neither_paths_nor_words_of_programs(on_bus: &OnBus) {
    let set = &on_bus.set;
    let mut signals = Process::spawn(Command::new("dbus-monitor").args([
        "--address",
        &on_bus.bus.address(),
        "type='signal',path_namespace='/org/wharfd/Agent1'",
    ]));
    signals.output().wait_for("NameAcquired");
    let is_secret = |text: &str| [PATH, QUERY, WORDS].iter().any(|word| text.contains(word));
    let expect_no_secret = || {
        let read = all_that_is_read_by(on_bus, NOBODY);
        assert!(!is_secret(&read), "{read}");
        read
    };

    let uri = publish_in_a_secret_folder(set);
    let elsewhere = uri.replace("hello_1", "other_1");
    set.order(&elsewhere);
    set.wait_for("0/56");
    expect_no_secret();
    let whole = all_that_is_read_by(on_bus, ROOT);
    assert!(whole.contains(PATH), "{whole}");
    assert!(set.client().read_text("/9/0/16").contains(PATH));

    set.order(&uri);
    set.origin.wait_for_stall();
    set.wait_for_reason("30: ");
    let origin = uri.split(PATH).next().unwrap().trim_end_matches('/');
    let known = format!("downloading hello_1.0-1_all.deb from {origin}");
    let read = expect_no_secret();
    assert!(read.contains(&known), "no {known} in {read}");
    assert!(read.contains("reasons are shortened"), "no hint in {read}");
    set.origin.release();
    set.wait_for("3/0");
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/58");
    let read = expect_no_secret();
    assert!(
        read.contains("60: hello 1.0-1 is not installed: the installation failed"),
        "{read}"
    );
    let whole = all_that_is_read_by(on_bus, ROOT);
    assert!(whole.contains(WORDS), "{whole}");
    assert!(set.client().read_text("/9/0/16").contains(WORDS));
    on_bus.agree("3/58");

    signals.output().wait_for("is not installed");
    signals.kill();
    let signals = signals.output().wait_for_end().join("\n");
    assert!(!is_secret(&signals), "{signals}");
}

#[test]
fn others_than_root_read_no_path_of_a_uri_and_no_word_of_a_program() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    others_read_neither_paths_nor_words_of_programs(&on_bus);
}

#[test]
fn wharfd_itself_keeps_paths_and_words_of_programs_from_others_than_root() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::permissive);
    others_read_neither_paths_nor_words_of_programs(&on_bus);
}

#[test]
fn watch_tells_each_change_until_the_package_is_installed() {
    let mut on_bus = OnBus::simulated();
    let mut watch = Process::spawn(on_bus.set.gateway.command("wharfctl", &[]).arg("watch"));
    watch
        .output()
        .wait_for("INITIAL/0, 10: ready for a package");
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    watch
        .output()
        .wait_for("  0  hello 1.0.1, INSTALLED/2, 40: hello 1.0.1 is installed");
    on_bus.set.gateway.daemon().kill();
    watch
        .output()
        .wait_for("wharfd is away; waiting until it is back");
    watch.kill();
    let lines = watch.output().wait_for_end();
    assert!(
        lines.iter().any(|line| line.contains("DELIVERED/0")),
        "{lines:?}"
    );
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

#[test]
fn what_a_server_sets_of_an_instance_is_set_and_read_locally() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.observe(&[8, 13]);
    let supported = ("WriteUpdateSupportedObjects", ["boolean:true"].as_slice());
    let settings = ("WritePackageSettings", ["uint16:3", "uint16:0"].as_slice());
    for (method, arguments) in [supported, settings] {
        let said = call(&on_bus, NOBODY, method, arguments);
        assert!(said.errors.contains("AccessDenied"), "{said:?}");
        let said = call(&on_bus, ROOT, method, arguments);
        assert_eq!(said.code, Some(0), "{method}: {said:?}");
    }
    set.expect_story(&["8=1", "13=3:0"]);
    let nowhere = ["uint16:99", "uint16:0"];
    let said = call(&on_bus, ROOT, "WritePackageSettings", &nowhere);
    assert!(said.errors.contains("InvalidArgs"), "{said:?}");

    let properties = |name: &str| {
        let instance = "/org/wharfd/Agent1/instances/0";
        let read = "org.freedesktop.DBus.Properties.Get";
        let mut send = on_bus.bus.send();
        send.args([
            "--print-reply=literal",
            "--dest=org.wharfd.Agent1",
            instance,
            read,
        ])
        .args([
            "string:org.wharfd.Agent1.Instance",
            &format!("string:{name}"),
        ])
        .uid(NOBODY);
        let words = run(&mut send).output;
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(properties("UpdateSupportedObjects"), "variant boolean true");
    let settings = properties("PackageSettings");
    assert_eq!(settings, "variant struct { uint16 3 uint16 0 }");
}

#[test]
fn created_and_deleted_instances_come_and_go() {
    let on_bus = OnBus::simulated();
    let client = on_bus.set.client();
    let mut watch = Process::spawn(
        on_bus
            .set
            .gateway
            .command("wharfctl", &[])
            .args(["--json", "watch"]),
    );
    watch.output().wait_for("\"id\":0");
    client.create("/9", Some(7), &[]).expect("2.01");
    watch.output().wait_for("\"id\":7");
    client.delete("/9/7").expect("2.02");
    watch.output().wait_for(r#"{"id":7,"deleted":true}"#);
    watch.kill();
}

#[test]
fn without_a_bus_wharfd_runs_on_and_says_so_once() {
    let mut set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    set.gateway
        .daemon()
        .errors()
        .wait_for("wharfctl does not work; everything else does");
    let said = run(set.gateway.command("wharfctl", &[]).arg("status"));
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(
        said.errors.contains("cannot reach D-Bus at unix:path="),
        "{said:?}"
    );
    let lines = set.gateway.daemon().errors().all();
    let told = lines
        .iter()
        .filter(|line| line.contains("cannot connect to D-Bus"));
    assert_eq!(told.count(), 1, "{lines:?}");
}

#[test]
fn a_bus_that_comes_back_is_used_again() {
    let mut on_bus = OnBus::simulated();
    on_bus.bus.stop();
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("the bus closed the connection");
    lines.wait_for("wharfctl does not work; everything else does");
    on_bus.bus.start_again();
    wait_until("wharfd on the new bus", || {
        (on_bus.wharfctl(&["status"]).code == Some(0)).then_some(())
    });
}

#[test]
fn wharfctl_says_that_wharfd_does_not_run_and_what_to_do() {
    let mut on_bus = OnBus::simulated();
    on_bus.set.gateway.daemon().kill();
    wait_until("69", || {
        let said = on_bus.wharfctl(&["list"]);
        (said.code == Some(69) && said.errors.contains("`systemctl status wharfd` says why"))
            .then_some(())
    });
}

#[test]
fn status_list_show_and_history_are_read_by_a_person() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    wait_until("the package manager's name", || {
        on_bus.done(&["status"]).contains("simulated").then_some(())
    });
    let status = on_bus.done(&["status"]);
    let server = on_bus.set.server.uri();
    for line in [
        format!("wharfd {} as gateway\n", env!("CARGO_PKG_VERSION")),
        format!("server {server}: registered since 20"),
        "package manager: simulated\n".to_owned(),
        "1 of 1 instances have software in place\n".to_owned(),
    ] {
        assert!(status.contains(&line), "no {line:?} in {status}");
    }
    assert_eq!(
        on_bus.done(&["list"]),
        "ID  PACKAGE  VERSION  STATE        IN PLACE  RUNS  REASON\n\
         0   hello    1.0.1    INSTALLED/2  1.0.1     no    40: hello 1.0.1 is installed\n"
    );
    let show = on_bus.done(&["show", "0"]);
    assert!(
        show.contains("  in place       hello 1.0.1, does not run\n"),
        "{show}"
    );
    assert!(show.contains("  install    server 1  done"), "{show}");
    assert!(show.contains("  status reason  40: hello 1.0.1 is installed\n"));
    let history = on_bus.done(&["history", "hello"]);
    assert_eq!(history.lines().count(), 7, "{history}");

    on_bus.done(&["uninstall", "hello"]);
    let history = on_bus.done(&["history", "hello"]);
    assert!(
        history.contains("40: hello 1.0.1 is installed"),
        "{history}"
    );
    let never = on_bus.wharfctl(&["history", "other"]);
    assert_eq!(never.code, Some(1), "{never:?}");
}

#[test]
fn show_has_every_operation_of_a_package_that_is_kept() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    let missing = uri.replace("hello_1", "missing_1");
    assert_eq!(on_bus.wharfctl(&["install", &missing]).code, Some(1));
    on_bus.done(&["install", &uri]);
    for _ in 0..8 {
        on_bus.done(&["activate", "hello"]);
        on_bus.done(&["deactivate", "hello"]);
    }
    let other = set.publish(&Package::new("other", "1.0.1"));
    on_bus.done(&["install", &other]);
    let of = |named: &str| -> Vec<String> {
        let shown = on_bus.json(&["show", named]);
        let operations = shown["operations"].as_array().unwrap().iter();
        let line = |it: &Value| format!("{} {}", it["kind"], it["package"]).replace('"', "");
        operations.map(line).collect()
    };
    let hello = of("hello");
    assert_eq!(hello.len(), 1 + 2 + 16, "{hello:?}");
    assert_eq!(hello[..3], ["pull null", "pull hello", "install hello"]);
    assert_eq!(hello.last().unwrap(), "deactivate hello");
    assert_eq!(of("other"), ["pull other", "install other"]);

    // Another package in the same instance has other operations.
    on_bus.done(&["uninstall", "hello"]);
    let third = set.publish(&Package::new("third", "1.0.1"));
    on_bus.done(&["install", &third]);
    assert_eq!(of("third"), ["pull null", "pull third", "install third"]);
    assert_eq!(of("15").len(), hello.len() + 3);
    let table = on_bus.done(&["show", "third"]);
    assert!(
        table.contains("  install    user 0  done    third  "),
        "{table}"
    );
}

#[test]
fn what_is_delivered_is_installed_by_naming_its_instance_or_its_package() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.deliver(&Package::new("hello", "1.0.1"));
    for (arguments, code, text) in [
        (&["install", "7"][..], 1, "there is no instance 7"),
        (
            &["install", "other"],
            1,
            "or an instance whose package is DELIVERED",
        ),
        (&["install", "./hello"], 1, "there is no file \"./hello\""),
        (
            &["install", "0", "--instance", "0"],
            64,
            "leave out --instance",
        ),
    ] {
        let said = on_bus.wharfctl(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        assert!(said.errors.contains(text), "{arguments:?}: {said:?}");
    }
    let said = on_bus.done(&["install", "hello"]);
    assert!(
        said.contains("hello 1.0.1 is installed in instance 0"),
        "{said}"
    );
    on_bus.agree("4/2");
    let again = on_bus.wharfctl(&["install", "0"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.errors.contains("hello 1.0.1: "), "{again:?}");

    on_bus.done(&["uninstall", "hello"]);
    set.deliver(&Package::new("hello", "2.0.1"));
    on_bus.done(&["install", "0"]);
    on_bus.agree("4/2");
}

/// The output of a command on a terminal of this kind.
fn on_a_terminal(on_bus: &OnBus, verb: &str, variables: [(&str, &str); 2]) -> String {
    let line = format!("{} {verb}", on_bus.wharfctl_line());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let said = run(script.envs(variables).stdin(Stdio::null()));
    assert_eq!(said.code, Some(0), "{said:?}");
    said.output
}

#[test]
fn colours_are_for_a_terminal_that_has_them() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let green = "\u{1b}[32mINSTALLED/2\u{1b}[0m";
    let coloured = on_a_terminal(&on_bus, "list", [("TERM", "linux"), ("NO_COLOR", "")]);
    assert!(coloured.contains(green), "{coloured:?}");
    for variables in [
        [("TERM", "linux"), ("NO_COLOR", "1")],
        [("TERM", "dumb"), ("NO_COLOR", "")],
    ] {
        let plain = on_a_terminal(&on_bus, "list", variables);
        assert!(
            plain.contains("INSTALLED/2") && !plain.contains('\u{1b}'),
            "{plain:?}"
        );
    }
    assert!(!on_bus.done(&["list"]).contains('\u{1b}'));

    let terminal = [("TERM", "linux"), ("NO_COLOR", "")];
    let coloured = on_a_terminal(&on_bus, "doctor", terminal);
    let verdict = "\u{1b}[32mok  \u{1b}[0m  configuration   sound";
    assert!(coloured.contains(verdict), "{coloured:?}");
    assert!(!on_bus.done(&["doctor"]).contains('\u{1b}'));
}

#[test]
fn how_far_apt_is_is_shown_while_it_works() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    let waits = "until [ -e /tmp/go ]; do sleep 0.1; done";
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, waits);
    let uri = on_bus.set.publish(&package);
    let mut command = on_bus.set.gateway.command("wharfctl", &[]);
    let mut install = Process::spawn(command.args(["install", "--instance", "0", &uri]));
    wait_until("the percentage of dpkg", || {
        let shown = &on_bus.json(&["list"])[0];
        let percent = shown["percent"]
            .as_u64()
            .filter(|percent| (1..100).contains(percent));
        percent.filter(|_| shown["update_state"] == 3)
    });
    on_bus.set.gateway.write("tmp/go", "");
    assert!(install.wait().success());
}

#[test]
fn trace_shows_coap_as_it_goes_by_and_no_secret() {
    let mut on_bus = OnBus::simulated();
    let mut command = on_bus.set.gateway.command("wharfctl", &[]);
    let mut trace = Process::spawn(command.arg("trace"));
    let client = on_bus.set.client();
    // It watches from some moment on.
    wait_until("a read in the trace", || {
        client.read_text("/9/0/7");
        let lines = trace.output().all();
        lines
            .iter()
            .any(|line| line.contains("GET /9/0/7"))
            .then_some(())
    });
    client.write_text("/9/0/15", "hunter2").expect("2.04");
    client
        .write_text("/9/0/3", "http://127.0.0.1:9/p.deb?hunter2")
        .expect("2.04");
    trace.output().wait_for("PUT /9/0/15");
    trace.output().wait_for("\"http://127.0.0.1:9/p.deb?…\"");
    let all = trace.output().all().join("\n");
    assert!(
        all.contains(" > ACK [") && !all.contains("hunter2"),
        "{all}"
    );

    let said = on_bus.wharfctl_as(NOBODY, &["trace"]);
    assert_eq!(said.code, Some(77), "{said:?}");
    assert!(said.errors.contains("only root may trace"), "{said:?}");

    on_bus.set.gateway.daemon().kill();
    assert_eq!(trace.wait().code(), Some(69));
}

#[test]
fn completions_are_printed_without_a_bus() {
    let gateway = Gateway::simulated();
    for shell in ["bash", "zsh", "fish"] {
        let said = run(gateway
            .command("wharfctl", &[])
            .args(["completions", shell]));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.output.contains("uninstall"), "{said:?}");
    }
}

#[test]
fn a_shell_completes_instances_and_packages() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let completed = |words: &str| {
        let script = format!(
            "wharfctl() {{ {} \"$@\"; }}; eval \"$(wharfctl completions bash)\"; COMP_WORDS=({words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _wharfctl wharfctl \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            on_bus.wharfctl_line()
        );
        let said = run(Command::new("bash").args(["-c", &script]));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.output.trim_end().to_owned()
    };
    assert_eq!(completed("wharfctl show he"), "hello");
    assert_eq!(completed("wharfctl install --instance ''"), "0 hello");
    assert_eq!(completed("wharfctl units h"), "hello");
    assert_eq!(completed("wharfctl units 0"), "");
    assert_eq!(completed("wharfctl activate 0"), "0");
}

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
            "packages"
        ]
    );

    let said = on_bus.wharfctl_as(NOBODY, &["doctor"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.output.contains("\nok    policy  "), "{said:?}");
}

/// The installer judges signatures by the times of future files, unless the kernel vouches for the clock.
#[test]
fn doctor_sees_the_clock_as_the_installer_does() {
    let gateway = Gateway::simulated();
    gateway.configure("coap://127.0.0.1:1", "");
    let database = gateway.path().join("var/lib/wharf-simulated/history");
    std::fs::create_dir_all(database.parent().unwrap()).unwrap();
    std::fs::write(&database, "").unwrap();
    let database = std::fs::File::open(database).unwrap();
    let far = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    database
        .set_modified(far.max(SystemTime::now() + YEAR))
        .unwrap();
    let simulated = gateway.path().join("etc/wharf-simulated");
    std::fs::create_dir_all(&simulated).unwrap();
    let doctor = || run(gateway.command("wharfctl", &[]).arg("doctor")).output;

    std::fs::write(simulated.join("clock-unsynchronised"), "").unwrap();
    let said = doctor();
    for line in [
        "FAIL  clock           the clock shows ",
        "var/lib/wharf-simulated/history is of 20",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    std::fs::write(simulated.join("clock-synchronised"), "").unwrap();
    let said = doctor();
    assert!(said.contains("warn  clock  "), "{said}");
    database.set_modified(UNIX_EPOCH).unwrap();
    let said = doctor();
    assert!(said.contains("ok    clock  "), "{said}");
}

#[test]
fn a_gateway_without_a_server_does_what_its_users_say_until_there_is_one() {
    let gateway = Gateway::debian();
    let bus = SystemBus::start(&gateway.path());
    let mut set = StageSet::configured(gateway, "");
    let alone = format!("endpoint = \"{ENDPOINT}\"\n{SHORT_TIMES}");
    set.gateway.write("etc/wharfd/wharfd.toml", &alone);
    set.gateway.start();
    let mut on_bus = OnBus { set, bus };
    wait_until("wharfd on the bus", || {
        (on_bus.wharfctl(&["status"]).code == Some(0)).then_some(())
    });
    let status = on_bus.done(&["status"]);
    assert!(status.contains("\nno server\n"), "{status}");

    let uri = on_bus.set.publish(&Package::new("hello", "1.0-1"));
    on_bus.done(&["install", &uri]);
    let file = on_bus.set.signed_inside(&Package::new("other", "2.0-1"));
    on_bus.done(&["install", file.to_str().unwrap()]);
    on_bus.done(&["uninstall", "other"]);
    let root = on_bus.set.gateway.debian_root();
    assert_eq!(root.installed_version("hello").as_deref(), Some("1.0-1"));
    assert_eq!(root.installed_version("other"), None);
    assert!(on_bus.done(&["history"]).contains("other"));
    let doctor = on_bus.done(&["doctor"]);
    let line = "ok    server          none is configured: only local users manage packages\n";
    assert!(doctor.contains(line), "{doctor}");
    let trace = on_bus.wharfctl(&["trace"]);
    assert_ne!(trace.code, Some(0), "{trace:?}");
    let why = "no server is configured, so there are no messages to trace";
    assert!(trace.errors.contains(why), "{trace:?}");

    on_bus.set.gateway.configure(&on_bus.set.server.uri(), "");
    on_bus.set.gateway.daemon().signal(Signal::SIGHUP);
    let client = on_bus.set.client();
    assert_eq!(client.read_text("/9/0/0"), "hello");
    assert_eq!(client.read_text("/9/0/7"), "4");
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
    std::fs::write(&key, "00".repeat(16)).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let with_key = "psk-identity = \"gateway-17\"\npsk-key-file = \"/etc/wharfd/psk\"";
    gateway.configure("coaps://no-such-host.invalid", with_key);
    let said = doctor();
    assert!(
        said.output
            .contains("FAIL  server's name   no-such-host.invalid has no address"),
        "{said:?}"
    );
    // What the name tells needs no second line.
    assert!(!said.output.contains("handshake"), "{said:?}");

    let policy = "backend = \"simulated\"\n[quota]\nreserve = 9000000000000000\n";
    gateway.write("etc/wharfd/installer.toml", policy);
    let said = doctor();
    assert!(said.output.contains("FAIL  disk  "), "{said:?}");
    assert!(said.output.contains("of which 9000"), "{said:?}");
    gateway.write("etc/wharfd/installer.toml", "\nallow-unsinged = true\n");
    let said = doctor();
    let line = "installer.toml, line 2";
    assert_eq!(said.output.matches(line).count(), 1, "{said:?}");
    assert!(said.output.contains("FAIL  policy  "), "{said:?}");
    let said = run(gateway.command("wharfctl", &[]).arg("doctor").uid(NOBODY));
    assert!(said.output.contains(line), "{said:?}");

    let folder = gateway.path().join("etc/wharfd");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
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
}
