//! The real program and a scripted origin.

pub(crate) mod authority;
pub(crate) mod origin;
pub(crate) mod program;

use wharf_frames::{
    Secret,
    fetch::{FetchRequest, FetchTimeouts, Resume, Validator},
};

/// A request with long timeouts.
pub(crate) fn request(uri: &str) -> FetchRequest {
    FetchRequest {
        uri: Secret::new(uri.into()),
        user_name: None,
        password: None,
        resume: None,
        max_size: 1 << 30,
        limits: FetchTimeouts {
            connect_ms: 30_000,
            stall_ms: 30_000,
        },
        subject: None,
    }
}

/// A request with User Name and Password.
pub(crate) fn as_user(user_name: &str, password: &str, request: FetchRequest) -> FetchRequest {
    FetchRequest {
        user_name: Some(Secret::new(user_name.into())),
        password: Some(Secret::new(password.into())),
        ..request
    }
}

/// A request that resumes after `offset` bytes with this entity tag.
pub(crate) fn resumed(offset: usize, etag: &str, request: FetchRequest) -> FetchRequest {
    let resume = Resume {
        offset: offset as u64,
        validator: Validator::ETag(etag.into()),
    };
    FetchRequest {
        resume: Some(resume),
        ..request
    }
}

/// Bytes without a pattern that repeats within a test.
pub(crate) fn package(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&state.rotate_left(17).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
