//! What passes over wharf-fetch's socket: one [`Request`] with a write-only descriptor, then [`Event`]s,
//! the last of which is [`Event::Complete`] or [`Event::Failed`].

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{Failure, Secret};

/// The longest Package URI: presigned URLs are longer than the TS's 255 bytes.
pub const MAX_URI: usize = 2048;

/// The longest signature that is taken from beside a package.
pub const MAX_SIGNATURE: usize = 64 * 1024;

/// One download: from where, as whom, and how far it had come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// The Package URI. May hold a secret (a presigned URL), so it is never logged whole.
    #[n(0)]
    pub uri: Secret,
    /// Resource 14.
    #[n(1)]
    pub user_name: Option<Secret>,
    /// Resource 15.
    #[n(2)]
    pub password: Option<Secret>,
    /// How to go on; none begins at the first byte.
    #[n(3)]
    pub resume: Option<Resume>,
    /// More bytes than this are refused as [`crate::Cause::Quota`].
    #[n(4)]
    pub max_size: u64,
    /// The limits of time.
    #[n(5)]
    pub limits: Limits,
}

/// Where an earlier attempt stopped.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resume {
    /// The bytes that are in the file, and are not asked for again.
    #[n(0)]
    pub offset: u64,
    /// What tells that the origin still has the same bytes.
    #[n(1)]
    pub validator: Validator,
}

/// What an origin said to recognise its bytes by (RFC 9110 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Validator {
    /// A strong entity tag, with its quotes.
    #[n(0)]
    ETag(#[n(0)] String),
    /// The Last-Modified date as it was sent.
    #[n(1)]
    LastModified(#[n(0)] String),
}

/// Limits of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Limits {
    /// Until the connection stands, TLS included.
    #[n(0)]
    pub connect_ms: u64,
    /// Without a single byte.
    #[n(1)]
    pub stall_ms: u64,
}

/// What wharf-fetch tells while it works.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Event {
    /// A signature stands beside the package: `URI.asc` or `URI.sig`. Comes before [`Event::Started`], if at all.
    #[n(0)]
    Signature(#[n(0)] ByteVec),
    /// The first byte is there.
    #[n(1)]
    Started {
        /// Where the bytes begin: the asked offset, or 0 when the origin has other bytes now or cannot go on.
        #[n(0)]
        offset: u64,
        /// The length of the whole package, where the origin says it.
        #[n(1)]
        total: Option<u64>,
        /// How to go on later; none means that this origin cannot.
        #[n(2)]
        validator: Option<Validator>,
    },
    /// So many bytes of the package are on disk (fsync), from its first byte on.
    #[n(2)]
    Durable(#[n(0)] u64),
    /// The whole package is written, fsynced, and the descriptor closed.
    #[n(3)]
    Complete {
        /// The length of the package.
        #[n(0)]
        length: u64,
    },
    /// The attempt is over.
    #[n(4)]
    Failed {
        /// Why.
        #[n(0)]
        failure: Failure,
        /// The origin asked to wait so long (Retry-After), in seconds.
        #[n(1)]
        retry_after: Option<u64>,
        /// So many bytes are on disk and worth keeping.
        #[n(2)]
        durable: u64,
    },
}

/// Bytes between two [`Event::Durable`].
pub const DURABLE_EVERY: u64 = 8 * 1024 * 1024;
