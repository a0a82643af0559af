//! The causes of failures, from which wharfd derives the Update Result.

use minicbor::{Decode, Encode};

use crate::Text;

/// The cause of a failure. Each has one Update Result (wharf-software, `causes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[rustfmt::skip]
pub enum Cause {
    // Space (50, 51).
    /// The policy's limit on staged bytes, files or size.
    #[n(0)] Quota,
    /// The disk is full, except for the reserve of the package database.
    #[n(1)] DiskFull,
    /// More bytes than this device can address.
    #[n(2)] TooLarge,
    /// Out of memory while downloading.
    #[n(3)] Memory,

    // Connection (52). The download is retried, except after PushAbandoned.
    /// The connection was refused, reset or cut, or there is no route.
    #[n(10)] Connection,
    /// The origin sent nothing, or too little, in time.
    #[n(11)] Timeout,
    /// TLS failed, or the certificate is not trusted.
    #[n(12)] Tls,
    /// The origin answered 408, 429 or 5xx.
    #[n(13)] OriginBusy,
    /// The server stopped its push, or wharfd was stopped during one.
    #[n(14)] PushAbandoned,

    // Integrity (53).
    /// A required signature is missing.
    #[n(20)] Unsigned,
    /// The signature is invalid or does not match the bytes.
    #[n(21)] BadSignature,
    /// The certificate of the signer is not in the keyring.
    #[n(22)] UntrustedSigner,
    /// The certificate may not sign packages of this name.
    #[n(23)] OutOfScope,
    /// The certificate or the signature has expired, or is not yet valid.
    #[n(24)] Expired,
    /// The certificate was revoked.
    #[n(25)] Revoked,
    /// The algorithm is no longer safe.
    #[n(26)] Weak,
    /// The digest or length is not the announced one.
    #[n(27)] WrongDigest,

    // Kind of package (54).
    /// The file is not a package of this system's package manager.
    #[n(30)] WrongKind,
    /// The package is for another architecture.
    #[n(31)] WrongArchitecture,
    /// The framing or the control data of the package is malformed.
    #[n(32)] Malformed,

    // URI (56).
    /// The URI is malformed, or has a part that is not allowed.
    #[n(40)] UriMalformed,
    /// The scheme is not supported.
    #[n(41)] UriScheme,
    /// The host of the origin does not exist.
    #[n(42)] HostUnknown,
    /// The origin answered 404 or 410.
    #[n(43)] NotFound,

    // Policy of this device, or of the origin (57).
    /// The origin answered 401, 403 or 407.
    #[n(50)] Unauthorised,
    /// The redirect is not allowed.
    #[n(51)] Redirect,
    /// The origin answered with another status without a package.
    #[n(52)] OriginRefused,
    /// The administrator holds or pins the package.
    #[n(53)] Held,
    /// The version is lower than one that was installed before, or its signature is older.
    #[n(54)] Downgrade,
    /// The operation would change more packages than policy allows.
    #[n(55)] Plan,
    /// The package is not the one in place, or another instance has it.
    #[n(56)] AnotherPackage,
    /// The installer does not manage the package, or must not change it.
    #[n(57)] NotManaged,
    /// The attempts or the time are used up, or somebody cancelled it.
    #[n(58)] GaveUp,
    /// Policy forbids the package for another reason.
    #[n(59)] Policy,

    // Installation, removal, activation (58, 59, Status Reason).
    /// A dependency cannot be met.
    #[n(60)] Dependency,
    /// A maintainer script failed.
    #[n(61)] Script,
    /// Another program held the lock of the package manager for too long.
    #[n(62)] Locked,
    /// The job was interrupted, and automatic repair failed.
    #[n(63)] Interrupted,
    /// The package manager failed in another way, or its result differs from its plan.
    #[n(64)] PackageManager,
    /// There is no service manager to activate units.
    #[n(65)] NoServiceManager,
    /// A unit did not start, or ended again.
    #[n(66)] Unit,

    // On this device.
    /// A program, a file or a setting of this device cannot be used. It says nothing about a package, and no request is
    /// refused with it: the answer is [`NotNow`](crate::installer::InstallerReply::NotNow).
    #[n(70)] Unavailable,
}

impl Cause {
    /// Whether a retry may succeed without any change by a person.
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::Timeout | Self::Tls | Self::OriginBusy | Self::Unavailable
        )
    }
}

/// A cause with one line of text that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{detail}")]
#[cbor(map)]
pub struct Failure {
    /// The cause, for programs.
    #[n(0)]
    pub cause: Cause,
    /// The text, for people: what failed, on what, why, and what to do.
    #[n(1)]
    pub detail: Text,
}

impl Failure {
    /// A failure with this cause and text.
    pub fn new(cause: Cause, detail: impl Into<Text>) -> Self {
        Self {
            cause,
            detail: detail.into(),
        }
    }
}
