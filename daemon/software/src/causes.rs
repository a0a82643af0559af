//! The table from causes to Update Results. TS table 6.-2 defines the Results; docs/decisions says which cause is
//! which.

use wharf_frames::Cause;

use crate::UpdateResult;

/// The work during which the cause occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum During {
    /// A download or its verification: ends in INITIAL.
    Delivery,
    /// An Install: stays in DELIVERED.
    Installation,
    /// An Uninstall: ends in INSTALLED.
    Removal,
    /// A purge from INSTALLED: the same.
    Purge,
}

/// The Update Result of a failure.
pub const fn update_result(cause: Cause, during: During) -> UpdateResult {
    match (during, meaning(cause)) {
        // Policy allows no purge, so nothing was tried. The server did not request it, so it is not an uninstallation
        // failure.
        (During::Purge, _) if matches!(cause, Cause::Policy) => UpdateResult::DeviceDefined,
        (During::Removal | During::Purge, _) => UpdateResult::UninstallationFailure,
        // 51, 52 and 56 are about a download, which an installation has behind it.
        (
            During::Installation,
            UpdateResult::OutOfMemory | UpdateResult::ConnectionLost | UpdateResult::InvalidUri,
        ) => UpdateResult::InstallationFailure,
        // Nothing is installed before DELIVERED, so 58 would mislead an operator.
        (During::Delivery, UpdateResult::InstallationFailure) => UpdateResult::DeviceDefined,
        (During::Delivery | During::Installation, result) => result,
    }
}

#[rustfmt::skip]
const fn meaning(cause: Cause) -> UpdateResult {
    match cause {
        Cause::Quota | Cause::DiskFull | Cause::TooLarge => UpdateResult::NotEnoughStorage,
        Cause::Memory => UpdateResult::OutOfMemory,
        Cause::Connection | Cause::Timeout | Cause::Tls | Cause::OriginBusy | Cause::PushAbandoned
        | Cause::Unavailable => UpdateResult::ConnectionLost,
        Cause::Unsigned | Cause::BadSignature | Cause::UntrustedSigner | Cause::OutOfScope | Cause::Expired
        | Cause::Revoked | Cause::Weak | Cause::WrongDigest => UpdateResult::IntegrityFailure,
        Cause::WrongKind | Cause::WrongArchitecture | Cause::Malformed => UpdateResult::UnsupportedPackage,
        Cause::UriMalformed | Cause::UriScheme | Cause::HostUnknown | Cause::NotFound => UpdateResult::InvalidUri,
        Cause::Unauthorised | Cause::Redirect | Cause::OriginRefused | Cause::Held | Cause::Downgrade | Cause::Plan
        | Cause::AnotherPackage | Cause::NotManaged | Cause::GaveUp | Cause::Policy => UpdateResult::DeviceDefined,
        Cause::Dependency | Cause::Script | Cause::Locked | Cause::Interrupted | Cause::PackageManager
        | Cause::NoServiceManager | Cause::Unit => UpdateResult::InstallationFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each cause with its Result in a delivery and in an installation.
    #[rustfmt::skip]
    const TABLE: [(Cause, u8, u8); 42] = [
        (Cause::Quota, 50, 50), (Cause::DiskFull, 50, 50), (Cause::TooLarge, 50, 50), (Cause::Memory, 51, 58),
        (Cause::Connection, 52, 58), (Cause::Timeout, 52, 58), (Cause::Tls, 52, 58), (Cause::OriginBusy, 52, 58),
        (Cause::PushAbandoned, 52, 58), (Cause::Unavailable, 52, 58),
        (Cause::Unsigned, 53, 53), (Cause::BadSignature, 53, 53), (Cause::UntrustedSigner, 53, 53),
        (Cause::OutOfScope, 53, 53), (Cause::Expired, 53, 53), (Cause::Revoked, 53, 53), (Cause::Weak, 53, 53),
        (Cause::WrongDigest, 53, 53),
        (Cause::WrongKind, 54, 54), (Cause::WrongArchitecture, 54, 54), (Cause::Malformed, 54, 54),
        (Cause::UriMalformed, 56, 58), (Cause::UriScheme, 56, 58), (Cause::HostUnknown, 56, 58), (Cause::NotFound, 56, 58),
        (Cause::Unauthorised, 57, 57), (Cause::Redirect, 57, 57), (Cause::OriginRefused, 57, 57), (Cause::Held, 57, 57),
        (Cause::Downgrade, 57, 57), (Cause::Plan, 57, 57), (Cause::AnotherPackage, 57, 57), (Cause::NotManaged, 57, 57),
        (Cause::GaveUp, 57, 57), (Cause::Policy, 57, 57),
        (Cause::Dependency, 57, 58), (Cause::Script, 57, 58), (Cause::Locked, 57, 58), (Cause::Interrupted, 57, 58),
        (Cause::PackageManager, 57, 58), (Cause::NoServiceManager, 57, 58), (Cause::Unit, 57, 58),
    ];

    #[test]
    fn every_cause_has_its_update_result() {
        for (cause, delivery, installation) in TABLE {
            let in_delivery = update_result(cause, During::Delivery);
            let in_installation = update_result(cause, During::Installation);
            assert_eq!(
                (in_delivery.value(), in_installation.value()),
                (delivery, installation),
                "{cause:?}"
            );
            assert!(in_delivery.ends_a_download(), "{cause:?}");
            assert!(in_installation.ends_an_installation(), "{cause:?}");
        }
    }

    #[test]
    fn whatever_fails_a_removal_is_59() {
        for (cause, ..) in TABLE {
            assert_eq!(
                update_result(cause, During::Removal).value(),
                59,
                "{cause:?}"
            );
        }
    }

    #[test]
    fn a_purge_that_policy_does_not_allow_is_57_and_one_that_fails_is_59() {
        for (cause, ..) in TABLE {
            let expected = if cause == Cause::Policy { 57 } else { 59 };
            let result = update_result(cause, During::Purge);
            assert_eq!(result.value(), expected, "{cause:?}");
            assert!(result.ends_a_removal(), "{cause:?}");
        }
    }

    /// The causes are those that a frame can carry.
    #[test]
    fn the_table_lists_every_cause_once() {
        let carried: Vec<Cause> = (0..=u8::MAX)
            .filter_map(|number| {
                let frame = if number < 24 {
                    vec![number]
                } else {
                    vec![0x18, number]
                };
                wharf_frames::decode(&frame).ok()
            })
            .collect();
        assert_eq!(carried.len(), TABLE.len());
        for cause in carried {
            let listed = TABLE.iter().filter(|(listed, ..)| *listed == cause);
            assert_eq!(listed.count(), 1, "{cause:?}");
        }
    }
}
