//! Names and versions of rpm packages: rpm's grammar and order (rpm-version(7)).

use std::cmp::Ordering;

/// Whether this is a valid name of an rpm package. wharf-inspect has the same grammar.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    text.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && text.bytes().all(inner)
}

/// The order of two versions, `[epoch:]version[-release]`.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_version, left_release) = split(left);
    let (right_epoch, right_version, right_release) = split(right);
    compare_part(left_epoch, right_epoch)
        .then_with(|| compare_part(left_version, right_version))
        .then_with(|| match (left_release, right_release) {
            (Some(left), Some(right)) => compare_part(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        })
}

/// No epoch is 0. An epoch is a number, so that `a:1` has none.
fn split(version: &str) -> (&str, &str, Option<&str>) {
    let is_epoch = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (epoch, rest) = match version.split_once(':') {
        Some(("", rest)) => ("0", rest),
        Some((epoch, rest)) if is_epoch(epoch) => (epoch, rest),
        _ => ("0", version),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// rpmvercmp: stretches of digits or of letters, in turn. What separates them does not count, but for `~` and `^`.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        (left, right) = (without_separators(left), without_separators(right));
        match (left.first(), right.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (left, right) = (rest(left), rest(right));
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            // `^` is after the end, and before everything else.
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(first), Some(second)) => {
                // A number is newer than letters.
                match (first.is_ascii_digit(), second.is_ascii_digit()) {
                    (true, false) => return Ordering::Greater,
                    (false, true) => return Ordering::Less,
                    _ => {}
                }
                let class = match first.is_ascii_digit() {
                    true => u8::is_ascii_digit,
                    false => u8::is_ascii_alphabetic,
                };
                let (one, after_one) = stretch(left, class);
                let (two, after_two) = stretch(right, class);
                let order = compare_stretch(one, two, first.is_ascii_digit());
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (after_one, after_two);
            }
        }
    }
}

/// Numbers of any length, without ever becoming a number.
fn compare_stretch(left: &[u8], right: &[u8], are_numbers: bool) -> Ordering {
    if !are_numbers {
        return left.cmp(right);
    }
    let (left, right) = (without_zeros(left), without_zeros(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    stretch(digits, |byte| *byte == b'0').1
}

fn without_separators(text: &[u8]) -> &[u8] {
    stretch(text, |byte| {
        !byte.is_ascii_alphanumeric() && !b"~^".contains(byte)
    })
    .1
}

fn rest(text: &[u8]) -> &[u8] {
    text.get(1..).unwrap_or_default()
}

/// The bytes up to the first that is none of these, and the rest.
fn stretch(text: &[u8], is_of_it: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is_of_it(byte));
    text.split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or((text, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// As rpm 4.18 and 6.1 answered `rpm --eval '%{lua:print(rpm.vercmp("a","b"))}'`.
    const VECTORS: &str = "1.0=1.0; 1.0<2.0; 2.0.1<2.0.1a; 5.5p1<5.5p10; 10xyz<10.1xyz; xyz10<xyz10.1; xyz.4<8; \
        1.0=1_0; 1..0=1.0; 1.05=1.5; 1.0010>1.9; fc4=fc.4; FC5<fc4; 2_0=2.0; a+=a_; 1.0~rc1<1.0; \
        1.0~rc1<1.0~rc2; 1.0~rc1~git123<1.0~rc1; 1.0^>1.0; 1.0^git1>1.0; 1.0^git1<1.01; 1.0^git1<1.0.1; \
        1.0^20160101<1.0^20160102; 1.0~rc1^git1>1.0~rc1; 1.0^git1~pre<1.0^git1; 1.0~~<1.0~; 1.0=1.0.; \
        1.0a<1.0.1; 1:1.0>9.0; 0:1.0-1=1.0-1; 1.0-1>1.0; 1.0-1.el9<1.0-1.el9_2; \
        20240101<99999999999999999999999; 007=7";

    fn order(sign: &str) -> Ordering {
        match sign {
            "<" => Ordering::Less,
            "=" => Ordering::Equal,
            _ => Ordering::Greater,
        }
    }

    #[test]
    fn versions_are_ordered_as_rpm_orders_them_in_every_recorded_case() {
        for vector in VECTORS.split("; ") {
            let vector = vector.trim();
            let at = vector.find(['<', '=', '>']).unwrap();
            let (left, rest) = vector.split_at(at);
            let (sign, right) = rest.split_at(1);
            assert_eq!(compare(left, right), order(sign), "{vector}");
            assert_eq!(compare(right, left), order(sign).reverse(), "{vector}");
        }
    }

    #[test]
    fn a_name_is_never_a_pattern_an_option_or_a_path() {
        for name in [
            "acme",
            "libstdc++",
            "python3.11",
            "perl-Foo_Bar",
            "0ad",
            "a",
            "_x",
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", "-e", "--all", "ac*", "a?", "[a]", "a b", "a/b", "./a", "a=1", "%{x}", "~a", ".a",
            "ä", "a\n",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    /// Asks one rpm for all pairs: its start takes longer than its answer.
    fn rpm(pairs: &[(String, String)]) -> Vec<Ordering> {
        let asked: Vec<String> = pairs
            .iter()
            .map(|(left, right)| format!("print(rpm.vercmp(\"{left}\",\"{right}\"),\"\\n\")"))
            .collect();
        let output = Command::new("rpm")
            .args(["--eval", &format!("%{{lua:{}}}", asked.join(";"))])
            .output()
            .unwrap();
        let answers = String::from_utf8(output.stdout).unwrap();
        let answers = answers.split_whitespace();
        answers
            .map(|answer| answer.parse::<i32>().unwrap().cmp(&0))
            .collect()
    }

    /// Versions that differ in few characters.
    fn version() -> impl Strategy<Value = String> {
        "([0-2]:)?[0-2a]([0-2a-bA~^+._]{0,6})(-[0-2a~^._]{1,3})?"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn versions_are_ordered_as_rpm_orders_them(
            pairs in proptest::collection::vec((version(), version()), 64),
        ) {
            let ours: Vec<Ordering> = pairs.iter().map(|(left, right)| compare(left, right)).collect();
            prop_assert_eq!(ours, rpm(&pairs), "{:?}", pairs);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_order_of_versions_has_no_cycle(one in version(), two in version(), three in version()) {
            prop_assert_eq!(compare(&one, &two), compare(&two, &one).reverse());
            let mut all = [one, two, three];
            all.sort_by(|left, right| compare(left, right));
            prop_assert!(compare(&all[0], &all[2]) != Ordering::Greater, "{:?}", all);
        }

        #[test]
        fn no_text_is_too_strange_to_compare(left: String, right: String) {
            prop_assert_eq!(compare(&left, &right), compare(&right, &left).reverse());
        }
    }
}
