//! The unit files of a package, on their way from wharf-inspect to the services. The package manager waits for them.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use wharf_frames::{
    Cause, OperationId, Step,
    installer::{InstallerReply, InstallerRequest, JobStatus},
};

use crate::crash::before_a_power_cut;
use crate::machine::{Deb, Machine, Signer, name, perform, place_script};

const SCRIPT: &str = "/etc/init.d/acme";

/// A machine whose wharf-inspect the test replaces. Policy asks for no signature, so that a job asks wharf-inspect for
/// nothing but unit files.
struct Bench {
    machine: Machine,
    inspect: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let mut machine = Machine::simulated();
        machine.policy("allow-unsigned = true\n");
        let programs = machine.programs();
        let inspect = programs.join("wharf-inspect");
        machine.start_program(&programs.join("wharf-installer"), &[]);
        Self { machine, inspect }
    }

    /// With version 1, active.
    fn with_the_old_version() -> Self {
        let bench = Self::new();
        assert_eq!(bench.machine.install(&acme("1")).failure, None);
        let activate = Step::Activate(name("acme"));
        let operation = bench.machine.operation();
        let outcome = bench.machine.run(&perform(operation, activate));
        assert_eq!(outcome.failure, None);
        bench
    }

    fn kept(&self) -> PathBuf {
        self.inspect.with_file_name("sound")
    }

    /// An installation of version 2, sealed by a sound wharf-inspect.
    fn installation(&self) -> (OperationId, InstallerRequest) {
        let built = self.machine.build(&acme("2"), None);
        let stage = self.machine.stage_id();
        let reply = self.machine.put(stage, &built);
        assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
        let operation = self.machine.operation();
        (operation, perform(operation, Step::Install(stage)))
    }

    /// Replaces wharf-inspect by a script. None: it is missing.
    fn spoil(&self, inspect: Option<&str>) {
        fs::rename(&self.inspect, self.kept()).unwrap();
        if let Some(script) = inspect {
            place_script(script, &self.inspect);
        }
    }

    /// Accepts an installation of version 2, with this wharf-inspect from its seal on.
    fn accepted(&self, inspect: Option<&str>) -> OperationId {
        let (operation, install) = self.installation();
        self.spoil(inspect);
        assert_eq!(self.machine.ask(&install), InstallerReply::Accepted);
        operation
    }

    /// A folder in which wharf-inspect may write.
    fn notes(&self) -> PathBuf {
        let folder = self.machine.root().join("asked");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        folder
    }

    fn mend(&self) {
        fs::rename(self.kept(), &self.inspect).unwrap();
    }

    fn held(&self) -> String {
        let path = self
            .machine
            .root()
            .join("var/lib/wharf-simulated/acme_held");
        fs::read_to_string(path).unwrap_or_default()
    }

    fn is_old_and_active(&self) {
        let found = self.machine.state("acme").unwrap();
        assert_eq!((found.version.as_str(), found.active), ("1", true));
        assert_eq!(self.held(), held("1"), "no later hold");
        assert_eq!(self.machine.effects(), ["install acme 1", "activate acme"]);
    }

    fn is_new(&self) {
        let found = self.machine.state("acme").unwrap();
        assert_eq!((found.version.as_str(), found.active), ("2", false));
        assert_eq!(self.held(), held("2"));
    }

    /// Switches the machine off when version 2 is installed, before the job has ended.
    fn cut_off(&mut self) -> OperationId {
        self.machine.installer().kill();
        let [job, real, installer] = ["wharf-job", "real-job", "wharf-installer"]
            .map(|program| self.inspect.with_file_name(program));
        fs::rename(&job, &real).unwrap();
        let script = format!(
            "#!/bin/sh\nmkdir {}/ran || exit 1\nWHARF_FAULT_AT=job.applied=1 exec {} \"$@\"\n",
            self.machine.root().display(),
            real.display()
        );
        place_script(&script, &job);
        self.machine.start_program(&installer, &[]);
        let (operation, install) = self.installation();
        before_a_power_cut(&mut self.machine, operation, &install);
        fs::rename(real, job).unwrap();
        operation
    }
}

fn acme(version: &str) -> Deb {
    let other = "/usr/share/acme/about";
    let deb = Deb::new("acme", version).file(other, "not a unit file");
    deb.file(SCRIPT, format!("start {version}"))
}

fn held(version: &str) -> String {
    format!("{}: start {version}\n", SCRIPT.trim_start_matches('/'))
}

const KILLED: &str = "#!/bin/sh\nkill -KILL $$\n";

#[test]
fn the_services_get_the_unit_files_of_the_package_and_no_others() {
    let machine = Machine::simulated().started();
    let inside = machine.build_inside(&acme("2"), Signer::Vendor);
    for (built, version) in [
        (machine.build(&acme("1"), Some(Signer::Vendor)), "1"),
        (inside, "2"),
    ] {
        assert_eq!(machine.install_built(&built).failure, None);
        let path = machine.root().join("var/lib/wharf-simulated/acme_held");
        assert_eq!(fs::read_to_string(path).unwrap(), held(version));
    }
}

#[test]
fn a_job_goes_on_when_wharf_inspect_can_be_asked_again_and_touches_nothing_until_then() {
    for inspect in [Some(KILLED), None] {
        let mut bench = Bench::with_the_old_version();
        let operation = bench.accepted(inspect);
        let errors = bench.machine.installer().errors();
        errors.wait_for("is asked again");
        bench.is_old_and_active();
        bench.mend();
        let outcome = bench.machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.attempts), (None, 1));
        bench.is_new();
    }
}

/// Fails so often, then is sound.
fn fails(bench: &Bench, times: u32) -> String {
    let folder = bench.notes();
    format!(
        "#!/bin/sh\ni=0\nwhile [ $i -lt {times} ]; do\ni=$((i+1))\nmkdir {}/$i 2>/dev/null && kill -KILL $$\ndone\n\
         exec {} \"$@\"\n",
        folder.display(),
        bench.kept().display()
    )
}

#[test]
fn a_job_that_found_no_unit_files_in_one_attempt_is_done_by_the_next() {
    let bench = Bench::with_the_old_version();
    let operation = bench.accepted(Some(&fails(&bench, 3)));
    let outcome = bench.machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 2));
    bench.is_new();
}

#[test]
fn a_job_that_can_never_read_the_unit_files_ends_and_leaves_the_running_version_alone() {
    let bench = Bench::with_the_old_version();
    let operation = bench.accepted(Some(KILLED));
    let outcome = bench.machine.outcome(operation);
    let failure = outcome.failure.expect("wharf-inspect never answers");
    assert_eq!(failure.cause, Cause::Unavailable, "{failure}");
    assert!(failure.detail.as_str().contains("signal 9"), "{failure}");
    assert_eq!(outcome.attempts, 2);
    bench.is_old_and_active();
    bench.mend();
    assert_eq!(bench.machine.install(&acme("3")).failure, None);
}

#[test]
fn an_answer_that_is_nonsense_is_final_and_leaves_the_running_version_alone() {
    for script in ["echo nonsense", "echo nonsense >&2"] {
        let bench = Bench::with_the_old_version();
        let operation = bench.accepted(Some(&format!("#!/bin/sh\n{script}\n")));
        let outcome = bench.machine.outcome(operation);
        let failure = outcome.failure.expect("that is no answer");
        assert_eq!(failure.cause, Cause::Malformed, "{failure}");
        assert_eq!(outcome.attempts, 1);
        bench.is_old_and_active();
    }
}

#[test]
fn a_job_that_a_power_cut_ended_is_done_again_once_its_unit_files_can_be_read() {
    let mut bench = Bench::with_the_old_version();
    let operation = bench.cut_off();
    bench.spoil(Some(&fails(&bench, 3)));
    let installer = bench.inspect.with_file_name("wharf-installer");
    bench.machine.start_program(&installer, &[]);
    let outcome = bench.machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.attempts), (None, 3));
    assert!(outcome.note.is_some(), "it was done again");
    bench.is_new();
    let twice = ["install acme 2"; 2];
    assert!(bench.machine.effects().ends_with(&twice.map(str::to_owned)));
}

#[test]
fn a_job_whose_signature_cannot_be_judged_as_the_work_begins_is_done_by_the_next_attempt() {
    let bench = Bench::with_the_old_version();
    let folder = bench.notes();
    // It is asked about the signature as the job is accepted, started and begun, and for the unit files before it is begun. The
    // same question is asked once in a second, so the unit files come in another second than the start.
    let script = format!(
        "#!/bin/sh\ni=1\nuntil mkdir {}/$i; do i=$((i+1)); done 2>/dev/null\n\
         [ $i != 3 ] || sleep 1.1\n[ $i != 4 ] || kill -KILL $$\nexec {} \"$@\"\n",
        folder.display(),
        bench.kept().display()
    );
    let (stage, _) = bench.machine.sealed(&acme("2"));
    bench.spoil(Some(&script));
    let install = perform(bench.machine.operation(), Step::Install(stage));
    let outcome = bench.machine.run(&install);
    assert_eq!((outcome.failure, outcome.attempts), (None, 2));
    bench.is_new();
}

#[test]
fn a_job_that_waits_for_unit_files_can_be_cancelled() {
    let mut bench = Bench::with_the_old_version();
    let operation = bench.accepted(Some(KILLED));
    bench
        .machine
        .installer()
        .errors()
        .wait_for("is asked again");
    let cancel = InstallerRequest::Cancel { operation };
    assert_eq!(bench.machine.ask(&cancel), InstallerReply::Done);
    let reply = bench.machine.ask(&InstallerRequest::Watch { operation });
    let InstallerReply::Job(JobStatus::Ended(outcome)) = reply else {
        panic!("{reply:?}");
    };
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(Cause::GaveUp));
    bench.mend();
    assert_eq!(bench.machine.install(&acme("3")).failure, None);
    let installed = bench.machine.effects();
    assert!(
        !installed.contains(&"install acme 2".to_owned()),
        "{installed:?}"
    );
}
