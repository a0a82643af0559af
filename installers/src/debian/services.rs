//! The services of Debian packages: which files of a package are units is for `systemd` to say, which files a package
//! has is for dpkg.

use wharf_frames::{Failure, OperationId, PackageName};

use super::{
    dpkg::{Dpkg, Status},
    files,
};
use crate::{
    backend::{Change, PackageFile, Unit},
    fault,
    systemd::{Present, Shipped, Systemd, is_of_a_unit},
};

/// The services of the packages of one root.
pub(super) struct Services {
    pub(super) systemd: Systemd,
}

impl Services {
    /// Holds back what is there and what the file brings, before it is installed.
    pub(super) fn hold(
        &self,
        dpkg: &Dpkg,
        file: &PackageFile,
        operation: OperationId,
        adopts: bool,
    ) -> Result<(), Failure> {
        let name = &file.package.name;
        let packed = files::packed(&dpkg.root, &file.path, is_of_a_unit)?;
        let new = self.systemd.shipped(name, packed, false)?;
        let before = self.present(dpkg, name)?;
        let before = before.as_ref();
        self.systemd.hold(name, operation, before, &new, adopts)
    }

    /// Takes away what holds units back and should not.
    pub(super) fn tidy(
        &self,
        dpkg: &Dpkg,
        is_at_work: &dyn Fn(&PackageName) -> bool,
    ) -> Result<(), Failure> {
        let is_there = |name: &PackageName| {
            let status = dpkg.status(name);
            status.map_or(true, |status| status.is_some_and(|it| !it.is_absent()))
        };
        let present = |name: &PackageName| self.present(dpkg, name);
        self.systemd.tidy(is_at_work, is_there, present)
    }

    /// Leaves the units INACTIVE, or as before an install or activation that failed.
    pub(super) fn settle(
        &self,
        dpkg: &Dpkg,
        name: &PackageName,
        operation: OperationId,
        done: bool,
    ) -> Result<(), Failure> {
        if self.systemd.has_forked(name, operation, done)? {
            self.systemd.end_daemons(name);
            fault::point("settle.daemons");
        }
        let status = dpkg.status(name)?;
        if status.as_ref().is_none_or(Status::is_absent) {
            return self.systemd.forget(name);
        }
        let present = self.present(dpkg, name)?;
        self.systemd.settle(name, operation, present.as_ref(), done)
    }

    pub(super) fn activate(
        &self,
        dpkg: &Dpkg,
        name: &PackageName,
        operation: OperationId,
    ) -> Result<Change, Failure> {
        let shipped = self.installed(dpkg, name)?;
        self.systemd.activate(name, operation, &shipped)
    }

    pub(super) fn deactivate(&self, dpkg: &Dpkg, name: &PackageName) -> Result<Change, Failure> {
        let shipped = self.installed(dpkg, name)?;
        self.systemd.deactivate(name, &shipped)
    }

    pub(super) fn units(&self, dpkg: &Dpkg, name: &PackageName) -> Result<Vec<Unit>, Failure> {
        let shipped = self.installed(dpkg, name)?;
        self.systemd.listed(name, &shipped)
    }

    /// What is there whole.
    fn present(&self, dpkg: &Dpkg, name: &PackageName) -> Result<Option<Present>, Failure> {
        let status = dpkg.status(name)?;
        let Some(version) = status.as_ref().and_then(Status::installed) else {
            return Ok(None);
        };
        let shipped = self.installed(dpkg, name)?;
        Ok(Some(Present {
            version: version.clone(),
            shipped,
        }))
    }

    fn installed(&self, dpkg: &Dpkg, name: &PackageName) -> Result<Shipped, Failure> {
        let files = files::installed(&dpkg.root, name, is_of_a_unit)?;
        self.systemd.shipped(name, files, true)
    }
}
