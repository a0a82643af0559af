use spdx::{Expression, LicenseReq, ParseMode};

use super::metadata;

/// Licences that require only attribution.
const ALLOWED: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// LGPL: for OpenPGP, only in the installer's wharf-inspect.
const LESSER: [&str; 4] = ["buffered-reader", "nettle", "nettle-sys", "sequoia-openpgp"];
const LESSER_LICENCES: [&str; 2] = ["LGPL-2.0-or-later", "LGPL-3.0-only"];

#[test]
fn every_dependency_has_a_licence_of_the_list() {
    let refused: Vec<String> = metadata()
        .packages
        .iter()
        .filter(|package| !is_allowed(&package.name, package.license.as_deref()))
        .map(|package| {
            format!(
                "{} {}: {:?}",
                package.name, package.version, package.license
            )
        })
        .collect();
    assert!(
        refused.is_empty(),
        "not on the list:\n{}",
        refused.join("\n")
    );
}

#[test]
fn the_list_is_read_as_spdx_means_it() {
    for (name, licence, allowed) in [
        ("any", Some("MIT OR Apache-2.0"), true),
        ("any", Some("MIT/Apache-2.0"), true),
        ("any", Some("GPL-3.0-only OR MIT"), true),
        ("any", Some("(MIT OR Apache-2.0) AND Unicode-3.0"), true),
        ("any", Some("MIT AND GPL-3.0-only"), false),
        ("any", Some("Apache-2.0 WITH LLVM-exception"), true),
        ("any", Some("LGPL-2.0-or-later"), false),
        ("sequoia-openpgp", Some("LGPL-2.0-or-later"), true),
        (
            "nettle",
            Some("LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only"),
            true,
        ),
        ("nettle", Some("GPL-2.0-only"), false),
        ("any", Some("nonsense"), false),
        ("any", None, false),
    ] {
        assert_eq!(is_allowed(name, licence), allowed, "{name}: {licence:?}");
    }
}

fn is_allowed(package: &str, licence: Option<&str>) -> bool {
    let Some(licence) = licence else { return false };
    // Older packages write a slash for OR.
    let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|required| {
        let required = name(required);
        ALLOWED.contains(&required.as_str())
            || LESSER.contains(&package) && LESSER_LICENCES.contains(&required.as_str())
    })
}

/// The licence without an exception, which only adds permissions.
fn name(required: &LicenseReq) -> String {
    required.license.to_string()
}
