//! Reads a configuration file. serde reports a wrong value without its key. This crate adds the key and its correct
//! form. The keys come from the caller.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

/// The correct forms of keys: the key with its tables (`server.uri`; `*` matches any key), and an example.
pub type Written = [(&'static str, &'static str)];

/// The reason why a text is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Wrong {
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// The key, the fault and the correct form.
    pub message: String,
}

/// Parses TOML.
pub fn parse<T: DeserializeOwned>(text: &str, written: &Written) -> Result<T, Wrong> {
    toml::from_str(text).map_err(|error| wrong(text, &error, written))
}

/// The line number of this offset, from 1.
pub fn line(text: &str, offset: usize) -> usize {
    before(text, offset).matches('\n').count() + 1
}

fn column(text: &str, offset: usize) -> usize {
    let line = before(text, offset).rsplit('\n').next();
    line.unwrap_or_default().chars().count() + 1
}

fn before(text: &str, offset: usize) -> &str {
    text.get(..offset).unwrap_or(text)
}

fn wrong(text: &str, error: &Error, written: &Written) -> Wrong {
    let offset = error.span().map_or(0, |span| span.start);
    let said = error.message();
    let mut key = key_at(text, offset);
    let mut example = example(&key, written);
    if said.starts_with("unknown field") {
        key.pop(); // the error names a field and the fields that its table may have
        example = None;
    } else if let Some(missing) = missing(said) {
        let whole = [key.as_slice(), &[missing.to_owned()]].concat();
        example = self::example(&whole, written);
    }
    let mut message = said.to_owned();
    if !key.is_empty() {
        message = format!("{}: {message}", key.join("."));
    }
    if let Some(example) = example {
        message += &format!(": write {example}");
    }
    Wrong {
        line: line(text, offset),
        column: column(text, offset),
        message,
    }
}

fn missing(said: &str) -> Option<&str> {
    said.strip_prefix("missing field `")?.strip_suffix('`')
}

fn example(key: &[String], written: &Written) -> Option<&'static str> {
    let fits = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        let mut pairs = pattern.iter().zip(key);
        pattern.len() == key.len() && pairs.all(|(part, key)| *part == "*" || part == key)
    };
    let mut written = written.iter();
    written
        .find(|(pattern, _)| fits(pattern))
        .map(|(_, example)| *example)
}

/// The innermost key at this offset, with its tables. Invalid TOML is read as far as possible.
fn key_at(text: &str, offset: usize) -> Vec<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut found = Vec::new();
    search(table.get_ref(), offset, &mut Vec::new(), &mut found);
    found
}

fn search(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>, found: &mut Vec<String>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let is_here = covers(&key.span(), offset) || covers(&value.span(), offset);
        if is_here && path.len() > found.len() {
            found.clone_from(path);
        }
        search_value(value, offset, path, found);
        path.pop();
    }
}

fn search_value(
    value: &Spanned<DeValue<'_>>,
    offset: usize,
    path: &mut Vec<String>,
    found: &mut Vec<String>,
) {
    match value.get_ref() {
        DeValue::Table(table) => search(table, offset, path, found),
        DeValue::Array(values) => {
            for value in values {
                if covers(&value.span(), offset) && path.len() > found.len() {
                    found.clone_from(path);
                }
                search_value(value, offset, path, found);
            }
        }
        _ => {}
    }
}

fn covers(span: &Range<usize>, offset: usize) -> bool {
    (span.start..=span.end).contains(&offset)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "the tests look only at errors")]
    struct File {
        name: Option<String>,
        #[serde(default)]
        server: Vec<Server>,
        #[serde(default)]
        package: BTreeMap<String, Package>,
        #[serde(default)]
        origins: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "the tests look only at errors")]
    struct Server {
        uri: String,
        lifetime: Option<u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "the tests look only at errors")]
    struct Package {
        active: bool,
    }

    const WRITTEN: &Written = &[
        ("name", "name = \"x\""),
        ("server", "[[server]], in two brackets"),
        ("server.uri", "uri = \"x\""),
        ("package.*.active", "active = true"),
        ("origins", "origins = [\"x\"]"),
    ];

    #[test]
    fn an_error_names_line_column_key_and_correct_form() {
        for (text, expected) in [
            (
                "[server]\nuri = \"x\"\n",
                "line 1, column 1: server: invalid type: map, expected a sequence: write [[server]], in two brackets",
            ),
            (
                "server.uri = \"x\"\n",
                "line 1, column 1: server: invalid type: map, expected a sequence: write [[server]], in two brackets",
            ),
            (
                "\n  server = \"x\"\n",
                "line 2, column 12: server: invalid type: string \"x\", expected a sequence: write [[server]], in two \
                 brackets",
            ),
            (
                "[[server]]\nuri = 5\n",
                "line 2, column 7: server.uri: invalid type: integer `5`, expected a string: write uri = \"x\"",
            ),
            (
                "[[server]]\n",
                "line 1, column 1: server: missing field `uri`: write uri = \"x\"",
            ),
            (
                "[[server]]\nuri = \"x\"\nlifetime = -1\n",
                "line 3, column 12: server.lifetime: invalid value: integer `-1`, expected u32",
            ),
            (
                "[[server]]\nuri = \"x\"\nurl = \"x\"\n",
                "line 3, column 1: server: unknown field `url`, expected `uri` or `lifetime`",
            ),
            (
                "nam = \"x\"",
                "line 1, column 1: unknown field `nam`, expected one of `name`, `server`, `package`, `origins`",
            ),
            (
                "[package.\"a.b\"]\nactive = 1\n",
                "line 2, column 10: package.a.b.active: invalid type: integer `1`, expected a boolean: write active = \
                 true",
            ),
            (
                "origins = [\"é\", 5]\n",
                "line 1, column 17: origins: invalid type: integer `5`, expected a string: write origins = [\"x\"]",
            ),
            (
                "server = [{ uri = 5 }]\n",
                "line 1, column 19: server.uri: invalid type: integer `5`, expected a string: write uri = \"x\"",
            ),
            (
                "\nname = gateway\n",
                "line 2, column 8: name: string values must be quoted, expected literal string: write name = \"x\"",
            ),
        ] {
            let wrong = parse::<File>(text, WRITTEN).unwrap_err();
            assert_eq!(wrong.to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn invalid_toml_is_reported_with_line_and_column() {
        for (text, place) in [
            ("x", "line 1, column 2: "),
            ("[[server]\n", "line 1, column 10: "),
            ("a = 1\na = 2\n", "line 2, column 1: "),
        ] {
            let wrong = parse::<File>(text, WRITTEN).unwrap_err().to_string();
            assert!(wrong.starts_with(place), "{text:?}: {wrong}");
        }
    }
}
