//! The readable resources that a transition changed, in the order of notifications.

use crate::Instance;

/// The readable resources of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// 0
    PkgName,
    /// 1
    PkgVersion,
    /// 7
    UpdateState,
    /// 8
    UpdateSupportedObjects,
    /// 9
    UpdateResult,
    /// 12
    ActivationState,
    /// 13
    PackageSettings,
    /// 16
    StatusReason,
}

impl Resource {
    /// All of them in the order of notifications: a server that acts on INITIAL must already have the error.
    pub const IN_ORDER: [Self; 8] = [
        Self::UpdateSupportedObjects,
        Self::PackageSettings,
        Self::PkgName,
        Self::PkgVersion,
        Self::StatusReason,
        Self::ActivationState,
        Self::UpdateResult,
        Self::UpdateState,
    ];

    /// The id in TS table 6.-2.
    pub const fn id(self) -> u16 {
        match self {
            Self::PkgName => 0,
            Self::PkgVersion => 1,
            Self::UpdateState => 7,
            Self::UpdateSupportedObjects => 8,
            Self::UpdateResult => 9,
            Self::ActivationState => 12,
            Self::PackageSettings => 13,
            Self::StatusReason => 16,
        }
    }

    fn differs(self, old: &Instance, new: &Instance) -> bool {
        match self {
            Self::PkgName => old.pkg_name() != new.pkg_name(),
            Self::PkgVersion => old.pkg_version() != new.pkg_version(),
            Self::UpdateState => old.update_state() != new.update_state(),
            Self::UpdateSupportedObjects => {
                old.update_supported_objects() != new.update_supported_objects()
            }
            Self::UpdateResult => old.update_result() != new.update_result(),
            Self::ActivationState => old.activation_state() != new.activation_state(),
            Self::PackageSettings => old.package_settings() != new.package_settings(),
            Self::StatusReason => old.status_reason() != new.status_reason(),
        }
    }
}

/// The resources whose values differ, in the order of notifications.
pub fn changes(old: &Instance, new: &Instance) -> Vec<Resource> {
    Resource::IN_ORDER
        .into_iter()
        .filter(|resource| resource.differs(old, new))
        .collect()
}
