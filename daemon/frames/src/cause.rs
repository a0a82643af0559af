//! Why something failed, in the terms from which wharfd derives the Update Result.

use minicbor::{Decode, Encode};

use crate::Text;

/// The causes that somebody must tell apart: each has one Update Result (wharf-software, `causes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[rustfmt::skip]
pub enum Cause {
    // Room (50, 51).
    /// The policy's bound on staged bytes, files or size.
    #[n(0)] Quota,
    /// The disk is full, or would eat into the reserve of the package database.
    #[n(1)] DiskFull,
    /// More bytes than can be addressed here.
    #[n(2)] TooLarge,
    /// Out of memory while downloading.
    #[n(3)] Memory,

    // The way (52). All of these may pass: the download is tried again.
    /// Refused, reset, unreachable or cut.
    #[n(10)] Connection,
    /// Nothing came for too long.
    #[n(11)] Timeout,
    /// TLS failed, or the certificate is not one to trust.
    #[n(12)] Tls,
    /// The origin answered 408, 429 or 5xx.
    #[n(13)] OriginBusy,
    /// The server gave up its push, or wharfd was stopped in the middle of one.
    #[n(14)] PushAbandoned,

    // Integrity (53).
    /// There is no signature where one is required.
    #[n(20)] Unsigned,
    /// The signature does not fit the bytes, or is no signature.
    #[n(21)] BadSignature,
    /// Signed by a certificate that is not in the keyring.
    #[n(22)] UntrustedSigner,
    /// The certificate may not sign packages of this name.
    #[n(23)] OutOfScope,
    /// The certificate or the signature has expired, or is not yet valid.
    #[n(24)] Expired,
    /// The certificate was revoked.
    #[n(25)] Revoked,
    /// An algorithm that is no longer safe.
    #[n(26)] Weak,
    /// Another digest or length than was announced.
    #[n(27)] WrongDigest,

    // Kind (54).
    /// Not a package of this system's kind.
    #[n(30)] WrongKind,
    /// A package for another architecture.
    #[n(31)] WrongArchitecture,
    /// Looks like a package and is none: framing, control data.
    #[n(32)] Malformed,

    // URI (56).
    /// No URI, or one with parts that may not be there.
    #[n(40)] UriMalformed,
    /// A scheme that is not spoken here.
    #[n(41)] UriScheme,
    /// The name of the origin does not resolve.
    #[n(42)] HostUnknown,
    /// The origin has nothing there: 404, 410.
    #[n(43)] NotFound,

    // Policy of this device, or of the origin (57).
    /// The origin said 401, 403 or 407.
    #[n(50)] Unauthorised,
    /// A redirect that is not followed.
    #[n(51)] Redirect,
    /// The origin refused for another reason (any other 4xx).
    #[n(52)] OriginRefused,
    /// The administrator holds or pins the package.
    #[n(53)] Held,
    /// Lower than a version that was installed before, or an older signature of the same one.
    #[n(54)] Downgrade,
    /// Would remove or change other packages than policy allows.
    #[n(55)] Plan,
    /// Another package than the one in place, or one that another instance holds.
    #[n(56)] AnotherPackage,
    /// Nothing that this installer manages, or something it must not touch.
    #[n(57)] NotManaged,
    /// A limit of attempts is used up: an operator is needed.
    #[n(58)] GaveUp,
    /// The package is not allowed here for a reason of policy without a name of its own.
    #[n(59)] Policy,

    // Installation, removal, activation (58, 59, Status Reason).
    /// A dependency cannot be met.
    #[n(60)] Dependency,
    /// A maintainer script failed.
    #[n(61)] Script,
    /// Another package manager held the lock for too long.
    #[n(62)] Locked,
    /// Interrupted, and beyond automatic repair.
    #[n(63)] Interrupted,
    /// The package manager failed in another way, or did not do what it said.
    #[n(64)] PackageManager,
    /// There is no service manager to activate anything with.
    #[n(65)] NoServiceManager,
    /// A unit did not start, or did not stay up.
    #[n(66)] Unit,

    // Between our own programs.
    /// wharf-fetch or the installer cannot be reached or broke off. Passes, or needs an administrator.
    #[n(70)] Unavailable,
}

impl Cause {
    /// Whether trying the same again may end otherwise, without anybody changing anything.
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::Timeout | Self::Tls | Self::OriginBusy | Self::Unavailable
        )
    }
}

/// A cause, and one line that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{detail}")]
#[cbor(map)]
pub struct Failure {
    /// What programs tell apart.
    #[n(0)]
    pub cause: Cause,
    /// What was tried, on what, why it failed, what to do.
    #[n(1)]
    pub detail: Text,
}

impl Failure {
    /// A failure of this cause, told in these words.
    pub fn new(cause: Cause, detail: impl Into<Text>) -> Self {
        Self {
            cause,
            detail: detail.into(),
        }
    }
}
