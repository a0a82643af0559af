//! Names of packages. opkg itself takes a name with `*`, `?` or `[` for a pattern.

/// Whether this is a name of a package, and nothing that opkg takes for a pattern, an option or a file.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"+-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;
    use crate::debian_version::compare;

    #[test]
    fn a_name_is_never_a_pattern_an_option_or_a_file() {
        for name in [
            "acme",
            "libstdc++6",
            "kernel-module-8021q-5.15",
            "Acme_x",
            "r",
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", "-o", "+x", "a*", "a?", "[a]", "a b", "a/b", "./a", "a:b", "a=1", "é",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    /// The answers of `opkg compare-versions` of 0.6.3, 0.4.4 and OpenWrt.
    #[test]
    fn versions_are_ordered_as_opkg_orders_them() {
        use Ordering::{Equal, Greater, Less};
        for (left, order, right) in [
            ("1.0", Equal, "1.0"),
            ("1.0", Less, "2.0"),
            ("1.0", Less, "1.0-r0"),
            ("1.0-r1", Less, "1.0-r10"),
            ("1.0~rc1", Less, "1.0"),
            ("1.0^git", Greater, "1.0"),
            ("1.0+git", Greater, "1.0"),
            ("1.0+git", Less, "1.0.1"),
            ("1:0.1", Greater, "9.0"),
            ("0:1.0", Equal, "1.0"),
            ("1.0a", Less, "1.0.1"),
            ("1.0a", Greater, "1.0"),
            ("007", Equal, "7"),
            ("1.0-1", Greater, "1.0"),
            ("1.0-1-2", Greater, "1.0-1"),
            ("1_0", Greater, "1.0"),
            ("2.0-r0.5", Less, "2.0-r0.10"),
            ("a", Greater, "1"),
            ("1.0-r0", Greater, "1.0-0"),
            ("1.0~~", Less, "1.0~"),
            ("99999999999", Greater, "1"),
        ] {
            assert_eq!(compare(left, right), order, "{left} {right}");
            assert_eq!(compare(right, left), order.reverse(), "{right} {left}");
        }
    }
}
