//! A package manager is named only in its own folder, so that another one can be added without other changes.

use std::{collections::BTreeSet, fs, path::PathBuf};

use wharf_tests::programs::workspace;

use super::tree::sources_below;

/// The words of package managers and packages. A program may have more words after a `-`.
const WORDS: [&str; 19] = [
    "apt",
    "dpkg",
    ".deb",
    "conffile",
    "conffiles",
    "debconf",
    "debian_frontend",
    "postinst",
    "postrm",
    "preinst",
    "prerm",
    "reinstreq",
    "update-rc.d",
    "dnf",
    "dnf5",
    "rpm",
    ".rpm",
    "opkg",
    ".ipk",
];

/// The folders of the package managers, and of the formats.
const OWN: [&str; 2] = ["installers/managers/src", "installers/inspect/src/format"];

/// Files that may use such a word, with the words and the reason.
const ALLOWED: [(&str, &[&str], &str); 3] = [
    (
        "daemon/frames/src/inspect.rs",
        &[".deb", ".rpm", "rpm", ".ipk", "opkg"],
        "names the formats in the question to wharf-inspect",
    ),
    (
        "installers/src/policy.rs",
        &["apt", "dnf", "opkg"],
        "the list of the names that an administrator writes",
    ),
    (
        "installers/src/device.rs",
        &["apt", "dnf", "opkg"],
        "opens the package manager of the policy",
    ),
];

#[test]
fn nothing_but_its_own_folder_names_a_package_manager_or_its_packages() {
    let mut named = Vec::new();
    let mut unused: BTreeSet<&str> = ALLOWED.iter().map(|(path, ..)| *path).collect();
    let sources = sources();
    assert!(sources.len() > 150, "{} files were found", sources.len());
    for path in sources {
        let text = fs::read_to_string(workspace().join(&path)).unwrap();
        let path = path.to_str().unwrap();
        let allowed = ALLOWED.iter().find(|(file, ..)| *file == path);
        for (number, word) in words_in(program(&text)) {
            match allowed {
                Some((_, words, _)) if words.contains(&word) => drop(unused.remove(path)),
                _ => named.push(format!("{path}:{number}: {word}")),
            }
        }
    }
    assert!(named.is_empty(), "{named:#?}");
    assert!(unused.is_empty(), "need no exception: {unused:?}");
}

#[test]
fn a_word_is_found_only_as_a_whole() {
    for (line, words) in [
        ("/// dpkg's file", vec!["dpkg"]),
        ("run(\"apt-get\")", vec!["apt"]),
        ("dpkg-query, apt-mark.", vec!["dpkg", "apt"]),
        (".env(\"DEBIAN_FRONTEND\", \"\")", vec!["debian_frontend"]),
        ("format!(\"{name}.postinst\")", vec!["postinst"]),
        ("update-rc.d, conffiles", vec!["update-rc.d", "conffiles"]),
        ("use managers::apt::Apt;", vec!["apt", "apt"]),
        (
            "hello_1.deb, hello-1.rpm, and a.debug",
            vec![".deb", ".rpm"],
        ),
        ("adapt, aptly, apt_waits", vec![]),
        ("var/lib/dpkg/status", vec!["dpkg"]),
    ] {
        let found: Vec<&str> = words_in(line).map(|(_, word)| word).collect();
        assert_eq!(found, words, "{line}");
    }
    let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {}\n";
    assert_eq!(program(text), "fn a() {}\n\n");
}

/// Each of the words in this text, with the number of its line.
fn words_in(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let lines = text.lines().zip(1..);
    lines.flat_map(|(line, number)| {
        let line = line.to_ascii_lowercase();
        let parts = line.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
        let words = parts.filter_map(|part| {
            let is_package = |end: &&str| part.ends_with(*end) || part.contains(&format!("{end}."));
            let plain = part.trim_matches(['.', '-']);
            let package = [".deb", ".rpm", ".ipk"].into_iter().find(is_package);
            let word = package.unwrap_or(plain);
            let is_it = |known: &&str| {
                let rest = word.strip_prefix(*known);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            WORDS.into_iter().find(is_it)
        });
        let found: Vec<_> = words.map(|word| (number, word)).collect();
        found
    })
}

/// The program without its tests, which may use real package names.
fn program(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod tests")
        .map_or(text, |(program, _)| program)
}

/// The sources of our programs, below the workspace.
fn sources() -> Vec<PathBuf> {
    let sources = ["daemon", "installers"].into_iter().flat_map(sources_below);
    let below = sources.map(|path| path.strip_prefix(workspace()).unwrap().to_owned());
    let is_program = |path: &PathBuf| {
        let is_own = OWN.iter().any(|own| path.starts_with(own));
        let is_test = path
            .iter()
            .any(|part| part == "tests" || part == "tests.rs");
        !is_own && !is_test
    };
    below.filter(is_program).collect()
}
