//! Exits after each step of wharf-installer and of wharf-job, injected in a run over all operations. Afterwards each
//! effect has happened once, and each outcome is true.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use wharf_frames::{
    Failure, OperationId, StageId, Step,
    installer::{Found, InstallerReply, InstallerRequest, JobStatus, Outcome},
};
use wharf_tests::{command::text_of, repository::Repository, waiting::wait_until};

use crate::{
    machine::{
        Built, Deb, Machine, Place, Script, Signer, name, perform, place_script, refused,
        was_sent_back,
    },
    runs::accept_steps,
};

/// The place of the injected exit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// In wharf-installer, after its n-th step.
    Installer(u32),
    /// In the wharf-job of the n-th job, the first time it runs, after its n-th step.
    Job(u32, u32),
}

/// A machine with a client that retries after a crash, as wharfd does.
pub(crate) struct Run {
    pub(crate) machine: Machine,
    programs: PathBuf,
}

impl Run {
    pub(crate) fn new(machine: Machine, fault: Fault) -> Self {
        let programs = machine.programs();
        // A wharf-job with a fault in its n-th job only, the first time that it runs.
        let (job, step) = match fault {
            Fault::Job(job, step) => (job, step),
            Fault::Installer(_) => (0, 0),
        };
        let script = format!(
            "#!/bin/sh\nunset WHARF_FAULT_AT\nmkdir \"{0}/seen-$2\" 2>/dev/null && echo >>\"{0}/jobs\" && \
             [ $(wc -l <\"{0}/jobs\") = {job} ] && export WHARF_FAULT_AT={step}\nexec {1} \"$@\"\n",
            programs.display(),
            machine.program("wharf-job").display()
        );
        place_script(&script, &programs.join("wharf-job"));
        let mut run = Self { machine, programs };
        match fault {
            Fault::Installer(step) => run.start(&[("WHARF_FAULT_AT", &step.to_string())]),
            Fault::Job(..) => run.start(&[]),
        }
        run
    }

    fn start(&mut self, variables: &[(&str, &str)]) {
        let program = self.programs.join("wharf-installer");
        self.machine.start_program(&program, variables);
    }

    /// Asks until an answer arrives; restarts wharf-installer if it has ended.
    pub(crate) fn ask(
        &mut self,
        request: &InstallerRequest,
    ) -> (InstallerReply, Option<std::os::fd::OwnedFd>) {
        loop {
            let client = self.machine.try_wharfd();
            let sent = client.filter(|client| {
                client
                    .try_send(&wharf_frames::encode(request).unwrap(), &[])
                    .is_ok()
            });
            match sent.and_then(|client| client.receive()) {
                Some((InstallerReply::NotNow(_), _)) => {}
                Some(answer) => return answer,
                None => self.restart_if_ended(),
            }
        }
    }

    fn restart_if_ended(&mut self) {
        let installer = self.machine.installer();
        let status = wait_until("the end of wharf-installer", || installer.exit_status());
        assert_eq!(status.code(), Some(86), "only the injected exit ends it");
        self.start(&[]);
    }

    pub(crate) fn seal(&mut self, stage: StageId, built: &Built) {
        let (_, file) = self.ask(&InstallerRequest::Stage {
            stage,
            keep: 0,
            size: None,
        });
        let mut file = fs::File::from(file.expect("a descriptor"));
        file.write_all(&fs::read(&built.path).unwrap()).unwrap();
        drop(file);
        let signature = built.signature.clone().map(Into::into);
        let (reply, _) = self.ask(&InstallerRequest::Seal { stage, signature });
        assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
    }

    pub(crate) fn job(&mut self, operation: OperationId, request: &InstallerRequest) -> Outcome {
        assert_eq!(self.ask(request).0, InstallerReply::Accepted);
        loop {
            match self.ask(&InstallerRequest::Watch { operation }).0 {
                InstallerReply::Job(JobStatus::Ended(outcome)) => return *outcome,
                InstallerReply::Job(JobStatus::Open { .. }) => self.wait_for_change(operation),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until the watched job or wharf-installer has ended.
    fn wait_for_change(&mut self, operation: OperationId) {
        let Some(client) = self.machine.try_wharfd() else {
            return;
        };
        let watch = wharf_frames::encode(&InstallerRequest::Watch { operation }).unwrap();
        if client.try_send(&watch, &[]).is_ok() {
            while let Some((InstallerReply::Job(JobStatus::Open { .. }), _)) = client.receive() {}
        }
    }

    /// Installs a package, upgrades it by one inside a message, fails an upgrade, and removes the rest. Returns whether
    /// the fault was reached.
    fn all_operations(mut self) -> bool {
        let effects = |script| format!("echo \"{script} $*\" >>/var/log/acme-effects");
        let versions = ["1", "2"].map(|version| {
            let deb = Deb::new("acme", version)
                .script(Script::Postinst, &effects("postinst"))
                .script(Script::Postrm, &effects("postrm"));
            match version {
                "1" => self.machine.build(&deb, Some(Signer::Vendor)),
                _ => self.machine.build_inside(&deb, Signer::Vendor),
            }
        });
        for built in &versions {
            let (stage, operation) = (self.machine.stage_id(), self.machine.operation());
            self.seal(stage, built);
            let outcome = self.job(operation, &perform(operation, Step::Install(stage)));
            assert_eq!(outcome.failure, None);
            assert_eq!(
                self.ask(&InstallerRequest::Discard { stage }).0,
                InstallerReply::Done
            );
        }
        // 0: the last version of an rpm goes.
        let last = format!("[ $1 != remove -a $1 != 0 ] || {}", effects("postrm"));
        self.fail_an_upgrade(&last);
        let operation = self.machine.operation();
        let outcome = self.job(
            operation,
            &perform(operation, Step::Uninstall(name("acme"))),
        );
        assert_eq!((outcome.failure, outcome.device), (None, None));
        self.is_done_once();
        self.was_reached()
    }

    /// Whether the exit happened.
    pub(crate) fn was_reached(&mut self) -> bool {
        self.machine
            .installer()
            .errors()
            .all()
            .iter()
            .any(|line| line.contains("exit at step"))
            || self.machine.restarted()
    }

    /// An upgrade that fails. After any number of attempts, the device has the version before, whole and managed.
    fn fail_an_upgrade(&mut self, postrm: &str) {
        let deb = Deb::new("acme", "3")
            .script(Script::Postinst, "exit 3")
            .script(Script::Postrm, postrm);
        let built = self.machine.build(&deb, Some(Signer::Vendor));
        let (stage, operation) = (self.machine.stage_id(), self.machine.operation());
        self.seal(stage, &built);
        let fault = self.machine.tell("fail-postinst");
        fs::write(&fault, "acme 3").unwrap();
        let outcome = self.job(operation, &perform(operation, Step::Install(stage)));
        fs::remove_file(fault).unwrap();
        let failure = outcome.failure.expect("its postinst fails");
        assert!(
            failure.detail.as_str().contains("was sent back"),
            "{failure}"
        );
        let left = outcome.device.expect("the version before");
        assert!(left.is_whole() && left.managed, "{left:?}");
        assert!(left.version.as_str().starts_with('2'), "{left:?}");
        assert_eq!(
            self.ask(&InstallerRequest::Discard { stage }).0,
            InstallerReply::Done
        );
    }

    fn is_done_once(&mut self) {
        let (list, _) = self.ask(&InstallerRequest::List);
        assert_eq!(
            list,
            InstallerReply::List {
                stages: vec![],
                open: vec![]
            }
        );
        let root = self.machine.root();
        match &self.machine.place {
            Place::Debian(debian) => {
                assert_eq!(
                    lines(&root.join("var/log/acme-effects")),
                    [
                        "postinst configure ",
                        "postrm upgrade 2",
                        "postinst configure 1",
                        "postrm upgrade 3",
                        "postinst configure 2",
                        "postrm remove"
                    ]
                );
                let audit = debian.command("dpkg").arg("--audit").output().unwrap();
                assert_eq!(String::from_utf8_lossy(&audit.stdout), "");
            }
            // rpm does not say how far the scripts were, so a repair runs them again.
            Place::Rpm(rpm) => {
                let left = rpm.command("rpm").args(["-q", "acme"]).output().unwrap();
                assert!(!left.status.success());
                let records = root.join("var/lib/wharf-installer/rpm-unfinished");
                assert_eq!(fs::read_dir(records).unwrap().count(), 0);
                let ran = lines(&root.join("var/log/acme-effects"));
                assert_eq!(ran.last().map(String::as_str), Some("postrm 0"), "{ran:?}");
                assert!(ran.iter().any(|line| line == "postinst 1"), "{ran:?}");
            }
            // Nor does opkg: its database is written at the end.
            Place::Opkg(opkg) => {
                let left = text_of(opkg.command("opkg").arg("list-installed"));
                assert_eq!(left, "");
                let records = root.join("var/lib/wharf-installer/opkg");
                assert_eq!(fs::read_dir(records).unwrap().count(), 0);
                let ran = lines(&root.join("var/log/acme-effects"));
                let first = ran.first().map(String::as_str);
                assert_eq!(first, Some("postinst configure"), "{ran:?}");
                let last = ran.last().map(String::as_str);
                assert_eq!(last, Some("postrm remove"), "{ran:?}");
            }
            _ => {
                assert_eq!(
                    self.machine.effects(),
                    [
                        "install acme 1",
                        "install acme 2",
                        "install acme 2",
                        "remove acme"
                    ]
                );
            }
        }
    }
}

pub(crate) fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Injects an exit after each step there is, until one is no longer reached.
pub(crate) fn after_each_step(machine: fn() -> Machine, fault: fn(u32) -> Fault) {
    let reached = |step: &u32| Run::new(machine(), fault(*step)).all_operations();
    let steps = (1..100).take_while(reached).count();
    assert!(steps >= 6, "only {steps} steps were there to exit at");
}

#[test]
fn each_effect_is_there_once_after_an_exit_at_any_step_with_the_simulated_package_manager() {
    after_each_step(Machine::simulated, Fault::Installer);
    for fault in [
        |step| Fault::Job(1, step),
        |step| Fault::Job(2, step),
        |step| Fault::Job(3, step),
        |step| Fault::Job(4, step),
    ] {
        after_each_step(Machine::simulated, fault);
    }
}

#[test]
fn each_effect_is_there_once_after_wharf_installer_ended_at_any_step_with_apt() {
    after_each_step(Machine::debian, Fault::Installer);
}

#[test]
fn each_effect_is_there_once_after_an_install_by_apt_ended_at_any_step() {
    after_each_step(Machine::debian, |step| Fault::Job(1, step));
}

#[test]
fn each_effect_is_there_once_after_an_upgrade_by_apt_ended_at_any_step() {
    after_each_step(Machine::debian, |step| Fault::Job(2, step));
}

#[test]
fn each_effect_is_there_once_after_an_upgrade_by_apt_that_fails_ended_at_any_step() {
    after_each_step(Machine::debian, |step| Fault::Job(3, step));
}

#[test]
fn each_effect_is_there_once_after_a_removal_by_apt_ended_at_any_step() {
    after_each_step(Machine::debian, |step| Fault::Job(4, step));
}

#[test]
fn a_job_of_three_packages_that_fails_goes_back_after_an_exit_at_any_step_with_apt() {
    let reached = |step: &u32| three_packages(Run::new(Machine::debian(), Fault::Job(4, *step)));
    let steps = (1..100).take_while(reached).count();
    assert!(steps >= 12, "only {steps} steps were there to exit at");
}

/// Upgrades three packages, of which the last one fails. Returns whether the fault was reached.
fn three_packages(mut run: Run) -> bool {
    let names = ["acme", "bulb", "lamp"];
    let install = |run: &mut Run, version: &str| {
        names.map(|package| {
            let mut deb = Deb::new(package, version).conffile(&format!("/etc/{package}"), version);
            if (package, version) == ("lamp", "2") {
                deb = deb.script(Script::Postinst, "exit 3");
            }
            let (built, stage) = (
                run.machine.build(&deb, Some(Signer::Vendor)),
                run.machine.stage_id(),
            );
            run.seal(stage, &built);
            stage
        })
    };
    for stage in install(&mut run, "1") {
        let operation = run.machine.operation();
        let outcome = run.job(operation, &perform(operation, Step::Install(stage)));
        assert_eq!(outcome.failure, None);
    }
    fs::write(run.machine.root().join("etc/acme"), "mine").unwrap();
    let steps = install(&mut run, "2").map(Step::Install);
    let operation = run.machine.operation();
    accept_steps(&run.machine, operation, steps.into());
    let again = perform(operation, Step::Deactivate(name("acme")));
    let failure = run.job(operation, &again).failure.expect("lamp fails");
    was_sent_back(&failure);
    for (package, text) in names.into_iter().zip(["mine", "1", "1"]) {
        assert_eq!(run.machine.version(package).as_deref(), Some("1"));
        let etc = run.machine.root().join("etc");
        assert_eq!(fs::read_to_string(etc.join(package)).unwrap(), text);
        assert!(!etc.join(format!("{package}.dpkg-dist")).exists());
    }
    let debian = run.machine.place.debian();
    assert_eq!(text_of(debian.command("dpkg").arg("--audit")), "");
    let errors = run.machine.installer().errors().all();
    errors.iter().any(|line| line.contains("exit at step"))
}

#[test]
fn what_a_power_cut_took_on_the_way_back_is_written_again() {
    let (mut machine, stops) = stops_once_at("back.installed");
    machine.start();
    let lamp = "/usr/share/acme/lamp";
    assert_eq!(
        machine
            .install(&Deb::new("acme", "1").file(lamp, "on"))
            .failure,
        None
    );
    machine.installer().kill();
    machine.start_program(&stops, &[]);
    let (stage, _) = machine.sealed(&Deb::new("acme", "2").script(Script::Postinst, "exit 3"));
    let operation = applied_before_a_power_cut(&mut machine, stage);
    assert_eq!(
        machine.place.debian().installed_version("acme").as_deref(),
        Some("1")
    );
    let lamp = machine.root().join(&lamp[1..]);
    fs::write(&lamp, "").unwrap();
    machine.start();
    let failure = machine.outcome(operation).failure.expect("it goes back");
    was_sent_back(&failure);
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
    assert_eq!(fs::read_to_string(&lamp).unwrap(), "on");
}

/// Kills wharf-job, apt, dpkg and the script, in this order, so that none sees another die. Only the first time.
pub(crate) const KILL: &str = "if mkdir /killed 2>/dev/null; then p=$PPID; all=$$; for i in 1 2 3; do all=\"$p $all\"; \
                    p=$(cut -d' ' -f4 /proc/$p/stat); done; kill -9 $all; fi";

pub(crate) fn mount_proc(machine: &Machine) {
    let (proc, flags) = (machine.root().join("proc"), nix::mount::MsFlags::empty());
    nix::mount::mount(Some("proc"), &proc, Some("proc"), flags, None::<&str>).unwrap();
}

#[test]
fn a_job_that_is_given_up_says_what_the_device_has_nevertheless() {
    let mut machine = Machine::debian();
    // The second attempt ends as well, just after its repair.
    machine.start_with(&[("WHARF_FAULT_AT", "repair.configured=1")]);
    mount_proc(&machine);
    let outcome = machine.install(&Deb::new("acme", "1").script(Script::Postinst, KILL));
    assert_eq!((outcome.failure, outcome.attempts), (None, 2));
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
}

#[test]
fn a_job_of_which_every_process_was_killed_is_repaired_and_ends_true() {
    for script in [
        Script::Preinst,
        Script::Postinst,
        Script::Prerm,
        Script::Postrm,
    ] {
        let machine = Machine::debian().started();
        mount_proc(&machine);
        let is_olds = matches!(script, Script::Prerm | Script::Postrm);
        let with = |version: &str, killing: bool| match killing {
            true => Deb::new("acme", version).script(script, KILL),
            false => Deb::new("acme", version),
        };
        assert_eq!(machine.install(&with("1", is_olds)).failure, None);
        let outcome = machine.install(&with("2", !is_olds));
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{script:?}");
        let upgraded = machine.version("acme");
        assert_eq!(upgraded.as_deref(), Some("2"), "{script:?}");
        let debian = machine.place.debian();
        let audit = debian.command("dpkg").arg("--audit").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&audit.stdout), "", "{script:?}");
    }
}

#[test]
fn a_job_goes_on_when_wharf_installer_is_killed_and_is_waited_for_by_the_next() {
    let mut machine = Machine::simulated();
    let wait = machine.tell("wait");
    fs::remove_file(&wait).unwrap();
    nix::unistd::mkfifo(&wait, nix::sys::stat::Mode::S_IRWXU).unwrap();
    machine.start();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let operation = machine.operation();
    assert_eq!(
        machine.ask(&perform(operation, Step::Install(stage))),
        InstallerReply::Accepted
    );
    let gate = fs::File::options().write(true).open(&wait).unwrap();
    machine.installer().kill();
    machine.start();
    assert_eq!(machine.open_jobs(), [operation]);
    fs::remove_file(&wait).unwrap();
    drop(gate);
    let outcome = machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 1));
    assert_eq!(machine.effects(), ["install acme 1"]);
}

#[test]
fn a_job_that_dies_again_and_again_is_given_up_and_says_so() {
    let mut machine = Machine::simulated();
    machine.start_with(&[("WHARF_FAULT_AT", "job.applying=1")]);
    let outcome = machine.install(&Deb::new("acme", "1"));
    let failure = outcome.failure.expect("it never got through");
    assert_eq!(failure.cause, wharf_frames::Cause::Interrupted);
    assert!(failure.detail.as_str().contains("operator"), "{failure}");
    assert_eq!((outcome.attempts, outcome.device), (2, None));
    assert_eq!(machine.effects(), [""; 0]);
}

#[test]
fn what_a_first_install_left_that_was_given_up_can_be_removed() {
    let mut machine = Machine::debian();
    // Each attempt is killed, the repair as well.
    let killing = "p=$PPID; all=$$; for i in 1 2 3; do all=\"$p $all\"; p=$(cut -d' ' -f4 /proc/$p/stat); \
                   done; kill -9 $all";
    machine.start_with(&[("WHARF_FAULT_AT", "repair.configured=1")]);
    mount_proc(&machine);
    let outcome = machine.install(&Deb::new("acme", "1").script(Script::Preinst, killing));
    assert_eq!(
        outcome.failure.map(|failure| failure.cause),
        Some(wharf_frames::Cause::Interrupted)
    );
    let left = outcome.device.expect("a part of it");
    assert_eq!(left.to_string(), "acme 1 (half-installed, reinstreq)");
    assert!(left.managed);
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
}

#[test]
fn what_cannot_be_repaired_needs_an_operator() {
    let mut machine = Machine::simulated();
    machine.tell("die");
    machine.tell("unrepairable");
    machine.start();
    let outcome = machine.install(&Deb::new("acme", "1"));
    assert_eq!(
        outcome.failure.map(|failure| failure.cause),
        Some(wharf_frames::Cause::Interrupted)
    );
    assert_eq!(outcome.attempts, 2);
}

#[test]
fn what_was_applied_before_a_power_cut_is_looked_at_file_by_file() {
    let (mut machine, stops) = stops_once_at("job.applied");
    machine.start_program(&stops, &[]);
    let (stage, _) = machine.sealed(&Deb::new("acme", "1").file("/usr/share/acme/lamp", "on"));
    let operation = applied_before_a_power_cut(&mut machine, stage);
    let lamp = machine.root().join("usr/share/acme/lamp");
    fs::write(&lamp, "").unwrap();
    machine.start();

    let outcome = machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 2));
    assert_eq!(fs::read_to_string(lamp).unwrap(), "on");
}

/// Writes this into a file as a maintainer script does: dpkg does not know the file, and does not sync it.
fn postinst_that_writes(version: &str) -> Deb {
    let script =
        "echo $DPKG_MAINTSCRIPT_PACKAGE >/var/lib/lamp; echo \"$*\" >>/var/log/acme-effects";
    Deb::new("acme", version).script(Script::Postinst, script)
}

#[test]
fn what_a_maintainer_script_wrote_and_a_power_cut_took_is_written_again() {
    for (step, was_there) in [
        ("apt.installed", false),
        ("job.installed", true),
        ("job.applied", false),
    ] {
        let (mut machine, stops) = stops_once_at(step);
        machine.start();
        if was_there {
            assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
        }
        machine.installer().kill();
        machine.start_program(&stops, &[]);
        let (stage, _) = machine.sealed(&postinst_that_writes("2"));
        let operation = applied_before_a_power_cut(&mut machine, stage);
        assert_eq!(
            machine.place.debian().installed_version("acme").as_deref(),
            Some("2")
        );
        let lamp = machine.root().join("var/lib/lamp");
        fs::write(&lamp, "").unwrap();
        machine.start();

        let outcome = machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{step}");
        assert_eq!(fs::read_to_string(lamp).unwrap(), "acme\n", "{step}");
        let note = outcome.note.expect("that it was done again");
        assert!(note.as_str().contains("done again"), "{note}");
        machine.installer().errors().wait_for("done again");
    }
}

#[test]
fn what_a_power_cut_left_half_way_is_done_again_once() {
    for script in [Script::Preinst, Script::Postinst] {
        let (mut machine, stops) = stops_once_at("nothing");
        mount_proc(&machine);
        machine.start_program(&stops, &[]);
        let tells = |name: &str| format!("echo {name} $1 >>/var/log/acme-effects");
        let deb = Deb::new("acme", "1")
            .script(Script::Preinst, &tells("preinst"))
            .script(Script::Postinst, &tells("postinst"))
            .then(script, KILL);
        let (stage, _) = machine.sealed(&deb);
        let operation = applied_before_a_power_cut(&mut machine, stage);
        let effects = machine.root().join("var/log/acme-effects");
        fs::remove_file(&effects).unwrap();
        machine.start();

        let outcome = machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{script:?}");
        let ran = lines(&effects);
        let names: Vec<_> = ran.iter().flat_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, ["preinst", "postinst"], "{script:?}: {ran:?}");
        assert!(outcome.note.is_some(), "{script:?}");
    }
}

#[test]
fn what_the_script_of_a_removal_wrote_and_a_power_cut_took_is_written_again() {
    for step in ["apt.removed", "job.applied"] {
        let (mut machine, stops) = stops_once_at(step);
        machine.start();
        let script = "[ $1 != remove ] || echo $DPKG_MAINTSCRIPT_PACKAGE gone >/var/lib/lamp";
        let deb = Deb::new("acme", "1").script(Script::Postrm, script);
        assert_eq!(machine.install(&deb).failure, None);
        machine.installer().kill();
        machine.start_program(&stops, &[]);
        let (operation, package) = (machine.operation(), name("acme"));
        let remove = perform(operation, Step::Uninstall(package));
        before_a_power_cut(&mut machine, operation, &remove);
        let lamp = machine.root().join("var/lib/lamp");
        fs::write(&lamp, "").unwrap();
        machine.start();

        let outcome = machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.device), (None, None), "{step}");
        assert_eq!(fs::read_to_string(lamp).unwrap(), "acme gone\n", "{step}");
        assert!(outcome.note.is_some(), "{step}");
    }
}

#[test]
fn what_a_power_cut_took_is_written_again_also_where_the_next_attempt_is_killed() {
    let (mut machine, stops) = stops_once_at("job.applied");
    machine.start_program(&stops, &[]);
    let (stage, _) = machine.sealed(&postinst_that_writes("1"));
    let operation = applied_before_a_power_cut(&mut machine, stage);
    let lamp = machine.root().join("var/lib/lamp");
    fs::write(&lamp, "").unwrap();
    let killed = "mkdir again && export WHARF_FAULT_AT=job.attempted=1";
    start_with_jobs_that(&mut machine, &stops, killed);
    let outcome = machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 3));
    assert_eq!(fs::read_to_string(lamp).unwrap(), "acme\n");
}

#[test]
fn what_a_power_cut_took_and_no_attempt_wrote_again_is_not_called_installed() {
    let (mut machine, stops) = stops_once_at("job.applied");
    machine.start_program(&stops, &[]);
    let (stage, _) = machine.sealed(&postinst_that_writes("1"));
    let operation = applied_before_a_power_cut(&mut machine, stage);
    machine.start_with(&[("WHARF_FAULT_AT", "job.attempted=1")]);
    let outcome = machine.outcome(operation);
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(wharf_frames::Cause::Interrupted));
    assert_eq!(outcome.attempts, 3);
}

#[test]
fn what_a_power_cut_took_is_written_again_by_the_next_install_of_the_same_file() {
    for was_there in [false, true] {
        let (mut machine, stops) = stops_once_at("job.applied");
        machine.start();
        let (stage, _) = machine.sealed(&postinst_that_writes("1"));
        let mut cut_off = stage;
        if was_there {
            assert_eq!(machine.run(&install_of(&machine, stage)).failure, None);
            let other = postinst_that_writes("1").file("/usr/share/acme/more", "x");
            cut_off = machine.sealed(&other).0;
        }
        machine.installer().kill();
        machine.start_program(&stops, &[]);
        let operation = applied_before_a_power_cut(&mut machine, cut_off);
        let lamp = machine.root().join("var/lib/lamp");
        fs::write(&lamp, "").unwrap();
        machine.start_with(&[("WHARF_FAULT_AT", "job.attempted=1")]);
        let cause = machine
            .outcome(operation)
            .failure
            .map(|failure| failure.cause);
        assert_eq!(cause, Some(wharf_frames::Cause::Interrupted));
        machine.installer().kill();
        machine.start();

        let outcome = machine.run(&install_of(&machine, stage));
        assert_eq!(outcome.failure, None, "{was_there}");
        let written = fs::read_to_string(&lamp).unwrap();
        assert_eq!(written, "acme\n", "{was_there}");
    }
}

fn install_of(machine: &Machine, stage: StageId) -> InstallerRequest {
    let operation = machine.operation();
    perform(operation, Step::Install(stage))
}

/// A file that makes the whole keyring unusable: no signature can be judged.
fn broken_key(machine: &Machine) -> PathBuf {
    machine.root().join("etc/wharfd/keys/broken.asc")
}

#[test]
fn a_cut_off_job_that_cannot_be_judged_now_is_done_by_a_later_attempt() {
    let (mut machine, stops) = stops_once_at("job.applied");
    machine.start_program(&stops, &[]);
    let (stage, _) = machine.sealed(&postinst_that_writes("1"));
    let operation = applied_before_a_power_cut(&mut machine, stage);
    let lamp = machine.root().join("var/lib/lamp");
    fs::write(&lamp, "").unwrap();
    fs::write(broken_key(&machine), "garbage").unwrap();
    // The next attempt but one finds the keyring repaired.
    let mended = format!("mkdir again || rm -f {}", broken_key(&machine).display());
    start_with_jobs_that(&mut machine, &stops, &mended);
    let outcome = machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 3));
    assert_eq!(fs::read_to_string(lamp).unwrap(), "acme\n");
}

#[test]
fn a_killed_install_that_cannot_be_judged_for_a_moment_is_finished() {
    for was_there in [false, true] {
        let mut machine = Machine::debian().started();
        mount_proc(&machine);
        if was_there {
            assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
        }
        let breaks = format!("[ -e /killed ] || echo garbage >/etc/wharfd/keys/broken.asc\n{KILL}");
        let (operation, _) =
            machine.accepted(&Deb::new("acme", "2").script(Script::Preinst, &breaks));
        machine.installer().errors().wait_for("is asked again");
        fs::remove_file(broken_key(&machine)).unwrap();
        let outcome = machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.attempts), (None, 2));
        assert_eq!(machine.version("acme").as_deref(), Some("2"));
    }
}

#[test]
fn a_killed_install_that_can_never_be_judged_is_left_sound() {
    let mut machine = Machine::debian().started();
    mount_proc(&machine);
    let breaks = format!("[ -e /killed ] || echo garbage >/etc/wharfd/keys/broken.asc\n{KILL}");
    let outcome = machine.install(&Deb::new("acme", "1").script(Script::Postinst, &breaks));
    let failure = outcome.failure.expect("its signature cannot be judged");
    assert_eq!(failure.cause, wharf_frames::Cause::Unavailable, "{failure}");
    let detail = failure.detail.as_str();
    assert!(detail.contains("was finished"), "{failure}");
    assert_eq!(
        (outcome.attempts, machine.installer().exit_status()),
        (2, None)
    );
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
    let debian = machine.place.debian();
    let audit = debian.command("dpkg").arg("--audit").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&audit.stdout), "");
}

#[test]
fn a_removal_is_not_done_where_the_script_that_is_run_again_fails() {
    for (fails, words) in [("exit 3", "ended with 3"), ("sleep 1000", "was ended")] {
        let (mut machine, stops) = stops_once_at("job.applied");
        machine.start();
        let script = format!(
            "[ $1 = remove ] || exit 0\necho $DPKG_RUNNING_VERSION >>/versions\n[ ! -e /fails ] || {fails}"
        );
        let deb = Deb::new("acme", "1").script(Script::Postrm, &script);
        assert_eq!(machine.install(&deb).failure, None);
        machine.installer().kill();
        machine.start_program(&stops, &[]);
        let (operation, package) = (machine.operation(), name("acme"));
        let remove = perform(operation, Step::Uninstall(package));
        before_a_power_cut(&mut machine, operation, &remove);
        fs::write(machine.root().join("fails"), "").unwrap();
        if fails.starts_with("sleep") {
            machine.policy("job-time-limit = 2\n");
        }
        machine.start();

        let failure = machine
            .outcome(operation)
            .failure
            .expect("its postrm fails");
        assert_eq!(failure.cause, wharf_frames::Cause::Script, "{failure}");
        assert!(failure.detail.as_str().contains(words), "{failure}");
        let versions = lines(&machine.root().join("versions"));
        assert_eq!(versions.len(), 2, "dpkg's run, and ours");
        assert_eq!(versions[0], versions[1]);
    }
}

#[test]
fn what_a_killed_job_printed_is_gone_after_the_next() {
    let machine = Machine::debian().started();
    mount_proc(&machine);
    // First under apt, then under the dpkg of the repair.
    let repair = "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat) $PPID $$";
    let deb = Deb::new("acme", "1").script(Script::Preinst, &format!("{KILL}; {repair}"));
    let outcome = machine.install(&deb);
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(wharf_frames::Cause::Interrupted));
    let left = fs::read_dir(machine.root().join("run/wharf-installer")).unwrap();
    let names = left.flatten().map(|entry| entry.file_name());
    let printed: Vec<_> = names
        .filter(|name| name.to_string_lossy().contains(".output."))
        .collect();
    assert_eq!(printed, [""; 0]);
}

/// Runs a job while this script kills its processes once and the key that signed its file is removed.
fn without_its_key(script: Script, version: &str) -> Deb {
    let gone = format!("mv /etc/wharfd/keys/vendor.asc / 2>/dev/null || true\n{KILL}");
    let tells = |script: &str| format!("echo \"{script} $*\" >>/var/log/acme-effects");
    let deb = Deb::new("acme", version);
    match script {
        Script::Preinst => {
            let deb = deb.script(Script::Preinst, &format!("{}\n{gone}", tells("preinst")));
            deb.script(Script::Postinst, &tells("postinst"))
        }
        _ => deb.script(script, &format!("{}\n{gone}", tells("postinst"))),
    }
}

/// Installs version 2, over version 1 if `was_there`. It is killed in this script, then refused. Returns the package on
/// the device, and the failure.
fn killed_without_its_key(script: Script, was_there: bool) -> (Machine, Option<Found>, Failure) {
    let machine = Machine::debian().started();
    mount_proc(&machine);
    if was_there {
        assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    }
    let outcome = machine.install(&without_its_key(script, "2"));
    let failure = outcome.failure.expect("its key is gone");
    assert_eq!(failure.cause, wharf_frames::Cause::Policy, "{failure}");
    (machine, outcome.device, failure)
}

#[test]
fn a_killed_install_whose_key_is_gone_is_not_installed_from_its_file() {
    for was_there in [false, true] {
        let (machine, device, failure) = killed_without_its_key(Script::Preinst, was_there);
        let effects = lines(&machine.root().join("var/log/acme-effects"));
        assert_eq!(effects.len(), 1, "no script ran after it: {effects:?}");
        assert_ne!(machine.version("acme").as_deref(), Some("2"));
        let debian = machine.place.debian();
        if was_there {
            let detail = failure.detail.as_str();
            assert!(detail.starts_with("it was sent back: "), "{failure}");
            assert_eq!(machine.version("acme").as_deref(), Some("1"));
        } else {
            assert_eq!(device, None, "what was begun is gone");
            let removed = "was removed";
            assert!(failure.detail.as_str().contains(removed), "{failure}");
        }
        let audit = debian.command("dpkg").arg("--audit").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&audit.stdout), "", "{was_there}");
    }
}

#[test]
fn a_first_install_that_was_killed_and_whose_key_is_gone_is_configured_and_says_so() {
    let (machine, _, failure) = killed_without_its_key(Script::Postinst, false);
    for words in ["was finished", "does not hold any more"] {
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    assert_eq!(machine.version("acme").as_deref(), Some("2"));
    let effects = lines(&machine.root().join("var/log/acme-effects"));
    let configured = "postinst configure ";
    assert_eq!(
        effects,
        [configured, configured],
        "the one that was killed, and dpkg's"
    );
    has_whole(&machine, [Some("2"), None, None]);
}

#[test]
fn a_killed_upgrade_whose_key_is_gone_goes_back_and_its_script_runs_no_more() {
    let (machine, _, failure) = killed_without_its_key(Script::Postinst, true);
    for words in ["it was sent back", "does not hold any more"] {
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    let effects = lines(&machine.root().join("var/log/acme-effects"));
    assert_eq!(effects, ["postinst configure 1"]);
    has_whole(&machine, [Some("1"), None, None]);
}

/// Installs acme 1 with libraries that need each other. It is killed when libb is configured, which runs these commands first.
fn killed_with_a_dependency(commands: &str) -> (Machine, Outcome) {
    let machine = Machine::debian().started();
    mount_proc(&machine);
    let repository = Repository::new(&machine.place.path());
    let libb = Deb::new("libb", "1").depends("liba");
    repository.offer(&Deb::new("liba", "1").depends("libb"));
    repository.offer(&libb.script(Script::Postinst, &format!("{commands}\n{KILL}")));
    let outcome = machine.install(&Deb::new("acme", "1").depends("liba"));
    (machine, outcome)
}

/// Asserts what the device has, whole.
fn has_whole(machine: &Machine, versions: [Option<&str>; 3]) {
    let found = ["acme", "liba", "libb"].map(|name| machine.version(name));
    assert_eq!(found.each_ref().map(Option::as_deref), versions);
    let audit = text_of(machine.place.debian().command("dpkg").arg("--audit"));
    assert_eq!(audit, "");
}

#[test]
fn a_killed_install_whose_dependencies_need_each_other_is_finished() {
    let (machine, outcome) = killed_with_a_dependency("true");
    assert_eq!((outcome.failure, outcome.attempts), (None, 2));
    has_whole(&machine, [Some("1"); 3]);
}

#[test]
fn dependencies_of_a_killed_install_that_is_refused_now_are_finished_or_removed() {
    let gone = "mv /etc/wharfd/keys/vendor.asc / 2>/dev/null || true";
    let fails = format!("{gone}\n[ ! -e /killed ] || exit 3");
    for (commands, left) in [(gone, Some("1")), (fails.as_str(), None)] {
        let (machine, outcome) = killed_with_a_dependency(commands);
        let failure = outcome.failure.expect("its key is gone");
        assert_eq!(failure.cause, wharf_frames::Cause::Policy, "{failure}");
        has_whole(&machine, [left; 3]);
    }
}

#[test]
fn a_dependency_that_cannot_be_finished_is_removed_unless_policy_protects_it() {
    for policy in ["", "protected = [\"libfoo\"]\n"] {
        let machine = Machine::debian().started();
        mount_proc(&machine);
        machine.policy(policy);
        let fails = format!("[ ! -e /killed ] || exit 3\n{KILL}");
        let libfoo = Deb::new("libfoo", "2").script(Script::Postinst, &fails);
        Repository::new(&machine.place.path()).offer(&libfoo);
        let acme = Deb::new("acme", "1").field("Pre-Depends", "libfoo");
        let failure = machine.install(&acme).failure.expect("libfoo fails");
        assert_eq!(failure.cause, wharf_frames::Cause::Script, "{failure}");
        let debian = machine.place.debian();
        let audit = text_of(debian.command("dpkg").arg("--audit"));
        assert_eq!(audit.contains("libfoo"), !policy.is_empty(), "{audit}");
    }
}

#[test]
fn an_older_version_is_refused_also_after_an_install_that_failed_and_is_whole() {
    for was_there in [true, false] {
        let (mut machine, stops) = stops_once_at("job.applied");
        machine.policy("back.bytes = 0\n");
        machine.start();
        if was_there {
            assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
        }
        machine.installer().kill();
        machine.start_program(&stops, &[]);
        let (older, _) = machine.sealed(&Deb::new("acme", "2~rc1"));
        let (stage, _) = machine.sealed(&Deb::new("acme", "2"));
        let operation = applied_before_a_power_cut(&mut machine, stage);
        let key = machine.root().join("etc/wharfd/keys/vendor.asc");
        let away = machine.root().join("vendor.asc");
        fs::rename(&key, &away).unwrap();
        machine.start();
        let outcome = machine.outcome(operation);
        let cause = outcome.failure.map(|failure| failure.cause);
        assert_eq!(cause, Some(wharf_frames::Cause::Policy));
        assert_eq!(machine.version("acme").as_deref(), Some("2"));
        fs::rename(&away, &key).unwrap();

        let debian = machine.place.debian();
        let removed = debian.command("dpkg").args(["--remove", "acme"]).output();
        assert!(removed.unwrap().status.success());
        let install = |stage| perform(machine.operation(), Step::Install(stage));
        let cause = refused(machine.ask(&install(older)));
        assert_eq!(cause, wharf_frames::Cause::Downgrade, "{was_there}");
        assert_eq!(machine.run(&install(stage)).failure, None);
    }
}

/// A machine with apt, and a wharf-installer whose jobs stop once at this step, for a power cut.
pub(crate) fn stops_once_at(step: &str) -> (Machine, PathBuf) {
    stops_once(Machine::debian(), step)
}

/// As [`stops_once_at`], on this machine.
pub(crate) fn stops_once(machine: Machine, step: &str) -> (Machine, PathBuf) {
    let programs = machine.programs();
    let script = format!(
        "#!/bin/sh\nmkdir {0}/ran || exit 1\nWHARF_FAULT_AT={step}=1 exec {1} \"$@\"\n",
        programs.display(),
        machine.program("wharf-job").display()
    );
    place_script(&script, &programs.join("wharf-job"));
    (machine, programs.join("wharf-installer"))
}

/// A power cut after this step takes a file of a package, and one that its script wrote. The job writes both again.
pub(crate) fn writes_again_what_a_power_cut_took(machine: Machine, step: &str) {
    let (mut machine, stops) = stops_once(machine, step);
    machine.start_program(&stops, &[]);
    let deb = Deb::new("acme", "1").script(Script::Postinst, "echo on >/var/lib/lamp");
    let deb = deb.file("/usr/share/acme/lamp", "on");
    let (stage, _) = machine.sealed(&deb);
    let operation = applied_before_a_power_cut(&mut machine, stage);
    let lost = ["var/lib/lamp", "usr/share/acme/lamp"].map(|path| machine.root().join(path));
    for path in &lost {
        fs::write(path, "").unwrap();
    }
    machine.start();

    let outcome = machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{step}");
    for path in &lost {
        assert_eq!(fs::read_to_string(path).unwrap().trim(), "on", "{step}");
    }
    assert!(outcome.note.is_some(), "{step}");
}

/// Restarts wharf-installer. In the folder of its programs, each job runs this command first.
pub(crate) fn start_with_jobs_that(machine: &mut Machine, stops: &Path, first: &str) {
    let script = format!(
        "#!/bin/sh\ncd {}\n{first}\nexec {} \"$@\"\n",
        stops.parent().unwrap().display(),
        machine.program("wharf-job").display()
    );
    place_script(&script, &stops.with_file_name("wharf-job"));
    machine.start_program(stops, &[]);
}

/// Leaves a job as it is after a power cut, before the next start of wharf-installer.
pub(crate) fn applied_before_a_power_cut(machine: &mut Machine, stage: StageId) -> OperationId {
    let operation = machine.operation();
    let install = perform(operation, Step::Install(stage));
    before_a_power_cut(machine, operation, &install);
    operation
}

/// Leaves this job as it is after a power cut, before the next start of wharf-installer.
pub(crate) fn before_a_power_cut(
    machine: &mut Machine,
    operation: OperationId,
    request: &InstallerRequest,
) {
    assert_eq!(machine.ask(request), InstallerReply::Accepted);
    machine.installer().errors().wait_for("did not begin");
    machine.installer().kill();
    in_another_boot(machine, operation);
}

/// Makes the record say that its attempts were made in another boot.
fn in_another_boot(machine: &Machine, operation: OperationId) {
    let path = machine
        .root()
        .join(format!("var/lib/wharf-installer/jobs/{operation}"));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim().as_bytes();
    let mut record = fs::read(&path).unwrap();
    let at = record.windows(boot.len()).position(|part| part == boot);
    let at = at.expect("the record names its boot");
    record[at..at + boot.len()].fill(b'0');
    fs::write(path, record).unwrap();
}

#[test]
fn a_process_that_stays_in_the_session_of_a_killed_job_holds_up_no_other_job() {
    let mut machine = Machine::debian();
    machine.policy("job-time-limit = 2\n");
    machine.start();
    mount_proc(&machine);
    let stays = format!("sleep 600 >/dev/null 2>&1 & echo $! >>/stays; {KILL}");
    let outcome = machine.install(&Deb::new("acme", "1").script(Script::Postinst, &stays));
    let next = machine.install(&Deb::new("bulb", "1"));
    for pid in lines(&machine.root().join("stays")) {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    assert_eq!((outcome.failure, outcome.attempts), (None, 2));
    assert_eq!(next.failure, None);
}

#[test]
fn a_dpkg_that_outlives_its_apt_is_waited_for_before_the_device_is_looked_at() {
    let machine = Machine::debian().started();
    mount_proc(&machine);
    let kill = "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); sleep 1; touch /ended";
    let outcome = machine.install(&Deb::new("acme", "1").script(Script::Postinst, kill));
    assert!(machine.root().join("ended").exists(), "{outcome:?}");
    // dpkg can no longer report to apt and gives up, so its unfinished work is undone.
    assert!(outcome.failure.is_some(), "{outcome:?}");
    assert_eq!(outcome.device, None);
    let debian = machine.place.debian();
    assert_eq!(debian.dpkg_state("acme").map(|(state, _)| state), None);
    let left = fs::read_dir(machine.root().join("run/wharf-installer/apt")).unwrap();
    let links = left
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "deb"));
    assert_eq!(links.count(), 0, "the names that apt was given are gone");
}
