//! The packages of a staged bundle: files beside it, `STAGE.0` and so on, in the order of the bundle.

use std::path::{Path, PathBuf};

/// The path of a package of a staged bundle.
pub(crate) fn path(stage: &Path, number: u32) -> PathBuf {
    let mut path = stage.as_os_str().to_owned();
    path.push(format!(".{number}"));
    path.into()
}
