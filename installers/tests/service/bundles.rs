//! Bundles: several packages in one signed file, which are installed, changed and removed as one software.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wharf_frames::{
    Cause, StageId, Step, Transaction,
    installer::{Found, InstallerReply, InstallerRequest, Outcome, SealedPackage},
};
use wharf_tests::bundle::Bundle;

use crate::{
    activation::{FOREVER, service},
    crash::lines,
    machine::{Built, Deb, Machine, Script, Signer, name, perform, refused},
};

impl Machine {
    /// The file of a package.
    pub(crate) fn file(&self, package: &Deb) -> PathBuf {
        self.place.build(package, self.packages.path())
    }

    /// A bundle of these packages.
    pub(crate) fn bundle_of(&self, name: &str, version: &str, packages: &[&Deb]) -> Bundle {
        let empty = Bundle::new(name, version);
        packages
            .iter()
            .fold(empty, |bundle, package| bundle.install(&self.file(package)))
    }

    /// A bundle on disk, with a signature beside it.
    pub(crate) fn signed(&self, bundle: &Bundle, signer: Signer) -> Built {
        let path = bundle.build(self.packages.path());
        let signature = Some(fs::read(self.keys.sign_beside(signer, &path)).unwrap());
        Built { path, signature }
    }

    #[track_caller]
    pub(crate) fn sealed_bundle(&self, bundle: &Bundle) -> (StageId, SealedPackage) {
        let stage = self.stage_id();
        match self.put(stage, &self.signed(bundle, Signer::Vendor)) {
            InstallerReply::Sealed(package) => (stage, package),
            other => panic!("seal: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn install_bundle(&self, bundle: &Bundle) -> Outcome {
        let (stage, _) = self.sealed_bundle(bundle);
        let outcome = self.run(&perform(self.operation(), Step::Install(stage)));
        let discard = InstallerRequest::Discard { stage };
        assert_eq!(self.ask(&discard), InstallerReply::Done);
        outcome
    }

    /// The names of the files in root's folder of staged files.
    pub(crate) fn staged_files(&self) -> Vec<String> {
        let folder = self.root().join("var/lib/wharf-installer/staged");
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

/// A bundle on the device in words: its version, and each package with its version.
pub(crate) fn shown(found: Option<&Found>) -> String {
    let Some(found) = found else {
        return "nothing".to_owned();
    };
    let packages = found.components.iter().map(|it| {
        let damage = it.damage.as_ref().map(|word| format!(" ({word})"));
        format!("{} {}{}", it.name, it.version, damage.unwrap_or_default())
    });
    format!("{found}: {}", packages.collect::<Vec<_>>().join(", "))
}

/// A package whose postinst notes each run.
fn noted(package: &str, version: &str) -> Deb {
    let note = format!("echo {package} {version} >>/var/log/acme-effects");
    Deb::new(package, version).script(Script::Postinst, &note)
}

fn effects(root: &Path) -> Vec<String> {
    lines(&root.join("var/log/acme-effects"))
}

#[test]
fn a_bundle_comes_in_one_run_and_the_next_one_drops_a_package_and_adds_one() {
    let machine = Machine::debian().started();
    let (core, ui) = (noted("core", "1"), noted("ui", "1").depends("core"));
    let first = machine.bundle_of("stack", "1.0", &[&ui, &core, &noted("old", "1")]);
    let (stage, package) = machine.sealed_bundle(&first);
    assert_eq!(
        (package.name, package.version.as_str()),
        (name("stack"), "1.0")
    );
    let components = package.components.iter();
    let components: Vec<_> = components.map(|it| it.name.as_str()).collect();
    assert_eq!(components, ["ui", "core", "old"]);
    let kept = ["", ".0", ".1", ".2", ".verdict"];
    let kept = kept.map(|ending| format!("{stage}{ending}"));
    assert_eq!(machine.staged_files(), kept);

    let outcome = machine.run(&perform(machine.operation(), Step::Install(stage)));
    assert_eq!(outcome.failure, None);
    let expected = "stack 1.0: ui 1, core 1, old 1";
    assert_eq!(shown(outcome.device.as_ref()), expected);
    assert_eq!(shown(machine.state("stack").as_ref()), expected);
    assert!(machine.state("stack").unwrap().managed);
    let history = fs::read_to_string(machine.root().join("var/log/apt/history.log")).unwrap();
    let runs: Vec<_> = history
        .lines()
        .filter(|line| line.starts_with("Install: "))
        .collect();
    assert_eq!(runs.len(), 1, "{history}");
    let discard = InstallerRequest::Discard { stage };
    assert_eq!(machine.ask(&discard), InstallerReply::Done);
    assert_eq!(machine.staged_files(), [""; 0]);

    // core is there in this version already.
    let second = [&noted("ui", "2").depends("core"), &core, &noted("new", "1")];
    let outcome = machine.install_bundle(&machine.bundle_of("stack", "2.0", &second));
    assert_eq!(outcome.failure, None);
    let expected = "stack 2.0: ui 2, core 1, new 1";
    assert_eq!(shown(outcome.device.as_ref()), expected);
    assert_eq!(machine.version("old"), None);
    let ran = effects(&machine.root());
    let times = |line: &str| ran.iter().filter(|it| *it == line).count();
    let expected = ["core 1", "ui 1", "old 1", "ui 2", "new 1"].map(|line| (line, 1));
    assert_eq!(expected.map(|(line, _)| (line, times(line))), expected);
    assert_eq!(ran.len(), 5, "{ran:?}");

    let outcome = machine.remove("stack");
    assert_eq!((outcome.failure, outcome.device), (None, None));
    assert_eq!(machine.state("stack"), None);
    for package in ["ui", "core", "new"] {
        assert_eq!(machine.version(package), None, "{package}");
    }
}

#[test]
fn a_bundle_in_any_form_has_the_same_packages() {
    let machine = Machine::simulated().started();
    let packages = [&Deb::new("core", "1"), &Deb::new("ui", "1")];
    for (number, form) in [None, Some("--gzip"), Some("--xz"), Some("--zstd")]
        .into_iter()
        .enumerate()
    {
        let version = format!("1.{number}");
        let bundle = machine.bundle_of("stack", &version, &packages);
        let bundle = match form {
            Some(option) => bundle.compressed(option),
            None => bundle,
        };
        let outcome = machine.install_bundle(&bundle);
        assert_eq!(outcome.failure, None, "{form:?}");
        let expected = format!("stack {version}: core 1, ui 1");
        assert_eq!(shown(outcome.device.as_ref()), expected);
    }
    // Inside a message, too.
    let path = machine
        .bundle_of("stack", "2", &packages)
        .build(machine.packages.path());
    let path = machine.keys.sign_around(Signer::Vendor, &path);
    let outcome = machine.install_built(&Built {
        path,
        signature: None,
    });
    assert_eq!(outcome.failure, None);
    assert_eq!(shown(outcome.device.as_ref()), "stack 2: core 1, ui 1");
}

#[test]
fn a_package_of_another_bundle_stays_and_what_a_bundle_leaves_out_is_refused_nothing() {
    let machine = Machine::simulated().started();
    machine.policy("allow-purge = [\"*\"]\n");
    let [core, ui, lamp] = ["core", "ui", "lamp"].map(|package| Deb::new(package, "1"));
    let stack = machine.bundle_of("stack", "1", &[&core, &ui]);
    let light = machine.bundle_of("light", "1", &[&core, &lamp]);
    assert_eq!(machine.install_bundle(&stack).failure, None);
    assert_eq!(machine.install_bundle(&light).failure, None);
    let outcome = machine.remove("stack");
    assert_eq!((outcome.failure, outcome.device), (None, None));
    let left = ["core", "ui", "lamp"].map(|package| machine.version(package).is_some());
    assert_eq!(left, [true, false, true]);
    assert_eq!(
        shown(machine.state("light").as_ref()),
        "light 1: core 1, lamp 1"
    );
    let again = machine.ask(&perform(
        machine.operation(),
        Step::Uninstall(name("stack")),
    ));
    assert!(
        matches!(&again, InstallerReply::Refused(failure) if failure.cause == Cause::NotManaged),
        "{again:?}"
    );
    assert_eq!(machine.purge("stack").failure, None);
    assert_eq!(machine.purge("light").failure, None);
    assert_eq!(machine.version("core"), None);
}

#[test]
fn a_bundle_removes_what_its_steps_say() {
    let machine = Machine::simulated().started();
    assert_eq!(machine.install(&Deb::new("old", "1")).failure, None);
    let bundle = Bundle::new("stack", "1")
        .remove("old")
        .remove("never-there")
        .install(&machine.file(&Deb::new("core", "1")));
    assert_eq!(machine.install_bundle(&bundle).failure, None);
    let effects = machine.effects();
    assert_eq!(effects, ["install old 1", "remove old", "install core 1"]);
}

#[test]
fn a_bundle_of_which_a_script_fails_is_as_before_unless_its_manifest_keeps_what_is_done() {
    let machine = Machine::debian().started();
    let bundle = |version: &str, last: &Deb| {
        let core = Deb::new("core", version).conffile("/etc/core.conf", version);
        let ui = Deb::new("ui", version).depends("core");
        machine.bundle_of("stack", version, &[&core, &ui, last])
    };
    let failing = Deb::new("lamp", "1").script(Script::Postinst, "exit 3");
    // A first installation leaves nothing.
    let (core, ui) = (Deb::new("core", "1"), Deb::new("ui", "1").depends("core"));
    // Neither order of the packages is in the way.
    for packages in [[&core, &ui, &failing], [&ui, &core, &failing]] {
        let outcome = machine.install_bundle(&machine.bundle_of("stack", "1", &packages));
        let failure = outcome.failure.expect("a script failed");
        assert_eq!(failure.cause, Cause::Script, "{failure}");
        let detail = failure.detail.as_str();
        assert!(detail.starts_with("it was sent back: "), "{detail}");
        assert_eq!(outcome.device, None);
        assert_eq!(machine.state("stack"), None);
        let left = ["core", "ui", "lamp"].map(|package| machine.state(package));
        assert_eq!(left, [None, None, None]);
    }

    let old = bundle("1", &Deb::new("old", "1"));
    assert_eq!(machine.install_bundle(&old).failure, None);
    let conffile = machine.root().join("etc/core.conf");
    fs::write(&conffile, "mine").unwrap();
    let outcome = machine.install_bundle(&bundle("2", &failing));
    let failure = outcome.failure.expect("a script failed");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    let expected = "stack 1: core 1, ui 1, old 1";
    assert_eq!(shown(outcome.device.as_ref()), expected);
    assert_eq!(shown(machine.state("stack").as_ref()), expected);
    assert_eq!(fs::read_to_string(&conffile).unwrap(), "mine");
    let debian = machine.place.debian();
    let audit = debian.command("dpkg").arg("--audit").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&audit.stdout), "");

    let outcome = machine.install_bundle(&bundle("3", &failing).lines("undo = false"));
    assert!(outcome.failure.is_some());
    let expected = "stack 3 (lamp is not installed): core 3, ui 3, old 1";
    assert_eq!(shown(outcome.device.as_ref()), expected);
    // The next one completes it, and drops what the first one had.
    let outcome = machine.install_bundle(&bundle("4", &Deb::new("lamp", "2")));
    assert_eq!(outcome.failure, None);
    let expected = "stack 4: core 4, ui 4, lamp 2";
    assert_eq!(shown(outcome.device.as_ref()), expected);
    assert_eq!(machine.version("old"), None);
}

#[test]
fn a_removed_bundle_owns_no_package_any_more() {
    let machine = Machine::simulated();
    machine.policy("allow-purge = [\"*\"]\n");
    let machine = machine.started();
    let (core, ui) = (Deb::new("core", "1"), Deb::new("ui", "1"));
    let both = machine.bundle_of("stack", "1.0", &[&core, &ui]);
    assert_eq!(machine.install_bundle(&both).failure, None);
    assert_eq!(machine.remove("stack").failure, None);
    assert_eq!(machine.install(&ui).failure, None);
    let one = machine.bundle_of("stack", "2.0", &[&Deb::new("core", "2")]);
    assert_eq!(machine.install_bundle(&one).failure, None);
    assert_eq!(machine.version("ui").as_deref(), Some("1"));

    assert_eq!(machine.remove("stack").failure, None);
    let purge = perform(machine.operation(), Step::Purge(name("stack")));
    assert_eq!(machine.run(&purge).failure, None);
    assert_eq!(machine.version("ui").as_deref(), Some("1"));
    let again = machine.bundle_of("stack", "2.0", &[&Deb::new("core", "2")]);
    assert_eq!(machine.install_bundle(&again).failure, None);
}

#[test]
fn a_bundle_that_was_sent_back_twice_is_refused_and_its_packages_are_not() {
    let machine = Machine::simulated().started();
    let good = Deb::new("core", "1");
    let bundle = machine.bundle_of("stack", "1.0", &[&good, &Deb::new("ui", "1")]);
    let (stage, _) = machine.sealed_bundle(&bundle);
    let path = machine.tell("fail-postinst");
    fs::write(&path, "ui 1").unwrap();
    for _ in 0..2 {
        let outcome = machine.run(&perform(machine.operation(), Step::Install(stage)));
        assert_eq!(outcome.failure.map(|it| it.cause), Some(Cause::Script));
    }
    let again = perform(machine.operation(), Step::Install(stage));
    assert_eq!(refused(machine.ask(&again)), Cause::Policy);
    fs::remove_file(path).unwrap();
    assert_eq!(machine.install(&good).failure, None);
}

#[test]
fn a_removal_of_a_bundle_that_fails_leaves_removed_what_is_removed() {
    let machine = Machine::debian().started();
    let bundle = machine.bundle_of(
        "stack",
        "1.0",
        &[&Deb::new("core", "1"), &Deb::new("ui", "1")],
    );
    assert_eq!(machine.install_bundle(&bundle).failure, None);
    assert_eq!(
        machine
            .install(&Deb::new("needy", "1").depends("core"))
            .failure,
        None
    );
    let outcome = machine.remove("stack");
    assert_eq!(outcome.failure.map(|it| it.cause), Some(Cause::Plan));
    assert_eq!(
        machine.version("ui"),
        None,
        "it was removed before core was refused"
    );
    assert_eq!(machine.version("core").as_deref(), Some("1"));
}

#[test]
fn a_bundle_of_which_a_package_is_missing_is_damaged_and_can_be_installed_again() {
    let machine = Machine::simulated().started();
    let packages = [&Deb::new("core", "1"), &Deb::new("ui", "1")];
    let bundle = machine.bundle_of("stack", "1", &packages);
    assert_eq!(machine.install_bundle(&bundle).failure, None);
    assert_eq!(machine.remove("ui").failure, None);
    let expected = "stack 1 (ui is not installed): core 1";
    assert_eq!(shown(machine.state("stack").as_ref()), expected);
    let activate = perform(machine.operation(), Step::Activate(name("stack")));
    let refused = machine.ask(&activate);
    assert!(
        matches!(&refused, InstallerReply::Refused(failure) if failure.cause == Cause::NotManaged),
        "{refused:?}"
    );
    let outcome = machine.install_bundle(&bundle);
    assert_eq!(outcome.failure, None);
    assert_eq!(shown(outcome.device.as_ref()), "stack 1: core 1, ui 1");
}

#[test]
fn the_packages_of_a_bundle_are_activated_and_deactivated_together() {
    let mut machine = Machine::booted();
    machine.policy("steady = 2\n");
    let lamp = |version: &str| service("lamp", version, FOREVER);
    let packages = [
        &service("core", "1", FOREVER),
        &Deb::new("data", "1"),
        &lamp("1"),
    ];
    let outcome = machine.install_bundle(&machine.bundle_of("stack", "1", &packages));
    assert_eq!(outcome.failure, None);
    let active = |machine: &Machine| {
        let found = machine.state("stack").expect("it is installed");
        let packages = found.components.iter().map(|it| it.active);
        (found.active, packages.collect::<Vec<_>>())
    };
    assert!(!active(&machine).0);
    let outcome = machine.activate("stack");
    assert_eq!(outcome.failure, None);
    assert!(outcome.device.expect("it is installed").active);
    assert_eq!(active(&machine), (true, vec![true, true, true]));
    assert_eq!(machine.running("core"), [".service"]);
    assert_eq!(machine.deactivate("lamp").failure, None);
    assert_eq!(active(&machine), (false, vec![true, true, false]));

    // The bundle and its activation in one job.
    assert_eq!(machine.activate("stack").failure, None);
    let packages = [&service("core", "2", FOREVER), &lamp("2")];
    let (stage, _) = machine.sealed_bundle(&machine.bundle_of("stack", "2", &packages));
    let operation = machine.operation();
    let outcome = machine.run(&InstallerRequest::Perform {
        operation,
        transaction: Transaction {
            steps: vec![Step::Install(stage), Step::Activate(name("stack"))],
        },
    });
    assert_eq!(outcome.failure, None);
    let device = outcome.device.expect("it is installed");
    assert_eq!(
        (device.active, &*shown(Some(&device))),
        (true, "stack 2: core 2, lamp 2")
    );

    let outcome = machine.deactivate("stack");
    assert_eq!(outcome.failure, None);
    assert_eq!(active(&machine), (false, vec![false, false]));
    assert_eq!(machine.remove("stack").failure, None);
    assert_eq!(machine.state("stack"), None);
}
