//! The error of a manifest, and of the archive around it.

/// The reason why a manifest or a header is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManifestError(String);

impl ManifestError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
