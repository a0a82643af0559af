//! Codes of methods and responses (RFC 7252 12.1).

use core::fmt;

use crate::ErrorCode;

/// A code: three bits of class, five bits of detail (RFC 7252 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

impl Code {
    /// 0.00
    pub const EMPTY: Self = Self::of(0, 0);
    /// 0.01
    pub const GET: Self = Self::of(0, 1);
    /// 0.02
    pub const POST: Self = Self::of(0, 2);
    /// 0.03
    pub const PUT: Self = Self::of(0, 3);
    /// 0.04
    pub const DELETE: Self = Self::of(0, 4);
    /// 2.01
    pub const CREATED: Self = Self::of(2, 1);
    /// 2.02
    pub const DELETED: Self = Self::of(2, 2);
    /// 2.04
    pub const CHANGED: Self = Self::of(2, 4);
    /// 2.05
    pub const CONTENT: Self = Self::of(2, 5);
    /// 2.31
    pub const CONTINUE: Self = Self::of(2, 31);
    /// 4.04
    pub const NOT_FOUND: Self = Self::of(4, 4);

    /// The code `class.detail`.
    pub const fn of(class: u8, detail: u8) -> Self {
        Self((class << 5) | (detail & 0x1f))
    }

    /// 0 for requests; 2, 4 and 5 for responses; 1, 6 and 7 are reserved.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The two digits after the point.
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// Whether this is a method, known or not.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether this is a response code, known or not.
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2..=5)
    }

    /// Whether this is 2.xx.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl From<ErrorCode> for Code {
    fn from(error: ErrorCode) -> Self {
        let (class, detail) = error.class_and_detail();
        Self::of(class, detail)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
