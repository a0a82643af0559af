//! The TOML of a manifest. A draft of it may lack the digests of files, which `wharfctl bundle build` fills in.

use std::fmt::Write as _;

use serde::Deserialize;
use wharf_frames::{PackageName, Text};

use crate::{
    BundleNeeds, FileName, MAX_MANIFEST, MAX_STEPS, Manifest, ManifestStep, Relation, VersionRange,
    error::ManifestError,
    manifest::check_number,
    names::{bundle_name, bundle_version, shortened},
};

/// The format of a manifest that this version reads.
const FORMAT: u64 = 1;

const WRITTEN: &wharf_configuration::Written = &[
    ("format", "format = 1"),
    ("name", "name = \"acme-stack\""),
    ("version", "version = \"2.3.0\""),
    ("architecture", "architecture = \"amd64\""),
    ("undo", "undo = false"),
    (
        "needs.upgrades-from",
        "upgrades-from = [\">= 2.0\", \"<< 3.0\"]",
    ),
    ("needs.free", "free = 209715200, in bytes"),
    ("step.install", "install = \"acme-core-2.3.0\""),
    ("step.sha256", "sha256 = \"…\", 64 hexadecimal digits"),
    ("step.remove", "remove = \"acme-legacy\""),
];

/// A manifest in which the digests of files may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The manifest, with zeros in the place of each missing digest.
    manifest: Manifest,
    /// The files without a digest.
    missing: Vec<FileName>,
}

#[derive(Deserialize)]
struct Head {
    format: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenManifest {
    #[serde(rename = "format")]
    _format: u64,
    name: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    #[serde(default = "undo_by_default")]
    undo: bool,
    #[serde(default)]
    needs: WrittenNeeds,
    #[serde(default)]
    step: Vec<WrittenStep>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenNeeds {
    #[serde(default)]
    upgrades_from: Vec<String>,
    free: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    install: Option<String>,
    sha256: Option<String>,
    remove: Option<String>,
}

const fn undo_by_default() -> bool {
    true
}

impl Draft {
    /// Reads TOML.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() as u64 > MAX_MANIFEST {
            let why = format!("it is longer than {MAX_MANIFEST} bytes");
            return Err(ManifestError::new(why));
        }
        let rejected = |wrong: wharf_configuration::Wrong| ManifestError::new(wrong.to_string());
        let head: Head = wharf_configuration::parse(text, WRITTEN).map_err(rejected)?;
        let format = required(head.format, "format = 1")?;
        if format != FORMAT {
            return Err(ManifestError::new(format!(
                "its format is {format}, and this version of wharfd reads format {FORMAT}: a newer wharfd is needed"
            )));
        }
        let written: WrittenManifest =
            wharf_configuration::parse(text, WRITTEN).map_err(|wrong| {
                let newer = match wrong.message.contains("unknown field") {
                    true => ". A newer wharfd may know it",
                    false => "",
                };
                ManifestError::new(format!("{wrong}{newer}"))
            })?;
        written.draft()
    }

    /// The files in their order.
    pub fn files(&self) -> impl Iterator<Item = &FileName> {
        self.manifest.installs().map(|(file, _)| file)
    }

    /// The manifest with the digest of each file.
    pub fn complete(mut self, digests: &[[u8; 32]]) -> Result<Manifest, ManifestError> {
        let mut digests = digests.iter();
        for step in &mut self.manifest.steps {
            let ManifestStep::Install { file, sha256 } = step else {
                continue;
            };
            match digests.next() {
                Some(digest) if self.missing.contains(file) || digest == sha256 => {
                    *sha256 = *digest
                }
                Some(_) => {
                    return Err(ManifestError::new(format!(
                        "{file} has another sha256 than the manifest says"
                    )));
                }
                None => return Err(ManifestError::new(format!("{file} has no sha256"))),
            }
        }
        Ok(self.manifest)
    }
}

impl Manifest {
    /// Reads the TOML of a bundle, in which no digest may be missing.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let Draft { manifest, missing } = Draft::parse(text)?;
        match missing.first() {
            None => Ok(manifest),
            Some(file) => Err(ManifestError::new(format!("{file} has no sha256"))),
        }
    }

    /// The TOML of this manifest. Equal manifests have equal bytes.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "format = {FORMAT}\nname = \"{}\"\nversion = \"{}\"\n",
            self.name, self.version
        );
        if let Some(architecture) = &self.architecture {
            line(&mut text, "architecture", architecture.as_str());
        }
        if !self.undo {
            text.push_str("undo = false\n");
        }
        if self.needs != BundleNeeds::default() {
            text.push_str("\n[needs]\n");
            let ranges: Vec<String> = self
                .needs
                .upgrades_from
                .iter()
                .map(|it| format!("\"{it}\""))
                .collect();
            if !ranges.is_empty() {
                let _ = writeln!(text, "upgrades-from = [{}]", ranges.join(", "));
            }
            if let Some(free) = self.needs.free {
                let _ = writeln!(text, "free = {free}");
            }
        }
        for step in &self.steps {
            text.push_str("\n[[step]]\n");
            match step {
                ManifestStep::Install { file, sha256 } => {
                    line(&mut text, "install", file.as_str());
                    line(&mut text, "sha256", &hexadecimal(sha256));
                }
                ManifestStep::Remove(name) => line(&mut text, "remove", name.as_str()),
            }
        }
        text
    }
}

/// Names may have any printable ASCII character.
fn line(text: &mut String, key: &str, value: &str) {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = writeln!(text, "{key} = \"{value}\"");
}

impl WrittenManifest {
    fn draft(self) -> Result<Draft, ManifestError> {
        check_number(self.step.len(), MAX_STEPS, "steps")?;
        let mut missing = Vec::new();
        let steps = self.step.into_iter().enumerate().map(|(number, step)| {
            let step = step.step(&mut missing);
            step.map_err(|error| ManifestError::new(format!("step {}: {error}", number + 1)))
        });
        let steps = steps.collect::<Result<_, _>>()?;
        let ranges = self.needs.upgrades_from.iter().map(|text| range(text));
        let manifest = Manifest {
            name: bundle_name(&required(self.name, "name = \"acme-stack\"")?)?,
            version: bundle_version(&required(self.version, "version = \"2.3.0\"")?)?,
            architecture: self.architecture.map(Text::from),
            undo: self.undo,
            needs: BundleNeeds {
                upgrades_from: ranges.collect::<Result<_, _>>()?,
                free: self.needs.free,
            },
            steps,
        };
        manifest.validate()?;
        Ok(Draft { manifest, missing })
    }
}

impl WrittenStep {
    fn step(self, missing: &mut Vec<FileName>) -> Result<ManifestStep, ManifestError> {
        match self {
            Self {
                install: Some(file),
                sha256,
                remove: None,
            } => {
                let file = FileName::new(&file)?;
                let sha256 = match sha256 {
                    Some(digits) => digest(&digits)?,
                    None => {
                        missing.push(file.clone());
                        [0; 32]
                    }
                };
                Ok(ManifestStep::Install { file, sha256 })
            }
            Self {
                install: None,
                sha256: None,
                remove: Some(name),
            } => {
                let found = PackageName::new(&name);
                let why = |error| ManifestError::new(format!("{:?}: {error}", shortened(&name)));
                found.map(ManifestStep::Remove).map_err(why)
            }
            _ => Err(ManifestError::new(
                "write install and sha256, or remove alone",
            )),
        }
    }
}

fn required<T>(value: Option<T>, line: &str) -> Result<T, ManifestError> {
    value.ok_or_else(|| ManifestError::new(format!("it lacks a line such as {line}")))
}

fn range(text: &str) -> Result<VersionRange, ManifestError> {
    let wrong = || {
        ManifestError::new(format!(
            "upgrades-from: {:?} is no range of versions: write one of << <= = >= >>, a space, and a version",
            shortened(text)
        ))
    };
    let (relation, version) = text.split_once(' ').ok_or_else(wrong)?;
    let mut relations = Relation::ALL.into_iter();
    let (_, relation) = relations
        .find(|(word, _)| *word == relation)
        .ok_or_else(wrong)?;
    Ok(VersionRange {
        relation,
        version: bundle_version(version).map_err(|_| wrong())?,
    })
}

/// The digest of 64 hexadecimal digits.
fn digest(digits: &str) -> Result<[u8; 32], ManifestError> {
    let wrong = || ManifestError::new("its sha256 does not have 64 hexadecimal digits");
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        let pair = digits.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// The digest as 64 hexadecimal digits.
pub fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;
    use wharf_frames::packed::{Framed as _, Frames};

    use super::*;

    const SHA256: &str = "5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d5f0c8d1d";

    fn whole() -> String {
        format!(
            "format = 1\nname = \"acme-stack\"\nversion = \"2.3.0\"\narchitecture = \"amd64\"\nundo = false\n\n\
             [needs]\nupgrades-from = [\">= 2.0\", \"<< 3.0\"]\nfree = 209715200\n\n\
             [[step]]\ninstall = \"core.deb\"\nsha256 = \"{SHA256}\"\n\n[[step]]\nremove = \"acme-legacy\"\n"
        )
    }

    #[test]
    fn a_manifest_is_read_and_written_again_with_the_same_bytes() {
        let manifest = Manifest::parse(&whole()).unwrap();
        assert_eq!(manifest.to_toml(), whole());
        assert!(!manifest.undo);
        assert_eq!(manifest.needs.free, Some(200 << 20));
        assert_eq!(manifest.steps.len(), 2);
        let (file, sha256) = manifest.installs().next().unwrap();
        assert_eq!(
            (file.as_str(), hexadecimal(sha256).as_str()),
            ("core.deb", SHA256)
        );
    }

    #[test]
    fn only_name_version_and_a_package_are_needed() {
        let least = format!(
            "format = 1\nname = \"acme\"\nversion = \"1\"\n[[step]]\ninstall = \"a\"\nsha256 = \"{SHA256}\"\n"
        );
        let manifest = Manifest::parse(&least).unwrap();
        assert!(manifest.undo);
        assert_eq!(
            (manifest.architecture.as_ref(), &manifest.needs),
            (None, &BundleNeeds::default())
        );
    }

    #[test]
    fn a_manifest_that_this_version_does_not_understand_is_refused_with_line_and_key() {
        let whole = whole();
        let steps = |number| "[[step]]\nremove = \"a\"\n".repeat(number);
        for (from, to, why) in [
            ("format = 1", "format = 2", "a newer wharfd is needed"),
            ("format = 1\n", "", "lacks a line such as format = 1"),
            ("name = \"acme-stack\"", "", "lacks a line such as name ="),
            ("version = \"2.3.0\"", "", "lacks a line such as version ="),
            ("undo = false", "undo = 0", "write undo = false"),
            ("undo = false", "color = 1", "unknown field `color`"),
            ("free = 2", "memory = 2", "A newer wharfd may know it"),
            (
                "remove =",
                "configure =",
                "line 16, column 1: step: unknown field `configure`",
            ),
            ("[needs]", "[need]", "unknown field `need`"),
            ("acme-stack", "Acme", "no name of a bundle"),
            ("2.3.0", "v2", "no version of a bundle"),
            ("amd64", "amd 64", "no architecture"),
            (">= 2.0", "> 2.0", "no range of versions"),
            (">= 2.0", ">=2.0", "no range of versions"),
            (">= 2.0", ">= x", "no range of versions"),
            ("209715200", "-1", "write free = 209715200"),
            (
                "core.deb",
                "../core.deb",
                "step 1: \"../core.deb\" is no name of a file",
            ),
            ("5f0c", "5f0", "step 1: its sha256"),
            ("5f0c", "5f0x", "step 1: its sha256"),
            ("5f0c", "+f0c", "step 1: its sha256"),
            ("remove = \"acme-legacy\"", "", "step 2: write install"),
            (
                "remove =",
                "install = \"x\"\nremove =",
                "step 2: write install",
            ),
            (
                "remove =",
                "sha256 = \"x\"\nremove =",
                "step 2: write install",
            ),
            ("acme-legacy", "", "step 2: "),
            ("acme-legacy", "acme-stack", "its own name"),
            (
                "install = \"core.deb\"",
                "remove = \"a\"",
                "step 1: write install",
            ),
            ("format", "]", "line 1"),
        ] {
            let text = whole.replacen(from, to, 1);
            let refused = Manifest::parse(&text).unwrap_err().to_string();
            assert!(refused.contains(why), "{to}: {refused}");
        }
        for (more, why) in [
            (steps(63), "65 steps: at most 64"),
            (
                "[[step]]\nremove = \"acme-legacy\"\n".to_owned(),
                "two steps name acme-legacy",
            ),
            (
                format!("[[step]]\ninstall = \"core.deb\"\nsha256 = \"{SHA256}\"\n"),
                "two steps name core.deb",
            ),
            ("#".repeat(64 * 1024), "longer than 65536 bytes"),
        ] {
            let refused = Manifest::parse(&(whole.clone() + &more))
                .unwrap_err()
                .to_string();
            assert!(refused.contains(why), "{why}: {refused}");
        }
        let ranges = "\">= 1\", ".repeat(9);
        let refused = Manifest::parse(&whole.replace("\">= 2.0\"", ranges.trim_end_matches(", ")));
        assert!(refused.unwrap_err().to_string().contains("at most 8"));
    }

    #[test]
    fn a_bundle_without_a_package_is_refused() {
        let text = "format = 1\nname = \"acme\"\nversion = \"1\"\n";
        for text in [text.to_owned(), format!("{text}[[step]]\nremove = \"a\"\n")] {
            let refused = Manifest::parse(&text).unwrap_err().to_string();
            assert_eq!(refused, "no step installs a package");
        }
    }

    #[test]
    fn a_draft_gets_the_digests_that_it_lacks() {
        let text = whole().replace(&format!("sha256 = \"{SHA256}\"\n"), "");
        let refused = Manifest::parse(&text).unwrap_err().to_string();
        assert_eq!(refused, "core.deb has no sha256");
        let draft = Draft::parse(&text).unwrap();
        let files: Vec<_> = draft.files().map(FileName::as_str).collect();
        assert_eq!(files, ["core.deb"]);
        let complete = draft.complete(&[digest(SHA256).unwrap()]).unwrap();
        assert_eq!(complete, Manifest::parse(&whole()).unwrap());
    }

    #[test]
    fn a_digest_of_the_draft_that_is_another_is_refused() {
        let draft = Draft::parse(&whole()).unwrap();
        assert!(draft.clone().complete(&[]).is_err());
        let refused = draft.complete(&[[0; 32]]).unwrap_err().to_string();
        assert_eq!(
            refused,
            "core.deb has another sha256 than the manifest says"
        );
    }

    #[test]
    fn a_relation_holds_as_debian_says() {
        use Ordering::{Equal, Greater, Less};
        for (text, holds) in [
            ("<<", [true, false, false]),
            ("<=", [true, true, false]),
            ("=", [false, true, false]),
            (">=", [false, true, true]),
            (">>", [false, false, true]),
        ] {
            let range = range(&format!("{text} 2.0")).unwrap();
            let got = [Less, Equal, Greater].map(|order| range.relation.holds(order));
            assert_eq!(got, holds, "{text}");
            assert_eq!(range.to_string(), format!("{text} 2.0"));
        }
    }

    /// Root's programs do not trust wharf-inspect.
    #[test]
    fn a_frame_is_checked_as_the_text_is() {
        let sound = Manifest::parse(&whole()).unwrap();
        let read = |manifest: &Manifest| {
            let mut found = None;
            let frame = manifest.to_frame().unwrap();
            let read = Frames::default().append(&frame, |it: Manifest| {
                found = Some(it);
                Ok(())
            });
            read.map(|()| found.unwrap()).ok()
        };
        assert_eq!(read(&sound).as_ref(), Some(&sound));
        for change in [
            (|it| it.steps = vec![it.steps[1].clone()]) as fn(&mut Manifest),
            |it| it.steps = vec![it.steps[0].clone(); 2],
            |it| it.steps.extend(vec![it.steps[1].clone(); 64]),
            |it| it.name = PackageName::new("Acme").unwrap(),
            |it| it.architecture = Some("a b".into()),
            |it| it.needs.upgrades_from = vec![it.needs.upgrades_from[0].clone(); 9],
        ] {
            let mut other = sound.clone();
            change(&mut other);
            assert_eq!(read(&other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_refused(text: String) {
            let _ = Manifest::parse(&text);
        }

        #[test]
        fn names_of_any_printable_characters_come_back(file in "[!-.0-~]{1,100}", name in "[!-~]{1,255}") {
            let mut manifest = Manifest::parse(&whole()).unwrap();
            if let Ok(file) = FileName::new(&file) {
                manifest.steps = vec![
                    ManifestStep::Install { file, sha256: [7; 32] },
                    ManifestStep::Remove(PackageName::new(&name).unwrap()),
                ];
                prop_assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest);
            }
        }
    }
}
