//! Root's policy, `/etc/wharfd/installer.toml`: the packages that may be installed, their signers, and the limits. No
//! frame can relax it. An absent file means the defaults; an invalid one stops the service.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use wharf_configuration::{Written, Wrong};
use wharf_frames::PackageName;
use wharf_managers::Dependencies;
use wharf_root::{Root, durable, pattern::Pattern};

/// The administrator's policy for this device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// The package manager of this device; without it, the one that has packages.
    #[serde(rename = "backend")]
    pub package_manager: Option<PackageManagerName>,
    /// The source of dependencies.
    pub dependencies: DependencySource,
    /// The packages that may come if [`DependencySource::Listed`].
    pub listed_dependencies: Option<Vec<Pattern>>,
    /// Accepts packages without any signature. Logged at every start.
    pub allow_unsigned: bool,
    /// Packages that may be downgraded.
    pub allow_downgrade: Vec<Pattern>,
    /// Packages whose configuration a local user may delete with them.
    pub allow_purge: Vec<Pattern>,
    /// Packages that are never removed, in addition to those that the distribution calls essential.
    pub protected: Vec<Pattern>,
    /// Units, and packages of units, that are never held back, started or stopped, in addition to the built-in ones.
    pub protected_units: Vec<Pattern>,
    /// Limits for staged files.
    pub quota: Quota,
    /// Limits for kept files.
    pub back: KeptLimits,
    /// The scopes of certificates. A certificate without a scope may sign packages whose last installation it signed.
    pub key: Vec<Scope>,
    /// The timeout for another package manager's lock, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub lock_wait: Duration,
    /// The time limit of a job, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub job_time_limit: Duration,
    /// The time for which the services of an upgrade must stay up, in seconds. With 0, nothing is checked.
    #[serde(deserialize_with = "short")]
    pub steady: Duration,
}

/// The package managers that `backend` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManagerName {
    /// apt.
    Apt,
    /// dnf 4 or dnf 5.
    Dnf,
    /// opkg.
    Opkg,
    /// A simulated one, for tests.
    #[cfg(feature = "simulated")]
    Simulated,
}

/// The source of the dependencies of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependencySource {
    /// No source: dependencies must be installed already, or the install fails.
    None,
    /// The sources of the package manager, for any package.
    ConfiguredSources,
    /// The same, for the packages in `listed-dependencies` alone.
    Listed,
}

/// Limits for staged files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Quota {
    /// The largest size of all files together, and so of one package.
    pub bytes: u64,
    /// The largest number of files.
    pub files: usize,
    /// Days after its last write until a file without an accepted package is removed.
    #[serde(deserialize_with = "days")]
    pub days: u64,
    /// Bytes of the disk that stay free, in addition to the built-in reserve: 5 %, from 64 MiB to 1 GiB.
    pub reserve: u64,
}

/// Limits for the files that are the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct KeptLimits {
    /// The largest size of all kept files together. With 0, none is kept, and no job goes back.
    pub bytes: u64,
}

/// The packages that a certificate may sign.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scope {
    /// The certificate.
    pub fingerprint: Fingerprint,
    /// The packages.
    pub packages: Vec<Pattern>,
}

/// The policy for a certificate and a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoped {
    /// A scope of the certificate names the package.
    Named,
    /// The certificate has scopes, and none names the package.
    Outside,
    /// The certificate has no scope.
    Unmentioned,
}

/// The fingerprint of a certificate's primary key, in upper-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

/// The reason why there is no valid policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file exists and cannot be read.
    #[error("cannot read {file}: {error}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// The file is not a valid policy.
    #[error("{file}, {wrong}")]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line and column, the fault, and the expected form.
        wrong: Wrong,
    },
}

/// The form of each key in the file.
const WRITTEN: &Written = &[
    ("backend", "backend = \"apt\""),
    (
        "dependencies",
        "dependencies = \"none\", \"configured-sources\" or \"listed\"",
    ),
    (
        "listed-dependencies",
        "listed-dependencies = [\"name\", \"name-*\"]",
    ),
    ("allow-unsigned", "allow-unsigned = true"),
    (
        "allow-downgrade",
        "allow-downgrade = [\"name\", \"name-*\"]",
    ),
    ("allow-purge", "allow-purge = [\"name\", \"name-*\"]"),
    ("protected", "protected = [\"name\", \"name-*\"]"),
    (
        "protected-units",
        "protected-units = [\"name\", \"name-*\"]",
    ),
    ("lock-wait", "lock-wait = 120"),
    ("job-time-limit", "job-time-limit = 3600"),
    ("steady", "steady = 30"),
    ("quota", "[quota], and its keys on the lines below"),
    ("quota.*", "a number: files = 32"),
    ("back", "[back], and its key on the line below"),
    ("back.bytes", "a number: bytes = 1073741824"),
    (
        "key",
        "[[key]], in two brackets, and fingerprint and packages on the lines below",
    ),
    ("key.fingerprint", "fingerprint = \"0123…\""),
    ("key.packages", "packages = [\"name\", \"name-*\"]"),
];

impl Default for Policy {
    fn default() -> Self {
        Self {
            package_manager: None,
            dependencies: DependencySource::ConfiguredSources,
            listed_dependencies: None,
            allow_unsigned: false,
            allow_downgrade: Vec::new(),
            allow_purge: Vec::new(),
            protected: Vec::new(),
            protected_units: Vec::new(),
            quota: Quota::default(),
            back: KeptLimits::default(),
            key: Vec::new(),
            lock_wait: Duration::from_secs(120),
            job_time_limit: Duration::from_secs(3600),
            steady: Duration::from_secs(30),
        }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024 * 1024,
            files: 32,
            days: 30,
            reserve: 0,
        }
    }
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024 * 1024,
        }
    }
}

impl Policy {
    /// The policy of this root.
    pub fn read(root: &Root) -> Result<Self, PolicyError> {
        Self::parse(&root.policy(), &Self::bytes(root)?)
    }

    /// The bytes of the policy file; none if it does not exist.
    pub(crate) fn bytes(root: &Root) -> Result<Vec<u8>, PolicyError> {
        let file = root.policy();
        let folder = file.parent().map_or(Ok(()), durable::folder_of_root);
        match folder.and_then(|()| durable::read_of_root(&file)) {
            Ok(bytes) => Ok(bytes.unwrap_or_default()),
            Err(error) => Err(PolicyError::Unreadable { file, error }),
        }
    }

    /// Parses the bytes of a policy file.
    pub(crate) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, PolicyError> {
        let text = String::from_utf8_lossy(bytes);
        wharf_configuration::parse(&text, WRITTEN)
            .and_then(|policy: Self| policy.agrees(&text).map(|()| policy))
            .map_err(|wrong| PolicyError::Wrong {
                file: file.to_owned(),
                wrong,
            })
    }

    /// Refuses a list of dependencies that has no effect.
    fn agrees(&self, text: &str) -> Result<(), Wrong> {
        const KEY: &str = "listed-dependencies";
        if self.listed_dependencies.is_none() || self.dependencies == DependencySource::Listed {
            return Ok(());
        }
        let mut lines = text.lines().zip(1..);
        let line = lines.find(|(line, _)| line.trim_start().starts_with(KEY));
        Err(Wrong {
            line: line.map_or(1, |(_, number)| number),
            column: line.map_or(1, |(line, _)| line.find(KEY).unwrap_or_default() + 1),
            message: format!("{KEY}: it has no effect: write dependencies = \"listed\" as well"),
        })
    }

    /// The scope of this certificate for packages of this name.
    pub fn scope(&self, certificate: &str, name: &PackageName) -> Scoped {
        let scopes = self.key.iter();
        let scopes = scopes.filter(|scope| scope.fingerprint.0 == certificate);
        let mut said = Scoped::Unmentioned;
        for scope in scopes {
            match any_fits(&scope.packages, name) {
                true => return Scoped::Named,
                false => said = Scoped::Outside,
            }
        }
        said
    }

    /// The names in the scopes of this certificate; none if it has no scope.
    pub fn names_of(&self, certificate: &str) -> Option<Vec<&str>> {
        let its = |scope: &&Scope| scope.fingerprint.0 == certificate;
        let mut scopes = self.key.iter().filter(its).peekable();
        scopes.peek()?;
        let patterns = scopes.flat_map(|scope| &scope.packages);
        Some(patterns.map(|pattern| pattern.as_str()).collect())
    }

    /// The packages that may come with an installation.
    pub fn dependencies(&self) -> Dependencies {
        match self.dependencies {
            DependencySource::None => Dependencies::None,
            DependencySource::ConfiguredSources => Dependencies::ConfiguredSources,
            DependencySource::Listed => {
                Dependencies::Listed(self.listed_dependencies.clone().unwrap_or_default())
            }
        }
    }

    /// Whether this package may be downgraded.
    pub fn allows_downgrade(&self, name: &PackageName) -> bool {
        any_fits(&self.allow_downgrade, name)
    }

    /// Whether this package may be removed with its configuration.
    pub fn allows_purge(&self, name: &PackageName) -> bool {
        any_fits(&self.allow_purge, name)
    }

    /// Whether this package is never removed. wharfd does not remove itself.
    pub fn protects(&self, name: &PackageName) -> bool {
        is_wharfd(name) || any_fits(&self.protected, name)
    }

    /// Whether the version of this package that a job replaces is its way back. wharfd's own package has none.
    pub(crate) fn keeps(&self, name: &PackageName) -> bool {
        self.back.bytes > 0 && !is_wharfd(name)
    }
}

fn is_wharfd(name: &PackageName) -> bool {
    name.as_str() == "wharfd"
}

fn any_fits(patterns: &[Pattern], name: &PackageName) -> bool {
    patterns.iter().any(|pattern| pattern.fits(name.as_str()))
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?.to_ascii_uppercase();
        text.retain(|character| character != ' ');
        match text.bytes().all(|byte| byte.is_ascii_hexdigit()) && matches!(text.len(), 40 | 64) {
            true => Ok(Self(text)),
            false => Err(D::Error::custom(
                "expected the fingerprint of a certificate: 40 or 64 hexadecimal digits",
            )),
        }
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match u64::deserialize(deserializer)? {
        seconds @ 1..=604_800 => Ok(Duration::from_secs(seconds)),
        _ => Err(D::Error::custom(
            "expected seconds, from 1 to 604800 (a week)",
        )),
    }
}

/// Other jobs wait meanwhile.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match u64::deserialize(deserializer)? {
        seconds @ 0..=3600 => Ok(Duration::from_secs(seconds)),
        _ => Err(D::Error::custom(
            "expected seconds, from 0 to 3600 (an hour)",
        )),
    }
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        days @ 1..=3650 => Ok(days),
        _ => Err(D::Error::custom("expected days, from 1 to 3650")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, String> {
        Policy::parse(Path::new("installer.toml"), text.as_bytes()).map_err(|e| e.to_string())
    }

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(parse(""), Ok(Policy::default()));
    }

    #[test]
    fn a_certificate_that_is_named_signs_only_what_it_is_named_for() {
        let key = "0123456789ABCDEF0123456789ABCDEF01234567";
        let text = format!("[[key]]\nfingerprint = \"{key}\"\npackages = [\"acme-*\", \"edge\"]\n");
        let policy = parse(&text).unwrap();
        for (package, scoped) in [
            ("acme-agent", Scoped::Named),
            ("edge", Scoped::Named),
            ("edge2", Scoped::Outside),
            ("bash", Scoped::Outside),
        ] {
            assert_eq!(policy.scope(key, &name(package)), scoped, "{package}");
        }
        let other = policy.scope(&"F".repeat(40), &name("edge"));
        assert_eq!(other, Scoped::Unmentioned, "another certificate");
    }

    #[test]
    fn the_names_of_a_certificate_are_those_of_all_its_scopes() {
        let (key, other) = ("A".repeat(40), "B".repeat(40));
        let scope = |key: &str, name: &str| {
            format!("[[key]]\nfingerprint = \"{key}\"\npackages = [\"{name}\"]\n")
        };
        let text = scope(&key, "acme-*") + &scope(&other, "other") + &scope(&key, "edge");
        let policy = parse(&text).unwrap();
        assert_eq!(policy.names_of(&key), Some(vec!["acme-*", "edge"]));
        assert_eq!(policy.names_of(&other), Some(vec!["other"]));
        assert_eq!(policy.names_of(&"C".repeat(40)), None);
    }

    #[test]
    fn only_what_is_named_is_protected_or_may_go_down_and_wharfd_is_always_protected() {
        let policy = parse("protected = [\"edge-*\"]\nallow-downgrade = [\"acme\"]").unwrap();
        for (package, is_protected, may_go_down) in [
            ("wharfd", true, false),
            ("edge-base", true, false),
            ("edge", false, false),
            ("acme", false, true),
            ("acme2", false, false),
        ] {
            let found = (
                policy.protects(&name(package)),
                policy.allows_downgrade(&name(package)),
            );
            assert_eq!(found, (is_protected, may_go_down), "{package}");
        }
    }

    #[test]
    fn only_what_is_named_may_be_purged_and_by_default_nothing() {
        assert!(!Policy::default().allows_purge(&name("acme")));
        let policy = parse("allow-purge = [\"acme\", \"edge-*\"]").unwrap();
        for (package, allowed) in [("acme", true), ("acme2", false), ("edge-base", true)] {
            assert_eq!(policy.allows_purge(&name(package)), allowed, "{package}");
        }
    }

    #[test]
    fn dependencies_come_from_all_sources_from_none_or_by_name() {
        let dependencies = |text: &str| parse(text).unwrap().dependencies();
        assert_eq!(dependencies(""), Dependencies::ConfiguredSources);
        assert_eq!(dependencies("dependencies = \"none\""), Dependencies::None);
        let listed = "dependencies = \"listed\"\nlisted-dependencies = [\"libfoo\", \"libbar*\"]";
        let patterns = ["libfoo", "libbar*"].map(|it| Pattern::new(it).unwrap());
        assert_eq!(dependencies(listed), Dependencies::Listed(patterns.into()));
        let nothing = dependencies("dependencies = \"listed\"");
        assert_eq!(nothing, Dependencies::Listed(Vec::new()));
    }

    #[test]
    fn the_file_of_a_root_is_read_each_time_and_its_absence_means_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert_eq!(Policy::read(&root).unwrap(), Policy::default());
        std::fs::create_dir_all(root.keys()).unwrap();
        std::fs::write(root.policy(), "allow-unsigned = true").unwrap();
        assert!(Policy::read(&root).unwrap().allow_unsigned);
        std::fs::write(root.policy(), "allow-unsigned = 1").unwrap();
        assert!(Policy::read(&root).is_err());
    }

    #[test]
    fn times_have_bounds() {
        for (key, most) in [
            ("lock-wait", 604_800),
            ("job-time-limit", 604_800),
            ("quota.days", 3650),
        ] {
            for (number, fits) in [(0, false), (1, true), (most, true), (most + 1, false)] {
                let policy = parse(&format!("{key} = {number}"));
                assert_eq!(policy.is_ok(), fits, "{key} = {number}: {policy:?}");
            }
        }
        for (seconds, fits) in [(0, true), (3600, true), (3601, false)] {
            let policy = parse(&format!("steady = {seconds}"));
            assert_eq!(policy.is_ok(), fits, "steady = {seconds}: {policy:?}");
        }
        let policy = parse("lock-wait = 5\nquota.days = 7").unwrap();
        let found = (policy.lock_wait, policy.quota.days);
        assert_eq!(found, (Duration::from_secs(5), 7));
    }

    #[test]
    fn an_error_names_file_line_key_and_what_was_expected() {
        for (text, words) in [
            (
                "\nbackend = \"yum\"",
                ["installer.toml, line 2, column 11: backend: ", "expected"],
            ),
            (
                "surprise = 1",
                [
                    "line 1, column 1: unknown field `surprise`",
                    "expected one of",
                ],
            ),
            (
                "dependencies = \"recommended\"",
                ["line 1, column 16: dependencies: ", "configured-sources"],
            ),
            (
                "\n listed-dependencies = [\"libfoo\"]",
                [
                    "line 2, column 2: listed-dependencies: ",
                    "dependencies = \"listed\"",
                ],
            ),
            (
                "[quota]\nbytes = \"much\"",
                ["line 2, column 9: quota.bytes: ", "expected u64"],
            ),
            (
                "[quota]\ndays = 213503982334602",
                ["line 2, column 8: quota.days: ", "from 1 to 3650"],
            ),
            (
                "\n\nlock-wait = 0",
                ["line 3, column 13: lock-wait: ", "from 1 to 604800"],
            ),
            (
                "allow-downgrade = [\"a b\"]",
                ["line 1, column 19: allow-downgrade: ", "name of a package"],
            ),
            (
                "[[key]]\nfingerprint = \"12\"",
                ["line 2, column 15: key.fingerprint: ", "40 or 64"],
            ),
            ("[[key]]\npackages = []", ["line 1", "fingerprint"]),
            (
                "[key]\n",
                ["line 1, column 1: key: ", "write [[key]], in two brackets"],
            ),
        ] {
            let error = parse(text).unwrap_err();
            for word in words {
                assert!(
                    error.contains(word),
                    "{text:?}: {error:?} does not say {word:?}"
                );
            }
        }
    }
}
