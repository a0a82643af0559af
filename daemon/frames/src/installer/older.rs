//! The requests of an older wharfd: each action was a request of its own.

use minicbor::Decode;

use super::InstallerRequest;
use crate::{OperationId, PackageName, StageId, Step};

/// A request for one action. These numbers are never used again.
#[derive(Decode)]
#[cbor(map)]
pub(super) enum Older {
    #[n(6)]
    Install(#[n(0)] OperationId, #[n(1)] StageId),
    #[n(7)]
    Uninstall(#[n(0)] OperationId, #[n(1)] PackageName),
    #[n(8)]
    Activate(#[n(0)] OperationId, #[n(1)] PackageName),
    #[n(9)]
    Deactivate(#[n(0)] OperationId, #[n(1)] PackageName),
    #[n(14)]
    Purge(#[n(0)] OperationId, #[n(1)] PackageName),
}

impl From<Older> for InstallerRequest {
    fn from(older: Older) -> Self {
        let (operation, step) = match older {
            Older::Install(operation, stage) => (operation, Step::Install(stage)),
            Older::Uninstall(operation, package) => (operation, Step::Uninstall(package)),
            Older::Activate(operation, package) => (operation, Step::Activate(package)),
            Older::Deactivate(operation, package) => (operation, Step::Deactivate(package)),
            Older::Purge(operation, package) => (operation, Step::Purge(package)),
        };
        Self::Perform {
            operation,
            transaction: step.into(),
        }
    }
}
