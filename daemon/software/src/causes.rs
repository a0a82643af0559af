//! Causes to Update Results: the one table. TS table 6.-2 gives the Results; docs/decisions says which cause is which.

use wharf_frames::Cause;

use crate::UpdateResult;

/// What was being done when the cause came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum During {
    /// A download, or the judgement of what it brought: ends in INITIAL.
    Delivery,
    /// An Install: stays in DELIVERED.
    Installation,
    /// An Uninstall: ends in INSTALLED.
    Removal,
}

/// The Update Result of a failure.
pub const fn update_result(cause: Cause, during: During) -> UpdateResult {
    match (during, meaning(cause)) {
        (During::Removal, _) => UpdateResult::UninstallationFailure,
        // 51, 52 and 56 speak of a download; an installation has had its own.
        (
            During::Installation,
            UpdateResult::OutOfMemory | UpdateResult::ConnectionLost | UpdateResult::InvalidUri,
        ) => UpdateResult::InstallationFailure,
        // Nothing is installed before DELIVERED, so 58 would send an operator to the wrong place.
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
