use std::{collections::BTreeSet, fs, path::Path};

use wharf_tests::programs::workspace;

use crate::tree::sources_below;

/// Pages that name the test of a claim.
const PAGES: [&str; 2] = ["docs/threats.md", "docs/conformance.md"];

#[test]
fn every_test_that_a_page_names_is_in_the_sources() {
    let sources = sources();
    for page in PAGES {
        let text = fs::read_to_string(workspace().join(page)).unwrap();
        let named = named(&text);
        assert!(named.len() > 50, "{page} names {} tests", named.len());
        let missing: Vec<&str> = named
            .into_iter()
            .filter(|name| !sources.iter().any(|source| source.has(name)))
            .collect();
        assert!(
            missing.is_empty(),
            "{page} names tests that are not there: {missing:#?}"
        );
    }
}

#[test]
fn a_name_is_found_only_where_its_modules_are() {
    let text =
        "A `word`, a `key-word`, `module::a_test_of_it` and `that_holds_for_all`; `x::y::z_1`.";
    let names = ["module::a_test_of_it", "that_holds_for_all", "x::y::z_1"];
    assert_eq!(named(text), BTreeSet::from(names));
    let source = Source {
        modules: vec!["daemon".into(), "src".into(), "link".into()],
        functions: BTreeSet::from(["is_one".to_owned()]),
    };
    for (name, has) in [
        ("is_one", true),
        ("link::tests::is_one", true),
        ("other::tests::is_one", false),
        ("link::tests::is_on", false),
    ] {
        assert_eq!(source.has(name), has, "{name}");
    }
}

/// The names of tests in backticks, recognised by their modules or their number of words.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let all = word
                .bytes()
                .all(|byte| plain(byte) || b"_:".contains(&byte));
            all && (word.contains("::") || word.matches('_').count() > 2)
        })
        .collect()
}

/// A source file: its modules, and its test functions.
struct Source {
    modules: Vec<String>,
    functions: BTreeSet<String>,
}

impl Source {
    /// Whether the file has this test: each module in the name is one of the file's, or `tests`.
    fn has(&self, name: &str) -> bool {
        let mut words: Vec<&str> = name.split("::").collect();
        let function = words.pop().unwrap_or_default();
        words.retain(|word| *word != "tests");
        let is_here = words
            .iter()
            .all(|word| self.modules.iter().any(|module| module == word));
        is_here && self.functions.contains(function)
    }

    fn read(path: &Path) -> Self {
        let inside = path.strip_prefix(workspace()).unwrap().with_extension("");
        let modules = inside
            .iter()
            .map(|part| part.to_string_lossy().into_owned());
        let text = fs::read_to_string(path).unwrap();
        Self {
            modules: modules.collect(),
            functions: tests_in(&text),
        }
    }
}

/// The function that follows each `#[test]`, with other attributes between them.
fn tests_in(text: &str) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut lines = text.lines().map(str::trim);
    while lines
        .by_ref()
        .any(|line| line.ends_with("test]") && line.starts_with("#["))
    {
        let function = lines.by_ref().find_map(|line| {
            let rest = line
                .strip_prefix("async fn ")
                .or(line.strip_prefix("fn "))?;
            rest.split('(').next().map(str::to_owned)
        });
        tests.extend(function);
    }
    tests
}

fn sources() -> Vec<Source> {
    let folders = ["daemon", "installers", "tests"].into_iter();
    let files = folders.flat_map(sources_below);
    files.map(|path| Source::read(&path)).collect()
}
