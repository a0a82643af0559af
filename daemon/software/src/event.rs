//! The events of an instance: requests of servers and local users, reports about the work, and the state of the device.
//! They bring the random ids for whatever the event may start.

use wharf_frames::{
    Action, Failure, OperationId, PackageName, Secret, StageId, Text,
    installer::{Found, JobPhase, SealedPackage},
};

use crate::{ObjectLink, Requester};

/// An event of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A Write of resources, all of them or none.
    Write {
        /// The values.
        write: Write,
        /// The download that it may start.
        starts: NewOperation,
        /// The id of the file of that download.
        stage: StageId,
    },
    /// An Execute, or the same by a local user.
    Execute {
        /// The action. A server cannot ask for a purge or the way back.
        action: Action,
        /// The payload.
        arguments: Vec<u8>,
        /// The operation that it may start.
        starts: NewOperation,
    },
    /// An Execute of Activate or Deactivate on one component of a bundle.
    Switch(ComponentSwitch),
    /// A Delete of the instance.
    Delete,
    /// A local user cancels an operation that waits or downloads. A server has Delete instead.
    Cancel {
        /// The operation to cancel. Another one may run by now.
        operation: OperationId,
        /// The user.
        by: Requester,
    },

    /// The operation has to wait. The reason follows `waiting for`, as in `10: waiting for the clock`.
    Waiting {
        /// A download, a queued operation, or a job of the installer.
        operation: OperationId,
        /// The reason.
        why: Text,
    },
    /// The gate let the operation through.
    Started {
        /// A pull, or a queued operation.
        operation: OperationId,
    },
    /// The installer works on the job: the operation waits for nothing.
    Underway {
        /// A queued operation that has started.
        operation: OperationId,
        /// The phase of the job.
        phase: JobPhase,
    },
    /// Bytes of the package arrive: the first ones, or the first ones after a wait.
    FirstByte {
        /// A download.
        operation: OperationId,
    },
    /// The whole package is in its file, durable.
    PackageWritten {
        /// A download.
        operation: OperationId,
    },
    /// There is no verdict on the file yet. The reason is as in [`Event::Waiting`].
    SealWaits {
        /// The file.
        stage: StageId,
        /// The reason.
        why: Text,
    },
    /// The installer accepted the file.
    Sealed {
        /// The file.
        stage: StageId,
        /// The package in it.
        package: SealedPackage,
    },
    /// The installer rejected the file.
    SealRefused {
        /// The file.
        stage: StageId,
        /// The failure.
        failure: Failure,
    },
    /// The operation ended without a change of the device: a download failed, or the gate or the installer refused.
    Failed {
        /// Any operation.
        operation: OperationId,
        /// The failure.
        failure: Failure,
    },
    /// The job of the installer ended.
    Ended {
        /// An action of the installer.
        operation: OperationId,
        /// The failure that the installer reported.
        failure: Option<Failure>,
        /// The package on the device now.
        device: Option<Found>,
        /// The id of the activation that may follow an Install.
        next: OperationId,
    },
    /// The software in place on the device; somebody may have changed it by hand.
    DeviceHas(Option<Found>),
}

/// An Execute of Activate or Deactivate on one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSwitch {
    /// The component.
    pub component: PackageName,
    /// Whether to activate it.
    pub wanted: bool,
    /// The payload.
    pub arguments: Vec<u8>,
    /// The operation that it may start.
    pub starts: NewOperation,
}

/// The operation that a request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewOperation {
    /// Its name.
    pub id: OperationId,
    /// Its requester.
    pub requester: Requester,
}

/// The writable resources of the instance; `None` if the Write does not name one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    /// Resource 2 or 3. A Write of both is refused earlier.
    pub source: Option<PackageSource>,
    /// Resource 8.
    pub update_supported_objects: Option<bool>,
    /// Resource 13.
    pub package_settings: Option<ObjectLink>,
    /// Resource 14; empty erases.
    pub user_name: Option<Secret>,
    /// Resource 15; empty erases.
    pub password: Option<Secret>,
}

/// The source of a package.
#[derive(Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// Package URI, resource 3.
    Uri(Secret),
    /// Package, resource 2: the first block, or the whole of it.
    Package {
        /// It is empty and complete.
        empty: bool,
    },
}

/// A URI may carry a token, so it is not shown.
impl std::fmt::Debug for PackageSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uri(_) => f.write_str("Uri(…)"),
            Self::Package { empty } => write!(f, "Package {{ empty: {empty} }}"),
        }
    }
}

/// The action of an executable resource. No resource is a purge or the way back.
pub const fn executable(resource: u16) -> Option<Action> {
    match resource {
        4 => Some(Action::Install),
        6 => Some(Action::Uninstall),
        10 => Some(Action::Activate),
        11 => Some(Action::Deactivate),
        _ => None,
    }
}

/// Whether an executable resource of Object 14 activates the component (TS table 7.-2).
pub const fn switches(resource: u16) -> Option<bool> {
    match resource {
        3 => Some(true),
        4 => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_resources_are_4_6_10_11() {
        let found: Vec<(u16, Action)> = (0..=u16::MAX)
            .filter_map(|id| executable(id).map(|action| (id, action)))
            .collect();
        let expected = [
            (4, Action::Install),
            (6, Action::Uninstall),
            (10, Action::Activate),
            (11, Action::Deactivate),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_package_uri_is_not_shown() {
        let shown = format!(
            "{:?}",
            PackageSource::Uri(Secret::new(b"https://h/?token=hunter2".to_vec()))
        );
        assert_eq!(shown, "Uri(…)");
        let shown = format!("{:?}", PackageSource::Package { empty: true });
        assert_eq!(shown, "Package { empty: true }");
    }
}
