//! Reads the pre-shared key of a server account. No message shows its bytes.

use std::{
    fs::File,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use toml::Spanned;
use wharf_frames::Secret;
use wharf_transport::{BadPsk, Psk, Scheme};

use super::{
    error::ConfigError,
    raw::{self, ConfigSource},
};

/// The credential (systemd.exec(5), LoadCredential=) that has the key if psk-key-file is not set.
const CREDENTIAL: &str = "psk";

/// The limit of a key file, in bytes: the longest key has 128 digits, and white space may surround it.
const LONGEST_FILE: usize = 1024;

/// The folders of keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// Each configured path is below this folder.
    pub(super) root: &'a Path,
    /// systemd's credentials of the service.
    pub(super) credentials: Option<&'a Path>,
    /// Whether to accept a credential that this process may not read.
    pub(super) may_be_unseen: bool,
}

/// The reason why a key file cannot be used. The message follows the path.
#[derive(Debug, thiserror::Error)]
enum BadKeyFile {
    #[error("cannot be read ({0}): it must exist, and the user wharfd must be allowed to read it")]
    Read(#[from] io::Error),
    #[error("is not a regular file")]
    NoFile,
    #[error(
        "is readable by everybody on this machine: run chown root:wharfd and chmod 0640, and replace the key if other \
         users could read it"
    )]
    Exposed,
    #[error(
        "holds no hexadecimal key: expected one line with two digits for each byte (openssl rand -hex 16 makes one)"
    )]
    NotHexadecimal,
}

impl BadKeyFile {
    fn is_unseen(&self) -> bool {
        matches!(self, Self::Read(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// The identity and key of this account; none for coap://.
pub(super) fn judge(
    source: &ConfigSource<'_>,
    scheme: Scheme,
    server: &raw::ServerTable,
    places: Places<'_>,
) -> Result<Option<Psk>, ConfigError> {
    match (scheme, &server.psk_identity) {
        (Scheme::Coap, None) => match &server.psk_key_file {
            None => Ok(None),
            Some(file) => {
                Err(source.error("psk-key-file", file, "coap:// has no key: write coaps://"))
            }
        },
        (Scheme::Coap, Some(identity)) => {
            let expected = "coap:// has no identity: write coaps://";
            Err(source.error("psk-identity", identity, expected))
        }
        (Scheme::Coaps, None) => {
            let expected = "coaps:// needs psk-identity: the name under which the server knows this gateway's key";
            Err(source.error("uri", &server.uri, expected))
        }
        (Scheme::Coaps, Some(identity)) => read(source, server, identity, places),
    }
}

fn read(
    source: &ConfigSource<'_>,
    server: &raw::ServerTable,
    identity: &Spanned<String>,
    places: Places<'_>,
) -> Result<Option<Psk>, ConfigError> {
    let (path, key) = match (&server.psk_key_file, places.credentials) {
        (Some(file), _) => (below(places.root, file.get_ref()), "psk-key-file"),
        (None, Some(folder)) => (folder.join(CREDENTIAL), "psk-identity"),
        (None, None) => {
            let expected =
                "its key is missing: add psk-key-file, or give wharfd the credential \"psk\"";
            return Err(source.error("psk-identity", identity, expected));
        }
    };
    let refuse = |why: String| match &server.psk_key_file {
        Some(file) => source.error(key, file, why),
        None => source.error(key, identity, why),
    };
    let bytes = match read_key(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_unseen() && places.may_be_unseen && key == "psk-identity" => {
            return Ok(None);
        }
        Err(error) => return Err(refuse(format!("{} {error}", path.display()))),
    };
    let psk = Psk::new(identity.get_ref(), bytes).map_err(|error| match error {
        BadPsk::Identity => source.error("psk-identity", identity, error.to_string()),
        BadPsk::KeyLength(_) => refuse(format!("{}: {error}", path.display())),
    });
    psk.map(Some)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn read_key(path: &Path) -> Result<Secret, BadKeyFile> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(BadKeyFile::NoFile);
    }
    if about.permissions().mode() & 0o007 != 0 {
        return Err(BadKeyFile::Exposed);
    }
    let text = Secret::read(file, LONGEST_FILE)?;
    from_hexadecimal(text.expose().trim_ascii()).ok_or(BadKeyFile::NotHexadecimal)
}

fn from_hexadecimal(text: &[u8]) -> Option<Secret> {
    let (pairs, rest) = text.as_chunks::<2>();
    // All are digits below, so that no part of a key is dropped without being wiped.
    if !rest.is_empty() || pairs.is_empty() || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = Vec::with_capacity(pairs.len());
    for [high, low] in pairs {
        key.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(Secret::new(key))
}

fn digit(character: u8) -> Option<u8> {
    let value = char::from(character).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hexadecimal_and_white_space_around_it_is_passed_over() {
        let table: [(&str, Option<&[u8]>); 8] = [
            ("00fF10", Some(&[0, 255, 16])),
            ("  00ff10\r\n", Some(&[0, 255, 16])),
            ("00ff1", None),
            ("00 ff", None),
            ("0x00ff", None),
            ("+0", None),
            ("", None),
            ("\n", None),
        ];
        for (text, expected) in table {
            let key = from_hexadecimal(text.as_bytes().trim_ascii());
            assert_eq!(key.as_ref().map(Secret::expose), expected, "{text:?}");
        }
    }
}
