//! The order of versions by Debian's rule (deb-version(7), Policy 5.6.12). Other package managers took it over. It knows no
//! grammar: any text has its place in the order.

use std::cmp::Ordering;

/// The order of two versions, as `dpkg --compare-versions` and `opkg compare-versions` have it.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_upstream, left_revision) = split(left);
    let (right_epoch, right_upstream, right_revision) = split(right);
    compare_numbers(left_epoch, right_epoch)
        .then_with(|| compare_part(left_upstream, right_upstream))
        .then_with(|| compare_part(left_revision, right_revision))
}

/// `[epoch:]upstream[-revision]`; an absent epoch is 0, an absent revision is less than any but `0`.
fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Stretches of other characters and of digits, in turn.
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    while !(left.is_empty() && right.is_empty()) {
        let (left_text, left_rest) = split_where(left, |byte| byte.is_ascii_digit());
        let (right_text, right_rest) = split_where(right, |byte| byte.is_ascii_digit());
        let (left_number, left_rest) = split_where(left_rest, |byte| !byte.is_ascii_digit());
        let (right_number, right_rest) = split_where(right_rest, |byte| !byte.is_ascii_digit());
        let order = compare_text(left_text, right_text)
            .then_with(|| compare_numbers(left_number, right_number));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn split_where(text: &str, end: fn(u8) -> bool) -> (&str, &str) {
    let at = text.bytes().position(end).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// `~` before the end, the end before letters, letters before everything else.
fn compare_text(left: &str, right: &str) -> Ordering {
    let weights = |text: &str| text.bytes().map(weight).chain([0]).collect::<Vec<_>>();
    weights(left).cmp(&weights(right))
}

fn weight(byte: u8) -> i32 {
    match byte {
        b'~' => -1,
        b'A'..=b'Z' | b'a'..=b'z' => i32::from(byte),
        other => i32::from(other) + 256,
    }
}

/// Of any length, without ever becoming a number.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn versions_are_ordered_as_policy_5_6_12_says() {
        let ordered = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "0.",
            "1~rc1-1",
            "1-0~1",
            "1",
            "1-0.1",
            "1-1",
            "1.2-1",
            "1.10-1",
            "1.10a-1",
            "1.10.0-1",
            "00000000000000000000000000000002-1",
            "99999999999999999999999999999-1",
            "1:0-1",
            "2:0",
        ];
        for (at, left) in ordered.iter().enumerate() {
            for (other, right) in ordered.iter().enumerate() {
                assert_eq!(compare(left, right), at.cmp(&other), "{left} {right}");
            }
        }
        assert_eq!(compare("1.0-0", "1.0"), Ordering::Equal);
        assert_eq!(compare("0:1.01-1", "1.1-01"), Ordering::Equal);
    }

    fn dpkg(left: &str, right: &str) -> Ordering {
        let holds = |operator: &str| {
            let mut dpkg = Command::new("dpkg");
            dpkg.args(["--compare-versions", left, operator, right]);
            dpkg.stderr(std::process::Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        match (holds("lt"), holds("eq")) {
            (true, _) => Ordering::Less,
            (_, true) => Ordering::Equal,
            _ => Ordering::Greater,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn versions_are_ordered_as_dpkg_orders_them(
            left in "([0-3]:)?[0-2][0-2a-bA~+.]{0,5}(-[0-2a~+.]{1,3})?",
            right in "([0-3]:)?[0-2][0-2a-bA~+.]{0,5}(-[0-2a~+.]{1,3})?",
        ) {
            prop_assert_eq!(compare(&left, &right), dpkg(&left, &right), "{} {}", left, right);
        }

        #[test]
        fn no_text_is_too_strange_to_compare(left: String, right: String) {
            prop_assert_eq!(compare(&left, &right), compare(&right, &left).reverse());
        }
    }
}
