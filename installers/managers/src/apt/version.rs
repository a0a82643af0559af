//! The grammar of names, and the order of versions (Policy 5.6.1).

pub use crate::debian_version::compare;

/// Whether this is a name of a package: at least two of `a-z 0-9 + - .`, the first a letter or a digit.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() >= 2
        && bytes.first().is_some_and(alphanumeric)
        && bytes
            .iter()
            .all(|byte| alphanumeric(byte) || b"+-.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_pattern_or_an_option() {
        for name in ["acme", "g++", "libstdc++6", "0ad", "a.b-c"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "a",
            "-o",
            "-oDebug::x=1",
            "+a",
            ".a",
            ".*",
            "needre.*",
            "?essential",
            "~nfoo",
            "a b",
            "a/b",
            "a:amd64",
            "a=1",
            "acme*",
            "Acme",
            "ä1",
            "^a$",
            "a\n",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
