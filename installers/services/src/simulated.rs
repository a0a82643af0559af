//! Simulated services for tests. Files below the root are their state and their faults.
//!
//! A package's files in /etc/init.d say what it starts.
//!
//! In `var/lib/wharf-simulated`: `NAME_active` exists while the package is active. `NAME_held` has a line for each of those
//! files that [`Services::hold`] got: `PATH: CONTENT`. `NAME_ran` exists while a package is held that was active before.
//! `history` has a line for each effect.
//! In `etc/wharf-simulated`, a file makes them misbehave: with `no-services`, no package has anything to start.
//! `fail-activate` refuses. `fail-deactivate` fails like a unit that is disabled and does not stop. With `crash`, what was
//! activated does not stay up; the file has the version that crashes. With `restarts`, it is restarted again and again.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    packed::{PackedFile, WantedFiles},
};
use wharf_root::{Change, Root, durable};

use crate::{Activity, Beat, Pulse, Services, Unit};

/// The simulated services of one root.
#[derive(Debug)]
pub struct SimulatedServices {
    state: PathBuf,
    faults: PathBuf,
}

impl SimulatedServices {
    /// The simulated services of this root.
    pub fn open(root: &Root) -> Result<Self, Failure> {
        let simulated = Self {
            state: root.path("var/lib/wharf-simulated"),
            faults: root.path("etc/wharf-simulated"),
        };
        durable::private_folder(&simulated.state).map_err(failed)?;
        Ok(simulated)
    }

    fn active(&self, package: &PackageName) -> PathBuf {
        self.state.join(format!("{package}_active"))
    }

    fn held(&self, package: &PackageName) -> PathBuf {
        self.state.join(format!("{package}_held"))
    }

    fn ran(&self, package: &PackageName) -> PathBuf {
        self.state.join(format!("{package}_ran"))
    }

    fn is_told(&self, fault: &str) -> bool {
        self.faults.join(fault).exists()
    }

    fn refuse_if(&self, fault: &str) -> Result<(), Failure> {
        match self.is_told(fault) {
            true => Err(Failure::new(Cause::Unit, format!("simulated: {fault}"))),
            false => Ok(()),
        }
    }

    fn stop(&self, package: &PackageName) -> Result<(), Failure> {
        durable::remove(&self.active(package)).map_err(failed)
    }

    fn done(&self, effect: &str) -> Result<Change, Failure> {
        let mut history = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.state.join("history"))
            .map_err(failed)?;
        writeln!(history, "{effect}").map_err(failed)?;
        fault::point("simulated.whole");
        Ok(Change::Changed)
    }
}

impl Services for SimulatedServices {
    fn wanted(&self) -> Vec<WantedFiles> {
        vec![WantedFiles {
            folder: "etc/init.d/".to_owned(),
            anywhere: false,
            text: true,
        }]
    }

    fn is_held_by(&self, _: &PackageName, _: OperationId) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Keeps the package from starting before Activate.
    fn hold(
        &self,
        package: &PackageName,
        _: OperationId,
        files: &[PackedFile],
        _: bool,
    ) -> Result<(), Failure> {
        let lines = files.iter().map(|file| {
            let content = String::from_utf8_lossy(&file.content);
            format!("{}: {content}\n", file.path)
        });
        let lines: String = lines.collect();
        durable::write(&self.held(package), lines.as_bytes()).map_err(failed)?;
        if self.active(package).exists() {
            durable::write(&self.ran(package), b"").map_err(failed)?;
        }
        self.stop(package)
    }

    fn settle(&self, package: &PackageName, _: OperationId, done: bool) -> Result<(), Failure> {
        let ran = self.ran(package);
        if ran.exists() && !done {
            durable::write(&self.active(package), b"").map_err(failed)?;
        }
        durable::remove(&ran).map_err(failed)
    }

    fn snapshot(&self, package: &PackageName, _: OperationId) -> Result<Option<Vec<u8>>, Failure> {
        Ok(Some(vec![u8::from(self.active(package).exists())]))
    }

    fn quiet(&self, package: &PackageName) -> Result<(), Failure> {
        self.stop(package)
    }

    fn recall(&self, package: &PackageName, snapshot: &[u8]) -> Result<(), Failure> {
        match snapshot {
            [1] => durable::write(&self.ran(package), b"").map_err(failed),
            _ => self.stop(package),
        }
    }

    fn tidy(&self, _: &dyn Fn(&PackageName) -> bool) -> Result<(), Failure> {
        Ok(())
    }

    fn forget(&self, package: &PackageName) -> Result<(), Failure> {
        durable::remove(&self.held(package)).map_err(failed)?;
        self.stop(package)
    }

    fn forget_purged(&self, _: &PackageName) -> Result<(), Failure> {
        Ok(())
    }

    fn activate(&self, package: &PackageName, _: OperationId) -> Result<Change, Failure> {
        self.refuse_if("fail-activate")?;
        let active = self.active(package);
        if active.exists() {
            return Ok(Change::Unchanged);
        }
        durable::write(&active, b"").map_err(failed)?;
        self.done(&format!("activate {package}"))
    }

    fn deactivate(&self, package: &PackageName) -> Result<Change, Failure> {
        if !self.active(package).exists() {
            return Ok(Change::Unchanged);
        }
        self.stop(package)?;
        self.refuse_if("fail-deactivate")?;
        self.done(&format!("deactivate {package}"))
    }

    fn activity(&self, package: &PackageName) -> Result<Activity, Failure> {
        Ok(Activity {
            active: self.active(package).exists(),
            skipped: None,
            no_services: self.is_told("no-services"),
        })
    }

    fn pulse(&self, package: &PackageName) -> Result<Pulse, Failure> {
        let is_up = self.active(package).exists();
        let beat = || Beat {
            unit: package.to_string(),
            invocation: String::new(),
            was_restarted: self.is_told("restarts"),
            up_for: Duration::ZERO,
        };
        Ok(Pulse {
            beats: is_up.then(beat).into_iter().collect(),
        })
    }

    fn ended(&self, pulse: &Pulse) -> Result<Option<Failure>, Failure> {
        let crashes = |beat: &Beat| {
            let version = self.state.join(format!("{}_version", beat.unit));
            let [version, crashing] =
                [version, self.faults.join("crash")].map(|file| fs::read_to_string(file).ok());
            crashing.is_some() && crashing == version
        };
        let has_ended = pulse.beats.iter().any(crashes);
        Ok(has_ended.then(|| Failure::new(Cause::Unit, "simulated: crash")))
    }

    fn units(&self, _: &PackageName) -> Result<Vec<Unit>, Failure> {
        Ok(Vec::new())
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Cause::Unit, format!("simulated: {error}"))
}
