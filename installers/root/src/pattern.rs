//! Patterns for names, as an administrator writes them into the policy.

use serde::{Deserialize, Deserializer, de::Error as _};
use wharf_frames::PackageName;

/// A package name in which each `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The expected form.
    pub const EXPECTED: &str =
        "expected the name of a package, in which '*' stands for any characters";

    /// Parses a pattern of an administrator.
    pub fn new(text: &str) -> Option<Self> {
        let is_one = PackageName::new(text).is_ok();
        is_one.then(|| Self(text.to_owned()))
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A pattern that is built in. Its grammar is not checked.
    pub fn built_in(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole name fits.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom(Self::EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything", true),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*b", "ab", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axc", false),
            ("*b*", "abc", true),
            ("*ab*b", "ab", false),
            ("*ab*b", "xabb", true),
        ] {
            assert_eq!(
                Pattern(pattern.to_owned()).fits(text),
                fits,
                "{pattern} {text}"
            );
        }
    }
}
