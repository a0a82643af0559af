//! What a server asks of the application, and the application's answers.

use core::fmt;

use crate::{InstanceId, ObjectId, Path, ResourceId, ResourceValue};

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// The resources of one instance, each with its value.
pub type Resources = Vec<(ResourceId, ResourceValue)>;

/// The present resources of one instance, each with its number of resource instances if it is multiple.
pub type Dimensions = Vec<(ResourceId, Option<u16>)>;

/// Why something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPurpose {
    /// A server asked.
    Server,
    /// A [`Changed`](crate::Input::Changed) path is observed. To be answered from the state that
    /// this commit left, before the next `Changed`.
    Notification,
}

/// How a Write treats what it does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// PUT: what is there is replaced.
    Replace,
    /// POST: what is not named stays.
    Update,
}

/// A part of a streamed resource.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// Where the bytes belong. 0 begins the transfer, or begins it anew: what came before is void.
    /// Any other offset continues exactly where the block before, which was answered `Changed`,
    /// ended.
    pub offset: u64,
    /// The bytes: a block of up to 1,024, or the whole body of one message.
    pub bytes: Vec<u8>,
    /// Nothing follows. To be answered when all of it is durable.
    pub last: bool,
    /// The whole length, as the server announced it (Size1), which binds it to nothing.
    pub size: Option<u64>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("offset", &self.offset)
            .field("length", &self.bytes.len())
            .field("last", &self.last)
            .field("size", &self.size)
            .finish()
    }
}

/// An operation that passed every check the model allows: its target is defined and there, it
/// permits the operation, values have their types. Each is to be answered once, at once or later.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Answered by [`Answer::Content`] of the path's level. Resources that no server may read are
    /// left out of it by the engine should the application name them.
    Read {
        /// An object, an instance, or a resource.
        path: Path,
        /// For whom.
        purpose: ReadPurpose,
    },
    /// Which resources there are: answered by [`Answer::Discovered`].
    Discover {
        /// An object, an instance, or a resource.
        path: Path,
    },
    /// Everything or nothing. Answered by [`Answer::Changed`].
    Write {
        /// An instance, or a resource.
        path: Path,
        /// What becomes of the rest. A Write to a resource replaces it.
        mode: WriteMode,
        /// At least one; exactly one if the path is a resource.
        values: Resources,
    },
    /// A part of a Write to a resource that the model marks streamed. Answered by
    /// [`Answer::Changed`]; after an error the transfer is over. The application notices by itself
    /// when no block comes any more.
    Block {
        /// The resource.
        path: Path,
        /// The part.
        block: Block,
    },
    /// Answered by [`Answer::Changed`] as soon as it is accepted.
    Execute {
        /// The resource.
        path: Path,
        /// As they came, at most 1,024 bytes that are not checked in any way (TS Core 1.0 5.4.5).
        arguments: Vec<u8>,
    },
    /// Answered by [`Answer::Created`].
    Create {
        /// Of which object.
        object: ObjectId,
        /// The number that the server wants; else the application chooses.
        instance: Option<InstanceId>,
        /// What the new instance begins with.
        values: Resources,
    },
    /// Answered by [`Answer::Deleted`].
    Delete {
        /// Of which object.
        object: ObjectId,
        /// Which instance.
        instance: InstanceId,
    },
}

impl Request {
    /// Whether it changes something once it is accepted. A transfer in blocks acts with its last
    /// block alone.
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

/// What is read, by the level of the path.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A resource.
    Resource(ResourceValue),
    /// The readable resources of an instance.
    Instance(Resources),
    /// All instances of an object.
    Object(Vec<(InstanceId, Resources)>),
}

impl<V: Into<ResourceValue>> From<V> for Content {
    fn from(value: V) -> Self {
        Self::Resource(value.into())
    }
}

/// An answer to a [`Request`]. One that does not fit its request becomes 5.00.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// 2.05, to a Read.
    Content(Content),
    /// 2.05, to a Discover: the requested instances.
    Discovered(Vec<(InstanceId, Dimensions)>),
    /// 2.04, to a Write, an Execute, a Block (2.31 if it was not the last).
    Changed,
    /// 2.01, to a Create.
    Created(InstanceId),
    /// 2.02, to a Delete.
    Deleted,
    /// The request is refused and nothing was done.
    Error(ErrorCode),
}

/// Why a request is refused (RFC 7252 5.9, RFC 7959 2.9).
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
    /// Class and detail, as in 4.04.
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
