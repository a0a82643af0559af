//! Processes of a job with dnf that are killed in each script and while files are unpacked: the tool, wharf-job, or both.
//! dnf 4, or dnf 5 if `WHARF_DNF5` is set.

use std::{fs, path::Path};

use wharf_frames::{Cause, installer::Outcome};
use wharf_tests::{
    command::text_of,
    package::incompressible,
    rpm_package::{RpmPackage, Scriptlet},
};

use crate::{
    crash::mount_proc,
    machine::{Built, Machine, Signer},
};

/// The process that is killed. With its parents, none of them sees another die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Tool,
    Job,
    All,
}

/// The moment at which it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    In(Scriptlet),
    Unpack,
}

use Moment::{In, Unpack};
use Scriptlet::{Post, Posttrans, Postun, Pre, Pretrans, Preun};

/// The moments of an upgrade, in their order. From `Post` on, the database has the new version.
const UPGRADE: [Moment; 7] = [
    In(Pretrans),
    In(Pre),
    Unpack,
    In(Post),
    In(Preun),
    In(Postun),
    In(Posttrans),
];

impl Moment {
    /// A name for a package.
    fn name(self) -> String {
        match self {
            In(script) => format!("acme-{script:?}").to_lowercase(),
            Unpack => "acme-unpack".to_owned(),
        }
    }

    /// Whether the script belongs to the version that goes.
    fn is_olds(self) -> bool {
        matches!(self, In(Preun | Postun))
    }

    fn is_before_the_database(self) -> bool {
        matches!(self, In(Pretrans | Pre) | Unpack)
    }

    /// The package, with a script that kills once at this moment.
    fn in_package(self, package: RpmPackage, victim: Victim, name: &str) -> RpmPackage {
        let kill = match victim {
            Victim::Tool => "kill -9 $tool",
            Victim::Job => "kill -9 $job",
            Victim::All => "kill -9 $job $tool $$",
        };
        let who = "tool=$PPID; job=$(cut -d' ' -f4 /proc/$PPID/stat)";
        let kill = format!("touch /killed-{name}/hit; {kill}");
        // rpm unpacks into NAME;HEX8 beside the file.
        let unpacks = format!("ls /usr/share/{name} | grep -q 'large;'");
        let kills = match self {
            In(_) => kill,
            // A stopped tool stays at the moment that is looked for.
            Unpack => format!(
                "(until {unpacks}; do [ -e /proc/$tool ] || exit 0; done\nkill -STOP $tool\n\
                 if {unpacks}; then {kill}; fi; kill -CONT $tool) >/dev/null 2>&1 &"
            ),
        };
        let once = format!("if mkdir /killed-{name} 2>/dev/null; then {who}; {kills}\nfi");
        match self {
            In(script) => package.script(script, &once),
            Unpack => package.script(Pre, &format!("mkdir -p /usr/share/{name}\n{once}")),
        }
    }
}

/// A version of the package that is upgraded. To be killed while it unpacks, the new one has a file that takes some time.
fn package(moment: Moment, victim: Victim, version: &str) -> RpmPackage {
    let name = moment.name();
    let path = |file: &str| format!("/usr/share/{name}/{file}");
    let plain = RpmPackage::new(&name, version).file(&path("both"), version.repeat(1000));
    let is_old = version == "1";
    let plain = match moment {
        Unpack if !is_old => plain.file(&path("large"), large()),
        _ => plain,
    };
    match is_old == moment.is_olds() {
        true => moment.in_package(plain, victim, &name),
        false => plain,
    }
}

fn large() -> Vec<u8> {
    incompressible(4096).repeat(8 << 10)
}

impl Machine {
    fn build_rpm(&self, package: &RpmPackage) -> Built {
        let path = package.build(self.packages.path());
        let signature = self.keys.sign_beside(Signer::Vendor, &path);
        let signature = Some(fs::read(signature).unwrap());
        Built { path, signature }
    }

    fn install_rpm(&self, package: &RpmPackage) -> Outcome {
        self.install_built(&self.build_rpm(package))
    }

    fn rpm_says(&self, arguments: &[&str]) -> String {
        let mut rpm = self.place.rpm().command("rpm");
        text_of(rpm.args(arguments))
    }
}

/// The device has this version alone, with the files of it and no others.
fn has(machine: &Machine, name: &str, version: &str, told: &str) {
    let found = machine.state(name).map(|found| found.to_string());
    assert_eq!(found, Some(format!("{name} {version}-1")), "{told}");
    let versions = machine.rpm_says(&["-q", "--qf", "%{VERSION} ", name]);
    assert_eq!(versions.trim(), version, "{told}");
    assert_eq!(machine.rpm_says(&["-V", name]), "", "{told}");
    let mut files = files_in(&machine.root().join("usr/share").join(name));
    files.sort();
    files.retain(|file| file != "large");
    assert_eq!(files, ["both", "version"], "{told}");
    let records = machine
        .root()
        .join("var/lib/wharf-installer/rpm-unfinished");
    assert_eq!(files_in(&records), [""; 0], "{told}");
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

/// Repeats this until it was killed at its moment: on a loaded machine, unpacking may end before the killer sees it.
fn was_killed(machine: &Machine, name: &str, attempt: impl Fn() -> Outcome) -> Outcome {
    let killed = machine.root().join(format!("killed-{name}"));
    for _ in 0..20 {
        let outcome = attempt();
        if killed.join("hit").exists() {
            return outcome;
        }
        fs::remove_dir(&killed).expect(name);
        assert_eq!(outcome.failure, None, "{name} without a kill");
        assert_eq!(machine.remove(name).failure, None, "{name}");
    }
    panic!("{name} was never killed");
}

/// Upgrades once for each moment, and tells the outcome.
fn upgrade_at_each_moment(victim: Victim, judge: impl Fn(&Machine, Moment, Outcome)) {
    let machine = Machine::dnf().started();
    mount_proc(&machine);
    for moment in UPGRADE {
        let outcome = was_killed(&machine, &moment.name(), || {
            let first = machine.install_rpm(&package(moment, victim, "1"));
            assert_eq!(first.failure, None, "{moment:?}");
            machine.install_rpm(&package(moment, victim, "2"))
        });
        judge(&machine, moment, outcome);
    }
}

#[test]
fn an_upgrade_whose_tool_is_killed_at_any_moment_ends_with_one_whole_version() {
    let victim = Victim::Tool;
    upgrade_at_each_moment(victim, |machine, moment, outcome| {
        let (name, told) = (moment.name(), format!("{moment:?}"));
        assert_eq!(outcome.attempts, 1, "{told}");
        let cause = outcome.failure.map(|failure| failure.cause);
        if moment.is_before_the_database() {
            assert_eq!(cause, Some(Cause::PackageManager), "{told}");
            has(machine, &name, "1", &told);
            let again = machine.install_rpm(&package(moment, victim, "2"));
            assert_eq!(again.failure, None, "{told}");
        } else {
            assert_eq!(cause, None, "{told}");
        }
        has(machine, &name, "2", &told);
    });
}

#[test]
fn an_upgrade_goes_on_when_wharf_job_is_killed_at_any_moment() {
    goes_on(Victim::Job);
}

#[test]
fn an_upgrade_goes_on_when_all_its_processes_are_killed_at_any_moment() {
    goes_on(Victim::All);
}

fn goes_on(victim: Victim) {
    upgrade_at_each_moment(victim, |machine, moment, outcome| {
        let told = format!("{victim:?} {moment:?}");
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{told}");
        has(machine, &moment.name(), "2", &told);
    });
}

#[test]
fn a_first_installation_that_is_killed_while_it_unpacks_leaves_nothing_behind() {
    let machine = Machine::dnf().started();
    mount_proc(&machine);
    for victim in [Victim::All, Victim::Job, Victim::Tool] {
        let told = format!("{victim:?}");
        let name = format!("acme-{victim:?}").to_lowercase();
        let of_it = |version: &str| {
            let package = RpmPackage::new(&name, version)
                .file(&format!("/usr/share/{name}/both"), version.repeat(1000))
                .file(&format!("/usr/share/{name}/large"), large());
            Unpack.in_package(package, victim, &name)
        };
        let outcome = was_killed(&machine, &name, || machine.install_rpm(&of_it("2")));
        if victim == Victim::Tool {
            assert!(outcome.failure.is_some(), "{told}");
            assert_eq!(outcome.device, None, "{told}");
            let left = files_in(&machine.root().join("usr/share").join(&name));
            assert_eq!(left, [""; 0], "{told}");
            assert_eq!(machine.install_rpm(&of_it("2")).failure, None, "{told}");
        } else {
            assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{told}");
        }
        has(&machine, &name, "2", &told);
    }
}

#[test]
fn a_removal_goes_on_when_its_processes_are_killed_in_any_script() {
    let machine = Machine::dnf().started();
    mount_proc(&machine);
    for victim in [Victim::Tool, Victim::Job, Victim::All] {
        for script in [Preun, Postun] {
            let told = format!("{victim:?} {script:?}");
            let name = format!("acme-{victim:?}-{script:?}").to_lowercase();
            let package = In(script).in_package(RpmPackage::new(&name, "1"), victim, &name);
            let mut outcome = was_killed(&machine, &name, || {
                assert_eq!(machine.install_rpm(&package).failure, None, "{told}");
                machine.remove(&name)
            });
            if victim == Victim::Tool {
                assert!(outcome.failure.is_some(), "{told}");
                outcome = machine.remove(&name);
            }
            assert_eq!((outcome.failure, outcome.device), (None, None), "{told}");
            let left = machine.root().join("usr/share").join(&name);
            assert!(!left.join("version").exists(), "{told}");
        }
    }
}
