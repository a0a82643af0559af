//! The keys of a configuration file, before their values are checked.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;
use wharf_configuration::{Written, line};

use super::{error::ConfigError, settings::Activation};

/// The correct form of each key, for error messages.
const WRITTEN: &Written = &[
    ("endpoint", "endpoint = \"gateway-17\""),
    ("instances", "instances = 1"),
    ("max-instances", "max-instances = 16"),
    ("components", "components = true"),
    (
        "server",
        "[[server]], in two brackets, and its keys on the lines below",
    ),
    ("server.uri", "uri = \"coaps://host\""),
    ("server.psk-identity", "psk-identity = \"gateway-17\""),
    ("server.psk-key-file", "psk-key-file = \"/etc/wharfd/psk\""),
    ("server.lifetime", "lifetime = 86400"),
    ("server.unprotected", "unprotected = true"),
    ("server.replace-failed", "replace-failed = true"),
    ("server.activation", ACTIVATION),
    ("package", PACKAGE),
    ("package.*", PACKAGE),
    ("package.*.activation", ACTIVATION),
    ("download", "[download], and its keys on the lines below"),
    ("download.parallel", "parallel = 2"),
    (
        "download.credentials-over-http",
        "credentials-over-http = [\"http://host\"]",
    ),
    ("timing", "[timing], and its keys on the lines below"),
    ("timing.*", "a number of milliseconds: ack-timeout = 2000"),
];
const ACTIVATION: &str = "activation = \"keep\", or another word of these";
const PACKAGE: &str = "[package.NAME], and activation on the line below";

/// `wharfd.toml`, and each file of `wharfd.toml.d`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigFile {
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) instances: Option<Spanned<u16>>,
    pub(super) max_instances: Option<Spanned<u16>>,
    pub(super) components: Option<bool>,
    #[serde(default)]
    pub(super) server: Vec<Spanned<ServerTable>>,
    #[serde(default)]
    pub(super) package: BTreeMap<String, Spanned<PackageTable>>,
    #[serde(default)]
    pub(super) device: DeviceTable,
    #[serde(default)]
    pub(super) download: DownloadTable,
    #[serde(default)]
    pub(super) timing: TimingTable,
}

/// A `[[server]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServerTable {
    pub(super) uri: Spanned<String>,
    pub(super) psk_identity: Option<Spanned<String>>,
    pub(super) psk_key_file: Option<Spanned<PathBuf>>,
    pub(super) lifetime: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) unprotected: bool,
    #[serde(default)]
    pub(super) replace_failed: bool,
    #[serde(default)]
    pub(super) activation: Activation,
}

/// A `[package.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PackageTable {
    pub(super) activation: Activation,
}

/// `[device]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DeviceTable {
    pub(super) manufacturer: Option<Spanned<String>>,
    pub(super) model_number: Option<Spanned<String>>,
}

/// `[download]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DownloadTable {
    pub(super) parallel: Option<Spanned<usize>>,
    pub(super) credentials_over_http: Option<Vec<Spanned<String>>>,
}

/// `[timing]`, in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TimingTable {
    pub(super) ack_timeout: Option<Spanned<u64>>,
    pub(super) retry_first: Option<Spanned<u64>>,
    pub(super) retry_longest: Option<Spanned<u64>>,
    pub(super) connect: Option<Spanned<u64>>,
    pub(super) stall: Option<Spanned<u64>>,
    pub(super) push_idle: Option<Spanned<u64>>,
    pub(super) in_part: Option<Spanned<u64>>,
    pub(super) verdict: Option<Spanned<u64>>,
}

/// A file with its text, to find the line of a value.
pub(super) struct ConfigSource<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl ConfigSource<'_> {
    /// An error with the line and the key of this value.
    pub(super) fn error<T>(
        &self,
        key: &str,
        value: &Spanned<T>,
        expected: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            file: self.path.to_owned(),
            line: line(self.text, value.span().start),
            key: key.to_owned(),
            expected: expected.into(),
        }
    }

    pub(super) fn parse(&self) -> Result<ConfigFile, ConfigError> {
        wharf_configuration::parse(self.text, WRITTEN).map_err(|wrong| ConfigError::Syntax {
            file: self.path.to_owned(),
            wrong,
        })
    }
}

/// The text of a file; none if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read {
            file: path.to_owned(),
            source,
        }),
    }
}
