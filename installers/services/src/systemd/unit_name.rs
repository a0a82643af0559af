//! The name of a unit.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, decode};

/// The types of units that start a program or other units.
pub(super) const TYPES: [&str; 5] = [".service", ".socket", ".timer", ".path", ".target"];

/// The types that start another unit on an event.
const TRIGGERS: [&str; 3] = [".socket", ".timer", ".path"];

/// The name of a unit. Its type is one that starts a program; it is no pattern, option or path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub(crate) struct UnitName(String);

impl UnitName {
    /// The longest one (systemd.unit(5)).
    const MAX: usize = 255;

    /// The name, if it is one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        let stem = TYPES.iter().find_map(|end| text.strip_suffix(end))?;
        let is_name = !stem.is_empty()
            && !stem.starts_with(['-', '.', '@'])
            && text.len() <= Self::MAX
            && text.bytes().all(plain);
        is_name.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a template.
    pub(crate) fn is_template(&self) -> bool {
        self.0.contains("@.")
    }

    /// Whether it only starts another unit when needed.
    pub(crate) fn is_trigger(&self) -> bool {
        TRIGGERS.iter().any(|end| self.0.ends_with(end))
    }

    /// The pattern of systemctl for all loaded instances of a template.
    pub(crate) fn instances(&self) -> String {
        self.0.replacen("@.", "@*.", 1)
    }

    /// The template of which it is an instance.
    pub(crate) fn template(&self) -> Option<Self> {
        let (stem, rest) = self.0.split_once('@')?;
        let (_, end) = rest.rsplit_once('.')?;
        Some(Self(format!("{stem}@.{end}")))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'b, C> Decode<'b, C> for UnitName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Self::new(d.str()?).ok_or_else(|| decode::Error::message("not the name of a unit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_could_take_for_something_else_is_no_name() {
        for text in [
            "a.service",
            "a@.service",
            "a@b.timer",
            "a\\x2db.path",
            "A:b_c-d.target",
        ] {
            assert_eq!(UnitName::new(text).unwrap().as_str(), text);
        }
        let long = format!("{}.service", "a".repeat(248));
        for text in [
            "",
            ".service",
            "-a.service",
            "@.service",
            "a*.service",
            "a?.service",
            "a/b.service",
            "a b.service",
            "a.mount",
            "a",
            "é.service",
            "a\n.service",
            long.as_str(),
        ] {
            assert_eq!(UnitName::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_instance_knows_its_template() {
        let unit = |text| UnitName::new(text).unwrap();
        assert_eq!(unit("a@b.c.service").template(), Some(unit("a@.service")));
        assert_eq!(unit("a.service").template(), None);
        assert_eq!(unit("a@.service").instances(), "a@*.service");
        assert!(unit("a@.service").is_template() && !unit("a@b.service").is_template());
    }
}
