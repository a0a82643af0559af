//! New scopes in root's policy. They are added at the end of the file, so that the administrator's text stays as it is.
//! The file is replaced only if the result is a valid policy with the requested scopes.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use wharf_root::{durable, pattern::Pattern};

use crate::{
    Root,
    policy::{Policy, PolicyError},
};

/// Everybody may read the file, as the package ships it.
const MODE: u32 = 0o644;

/// A policy with more scopes.
pub(crate) struct Allowed {
    file: PathBuf,
    bytes: Vec<u8>,
    /// The added text; empty if the policy has all of it.
    pub(crate) added: String,
    /// The policy with the addition.
    pub(crate) policy: Policy,
    /// Locks the file against other additions, from reading to writing.
    _turn: Flock<File>,
}

impl Allowed {
    /// Adds to the policy of this root: each certificate may also sign packages of these names.
    pub(crate) fn new<'a>(
        root: &Root,
        certificates: impl Iterator<Item = &'a str>,
        names: &[Pattern],
    ) -> Result<Self, PolicyError> {
        let file = root.policy();
        let unreadable = |error| PolicyError::Unreadable {
            file: file.clone(),
            error,
        };
        let turn = turn(&file).map_err(unreadable)?;
        let mut bytes = Policy::bytes(root)?;
        let before = Policy::parse(&file, &bytes)?;
        let scopes = certificates.map(|certificate| scope(&before, certificate, names));
        let scopes: Vec<String> = scopes.filter(|scope| !scope.is_empty()).collect();
        let added = scopes.join("\n");
        if !added.is_empty() {
            let gap = match &bytes[..] {
                [] => "",
                [.., b'\n'] => "\n",
                _ => "\n\n",
            };
            bytes.extend_from_slice(gap.as_bytes());
            bytes.extend_from_slice(added.as_bytes());
        }
        durable::bounded(&bytes).map_err(unreadable)?;
        Ok(Self {
            _turn: turn,
            policy: Policy::parse(&file, &bytes)?,
            file,
            bytes,
            added,
        })
    }

    /// The path of the policy.
    pub(crate) fn file(&self) -> &PathBuf {
        &self.file
    }

    /// Replaces the file and keeps its permissions. A symbolic link stays.
    pub(crate) fn write(&self) -> io::Result<()> {
        if self.added.is_empty() {
            return Ok(());
        }
        let file = match self.file.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.file.clone(),
            file => file?,
        };
        durable::write_readable(&file, &self.bytes, MODE)
    }
}

/// Locks the folder, since the file is replaced.
fn turn(file: &Path) -> io::Result<Flock<File>> {
    let folder = File::open(file.parent().unwrap_or(file))?;
    Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
}

/// The missing names for this certificate, as TOML.
fn scope(policy: &Policy, certificate: &str, names: &[Pattern]) -> String {
    let known = policy.names_of(certificate).unwrap_or_default();
    let mut new: Vec<String> = Vec::new();
    for name in names.iter().map(Pattern::as_str) {
        // A JSON string without control characters is also a TOML string.
        let quoted = serde_json::Value::from(name).to_string();
        if !known.contains(&name) && !new.contains(&quoted) {
            new.push(quoted);
        }
    }
    match new.is_empty() {
        true => String::new(),
        false => format!(
            "[[key]]\nfingerprint = \"{certificate}\"\npackages = [{}]\n",
            new.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
        thread,
    };

    use super::*;

    const KEY: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    /// A group id.
    const ADMINS: u32 = 4;

    /// The new text of a file, and its policy.
    fn allowed(text: &str, names: &[&str]) -> Result<(String, Policy), String> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        fs::create_dir_all(root.keys()).unwrap();
        fs::write(root.policy(), text).unwrap();
        chown(root.policy(), None, Some(ADMINS)).unwrap();
        fs::set_permissions(root.policy(), fs::Permissions::from_mode(0o640)).unwrap();
        let names: Vec<Pattern> = names
            .iter()
            .map(|name| Pattern::new(name).unwrap())
            .collect();
        let allowed = Allowed::new(&root, [KEY].into_iter(), &names).map_err(|e| e.to_string())?;
        allowed.write().unwrap();
        let found = fs::metadata(root.policy()).unwrap();
        assert_eq!((found.gid(), found.mode() & 0o777), (ADMINS, 0o640));
        let written = fs::read_to_string(root.policy()).unwrap();
        Ok((written, Policy::read(&root).unwrap()))
    }

    #[test]
    fn a_scope_is_added_at_the_end_and_all_else_stays_as_it_was() {
        let scope =
            format!("[[key]]\nfingerprint = \"{KEY}\"\npackages = [\"acme-*\", \"edge\"]\n");
        for (before, gap) in [
            ("", ""),
            ("# mine\nlock-wait = 5 # patience\n", "\n"),
            ("[quota]\nfiles = 3", "\n\n"),
            (
                "[[key]]\nfingerprint = \"fedcba9876543210fedcba9876543210fedcba98\"\npackages = []\n",
                "\n",
            ),
        ] {
            let (after, policy) = allowed(before, &["acme-*", "edge", "edge"]).unwrap();
            assert_eq!(after, format!("{before}{gap}{scope}"));
            assert_eq!(policy.names_of(KEY), Some(vec!["acme-*", "edge"]));
            assert_eq!(
                allowed(&after, &["edge"]).unwrap().0,
                after,
                "it has it already"
            );
        }
    }

    #[test]
    fn a_name_cannot_end_the_string_that_it_is_in() {
        let name = "a\\\"]";
        let (_, policy) = allowed("", &[name]).unwrap();
        assert_eq!(policy.names_of(KEY), Some(vec![name]));
    }

    #[test]
    fn a_file_that_would_be_no_policy_is_left_alone() {
        for before in ["key = []\n", "bogus = 1\n"] {
            let error = allowed(before, &["edge"]).unwrap_err();
            assert!(error.contains("installer.toml, line "), "{error}");
        }
    }

    #[test]
    fn of_several_who_allow_at_once_each_finds_what_the_others_added() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        fs::create_dir_all(root.keys()).unwrap();
        let keys: Vec<String> = (0..8).map(|key| format!("{key}{}", &KEY[1..])).collect();
        thread::scope(|scope| {
            for key in &keys {
                scope.spawn(|| {
                    let names = [Pattern::new("edge").unwrap()];
                    let allowed = Allowed::new(&root, [key.as_str()].into_iter(), &names).unwrap();
                    allowed.write().unwrap();
                });
            }
        });
        let policy = Policy::read(&root).unwrap();
        for key in &keys {
            assert_eq!(policy.names_of(key), Some(vec!["edge"]));
        }
    }

    #[test]
    fn a_file_that_would_be_too_long_to_be_read_is_left_alone() {
        let before = format!("#{}\n", "-".repeat(1024 * 1024 - 10));
        let error = allowed(&before, &["edge"]).unwrap_err();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
    }
}
