//! The reason why a configuration cannot be used.

use std::{io, path::PathBuf};

use wharf_configuration::Wrong;

use crate::endpoint;

/// The reason why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file exists and cannot be read.
    #[error("cannot read {file}: {source}. The user wharfd must be allowed to read it")]
    Read {
        /// The file.
        file: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A file is not TOML, has an unknown key, or has a value of the wrong type.
    #[error("{file}, {wrong}")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line and column, the fault, and the expected form.
        wrong: Wrong,
    },
    /// A value is not valid.
    #[error("{file}, line {line}: {key}: {expected}")]
    Value {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The expected and the found value.
        expected: String,
    },
    /// No endpoint name is configured, and this machine has no id to make one from.
    #[error("no endpoint name: {0}. Write endpoint = \"…\" into wharfd.toml")]
    NoEndpoint(endpoint::NoMachineId),
}
