//! No service manager runs in this root. Packages can be installed and removed, and not activated.

use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    packed::{PackedFile, WantedFiles},
};
use wharf_root::Change;

use crate::{Activity, Pulse, Services, Unit};

/// The services of a root without a service manager.
#[derive(Debug, Clone, Copy)]
pub struct NoServiceManager;

impl Services for NoServiceManager {
    fn wanted(&self) -> Vec<WantedFiles> {
        Vec::new()
    }

    fn is_held_by(&self, _: &PackageName, _: OperationId) -> Result<bool, Failure> {
        Ok(false)
    }

    fn hold(
        &self,
        _: &PackageName,
        _: OperationId,
        _: &[PackedFile],
        _: bool,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn settle(&self, _: &PackageName, _: OperationId, _: bool) -> Result<(), Failure> {
        Ok(())
    }

    fn snapshot(&self, _: &PackageName, _: OperationId) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    fn quiet(&self, _: &PackageName) -> Result<(), Failure> {
        Ok(())
    }

    fn recall(&self, _: &PackageName, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn tidy(&self, _: &dyn Fn(&PackageName) -> bool) -> Result<(), Failure> {
        Ok(())
    }

    fn forget(&self, _: &PackageName) -> Result<(), Failure> {
        Ok(())
    }

    fn forget_purged(&self, _: &PackageName) -> Result<(), Failure> {
        Ok(())
    }

    fn activate(&self, package: &PackageName, _: OperationId) -> Result<Change, Failure> {
        Err(no_service_manager(package))
    }

    fn deactivate(&self, package: &PackageName) -> Result<Change, Failure> {
        Err(no_service_manager(package))
    }

    fn activity(&self, _: &PackageName) -> Result<Activity, Failure> {
        Ok(Activity::default())
    }

    fn pulse(&self, _: &PackageName) -> Result<Pulse, Failure> {
        Ok(Pulse::default())
    }

    fn ended(&self, _: &Pulse) -> Result<Option<Failure>, Failure> {
        Ok(None)
    }

    fn units(&self, package: &PackageName) -> Result<Vec<Unit>, Failure> {
        Err(no_service_manager(package))
    }
}

fn no_service_manager(package: &PackageName) -> Failure {
    Failure::new(
        Cause::NoServiceManager,
        format!("no service manager runs here that could start or stop the units of {package}"),
    )
}
