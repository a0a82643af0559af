//! The requests of a server to the application, and the answers.

use core::fmt;

use crate::{ObjectId, ObjectInstanceId, Path, ResourceId, ResourceValue};

/// Identifies a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// The resources of one instance, each with its value.
pub type Resources = Vec<(ResourceId, ResourceValue)>;

/// The present resources of one instance, each with the count of its instances if it is multiple.
pub type Dimensions = Vec<(ResourceId, Option<u16>)>;

/// The purpose of a Read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPurpose {
    /// A Read of the server.
    Server,
    /// A notification of a [`Changed`](crate::Input::Changed) path. Answer it from the state of this
    /// commit, before the next `Changed`.
    Notification,
}

/// The effect of a Write on resources that it does not contain (TS Core 1.0 5.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// PUT: the Write replaces the instance or the resource.
    Replace,
    /// POST: other resources stay.
    Update,
}

/// One block of a streamed resource.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamedBlock {
    /// The position of the bytes. 0 starts the transfer, or restarts it. Any other offset is the end
    /// of the previous block that the application answered with `Changed`.
    pub offset: u64,
    /// The bytes: a block of at most 1,024, or the whole body of one message.
    pub bytes: Vec<u8>,
    /// Whether this is the last block. Answer it when the whole body is durable.
    pub last: bool,
    /// The total length that the server announced in Size1 (RFC 7959 4). It is only a hint.
    pub size: Option<u64>,
}

impl fmt::Debug for StreamedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedBlock")
            .field("offset", &self.offset)
            .field("length", &self.bytes.len())
            .field("last", &self.last)
            .field("size", &self.size)
            .finish()
    }
}

/// An operation that passed the checks of the model: the target exists and permits the operation,
/// and values have the right types. Answer each exactly once, now or later.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Read. The answer is [`Answer::Content`] of the level of the path. The engine omits resources
    /// that a server may not read.
    Read {
        /// An object, an instance or a resource.
        path: Path,
        /// The purpose of the Read.
        purpose: ReadPurpose,
    },
    /// Discover. The answer is [`Answer::Discovered`].
    Discover {
        /// An object, an instance or a resource.
        path: Path,
    },
    /// Write, all of it or nothing. The answer is [`Answer::Changed`].
    Write {
        /// An instance or a resource.
        path: Path,
        /// Whether the Write replaces the instance. A Write to a resource always replaces it.
        mode: WriteMode,
        /// At least one value; exactly one if the path is a resource.
        values: Resources,
    },
    /// One block of a Write to a resource that the model marks streamed. The answer is
    /// [`Answer::Changed`]; an error ends the transfer. The application needs a timeout of its own
    /// for a transfer that stops.
    Block {
        /// The resource.
        path: Path,
        /// The block.
        block: StreamedBlock,
    },
    /// Execute. The answer is [`Answer::Changed`] as soon as the application accepts it.
    Execute {
        /// The resource.
        path: Path,
        /// The arguments as received, at most 1,024 bytes. The engine does not parse them (TS Core
        /// 1.0 5.4.5).
        arguments: Vec<u8>,
    },
    /// Create. The answer is [`Answer::Created`].
    Create {
        /// The object.
        object: ObjectId,
        /// The instance ID that the server requests. Without one the application chooses.
        instance: Option<ObjectInstanceId>,
        /// The first values of the new instance.
        values: Resources,
    },
    /// Delete. The answer is [`Answer::Deleted`].
    Delete {
        /// The object.
        object: ObjectId,
        /// The instance.
        instance: ObjectInstanceId,
    },
}

impl Request {
    /// Whether the request changes something. A block-wise transfer does so with its last block.
    pub(crate) fn acts(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Discover { .. } => false,
            Self::Block { block, .. } => block.last,
            Self::Write { .. }
            | Self::Execute { .. }
            | Self::Create { .. }
            | Self::Delete { .. } => true,
        }
    }
}

/// The content of a Read, by the level of the path.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A resource.
    Resource(ResourceValue),
    /// The readable resources of an instance.
    Instance(Resources),
    /// All instances of an object.
    Object(Vec<(ObjectInstanceId, Resources)>),
}

impl<V: Into<ResourceValue>> From<V> for Content {
    fn from(value: V) -> Self {
        Self::Resource(value.into())
    }
}

/// An answer to a [`Request`]. An answer of the wrong kind becomes 5.00.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// 2.05, to a Read.
    Content(Content),
    /// 2.05, to a Discover.
    Discovered(Vec<(ObjectInstanceId, Dimensions)>),
    /// 2.04, to a Write, an Execute or the last Block; 2.31 to an earlier Block.
    Changed,
    /// 2.01, to a Create.
    Created(ObjectInstanceId),
    /// 2.02, to a Delete.
    Deleted,
    /// The application rejected the request and changed nothing.
    Error(ErrorCode),
}

/// The error codes (RFC 7252 5.9.2, 5.9.3, RFC 7959 2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 4.00
    BadRequest,
    /// 4.01
    Unauthorized,
    /// 4.02
    BadOption,
    /// 4.03
    Forbidden,
    /// 4.04
    NotFound,
    /// 4.05
    MethodNotAllowed,
    /// 4.06
    NotAcceptable,
    /// 4.08
    RequestEntityIncomplete,
    /// 4.12
    PreconditionFailed,
    /// 4.13
    RequestEntityTooLarge,
    /// 4.15
    UnsupportedContentFormat,
    /// 5.00
    InternalServerError,
    /// 5.01
    NotImplemented,
    /// 5.03
    ServiceUnavailable,
    /// 5.05
    ProxyingNotSupported,
}

impl ErrorCode {
    /// The class and the detail of the code, as in 4.04.
    pub const fn class_and_detail(self) -> (u8, u8) {
        match self {
            Self::BadRequest => (4, 0),
            Self::Unauthorized => (4, 1),
            Self::BadOption => (4, 2),
            Self::Forbidden => (4, 3),
            Self::NotFound => (4, 4),
            Self::MethodNotAllowed => (4, 5),
            Self::NotAcceptable => (4, 6),
            Self::RequestEntityIncomplete => (4, 8),
            Self::PreconditionFailed => (4, 12),
            Self::RequestEntityTooLarge => (4, 13),
            Self::UnsupportedContentFormat => (4, 15),
            Self::InternalServerError => (5, 0),
            Self::NotImplemented => (5, 1),
            Self::ServiceUnavailable => (5, 3),
            Self::ProxyingNotSupported => (5, 5),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, detail) = self.class_and_detail();
        write!(f, "{class}.{detail:02}")
    }
}
