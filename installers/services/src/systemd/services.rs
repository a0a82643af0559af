//! [`Services`] by systemd: the facts about a package, and then the orders for its units.

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    packed::{PackedFile, WantedFiles},
};
use wharf_root::Change;

use super::{
    Systemd,
    installation::OldVersion,
    unit_file::UnitFile,
    units::{Shipped, is_of_a_unit, wanted},
};
use crate::{Activity, Presence, Pulse, Services, Unit};

impl Services for Systemd {
    fn wanted(&self) -> Vec<WantedFiles> {
        wanted()
    }

    fn is_held_by(&self, package: &PackageName, operation: OperationId) -> Result<bool, Failure> {
        self.has_begun(package, operation)
    }

    fn hold(
        &self,
        package: &PackageName,
        operation: OperationId,
        files: &[PackedFile],
        adopts: bool,
    ) -> Result<(), Failure> {
        let files = files.iter().map(|file| UnitFile::packed(&self.root, file));
        let new = self.shipped(package, files.collect(), false)?;
        let before = self.old_version(package)?;
        self.hold_versions(package, operation, before.as_ref(), &new, adopts)
    }

    fn settle(
        &self,
        package: &PackageName,
        operation: OperationId,
        done: bool,
    ) -> Result<(), Failure> {
        if self.has_forked(package, operation, done)? {
            self.end_daemons(package);
            fault::point("settle.daemons");
        }
        match self.packages.presence(package)? {
            Presence::Absent => self.forget_units(package),
            _ => self.settle_units(
                package,
                operation,
                self.old_version(package)?.as_ref(),
                done,
            ),
        }
    }

    fn snapshot(
        &self,
        package: &PackageName,
        operation: OperationId,
    ) -> Result<Option<Vec<u8>>, Failure> {
        match self.old_version(package)? {
            Some(present) => self.snapshot_of_units(package, operation, &present),
            None => Ok(None),
        }
    }

    fn quiet(&self, package: &PackageName) -> Result<(), Failure> {
        self.quiet_units(package, &self.installed_units(package)?)
    }

    fn recall(&self, package: &PackageName, snapshot: &[u8]) -> Result<(), Failure> {
        self.recall_units(package, snapshot)
    }

    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) -> Result<(), Failure> {
        self.release_wrongly_held(is_at_work)
    }

    fn forget(&self, package: &PackageName) -> Result<(), Failure> {
        self.forget_units(package)
    }

    fn forget_purged(&self, package: &PackageName) -> Result<(), Failure> {
        self.delete_record(package)
    }

    fn activate(&self, package: &PackageName, operation: OperationId) -> Result<Change, Failure> {
        self.activate_units(package, operation, &self.installed_units(package)?)
    }

    fn deactivate(&self, package: &PackageName) -> Result<Change, Failure> {
        self.deactivate_units(package, &self.installed_units(package)?)
    }

    fn activity(&self, package: &PackageName) -> Result<Activity, Failure> {
        let mut has_services = false;
        self.each_unit_path(package, &mut |_| has_services = true)?;
        Ok(Activity {
            no_services: !has_services,
            ..self.activity_of_units(package)?
        })
    }

    fn pulse(&self, package: &PackageName) -> Result<Pulse, Failure> {
        self.pulse_of_units(package)
    }

    fn ended(&self, pulse: &Pulse) -> Result<Option<Failure>, Failure> {
        self.ended_units(pulse)
    }

    fn units(&self, package: &PackageName) -> Result<Vec<Unit>, Failure> {
        self.listed(package, &self.installed_units(package)?)
    }
}

impl Systemd {
    /// The package with its units, if it is whole.
    pub(super) fn old_version(&self, package: &PackageName) -> Result<Option<OldVersion>, Failure> {
        let Presence::Whole(version) = self.packages.presence(package)? else {
            return Ok(None);
        };
        let shipped = self.installed_units(package)?;
        Ok(Some(OldVersion { version, shipped }))
    }

    fn installed_units(&self, package: &PackageName) -> Result<Shipped, Failure> {
        let mut paths = Vec::new();
        self.each_unit_path(package, &mut |path| paths.push(path.to_owned()))?;
        let read = |path: &String| {
            UnitFile::read(&self.root, path).map_err(|error| {
                let detail = format!("cannot read {path} of {package}: {error}");
                Failure::new(Cause::Unavailable, detail)
            })
        };
        let files = paths.iter().filter_map(|path| read(path).transpose());
        self.shipped(package, files.collect::<Result<_, _>>()?, true)
    }

    fn each_unit_path(
        &self,
        package: &PackageName,
        visit: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        self.packages.each_path(package, &mut |path| {
            let path = self.root.seen_inside(path);
            let path = path.to_string_lossy();
            if is_of_a_unit(&path) {
                visit(&path);
            }
        })
    }
}
