use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use wharf_tests::programs::workspace;

use crate::tree::sources_below;

#[test]
fn each_message_id_is_said_by_a_program_and_explained_in_the_catalog() {
    let messages = messages();
    assert!(messages.len() > 20, "{messages:?}");
    let explained: BTreeSet<String> = catalog().into_keys().collect();
    let ids: BTreeSet<String> = messages.values().cloned().collect();
    assert_eq!(ids, explained);
    assert_eq!(ids.len(), messages.len(), "an id is given twice");
    let sources: Vec<String> = sources().map(|(_, text)| text).collect();
    for name in messages.keys() {
        let said = format!("message::{name}");
        assert!(
            sources.iter().any(|text| text.contains(&said)),
            "nobody says {name}"
        );
    }
}

#[test]
fn each_entry_of_the_catalog_has_a_subject_and_says_what_to_do() {
    for (id, entry) in catalog() {
        let (head, text) = entry.split_once("\n\n").unwrap();
        for field in ["Subject: ", "Defined-By: wharfd", "Documentation: man:"] {
            assert!(head.contains(field), "{id} has no {field}:\n{entry}");
        }
        assert!(text.trim().len() > 60, "{id}:\n{entry}");
        assert!(text.lines().all(|line| line.len() <= 80), "{id}:\n{text}");
    }
}

/// A reader of the journal sees only the text: other data than the fields for searches must be in the text.
#[test]
fn a_line_has_no_fields_but_those_of_the_journal() {
    let (mut lines, mut wrong) = (0, Vec::new());
    for (path, text) in sources() {
        for line in text.split("tracing::").skip(1) {
            let is_line = ["info!(", "warn!(", "error!(", "debug!(", "$level!("];
            if !is_line.iter().any(|begin| line.starts_with(begin)) {
                continue;
            }
            lines += 1;
            let arguments = line.split_once('(').unwrap().1.split(',').map(str::trim);
            let mut fields = arguments.take_while(|field| !field.starts_with('"'));
            if let Some(field) = fields.find(|field| !is_of_the_journal(field)) {
                wrong.push(format!("{}: {field}", path.display()));
            }
        }
    }
    assert!(lines > 50, "{lines} lines were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn is_of_the_journal(field: &str) -> bool {
    let names = ["PACKAGE", "INSTANCE", "OPERATION", "STATE", "RESULT"];
    let (name, _) = field.split_once(" = ").unwrap_or((field, ""));
    name == "MESSAGE_ID"
        || name
            .strip_prefix("WHARF_")
            .is_some_and(|name| names.contains(&name))
}

/// Each id by the name that the programs have for it.
fn messages() -> BTreeMap<String, String> {
    let text = read("daemon/journal/src/message.rs");
    let constants = text.lines().filter_map(|line| {
        let (name, id) = line.strip_prefix("pub const ")?.split_once(": &str = ")?;
        Some((name.to_owned(), id.trim_matches(['"', ';']).to_owned()))
    });
    constants.collect()
}

/// Each entry by its id.
fn catalog() -> BTreeMap<String, String> {
    let text = read("systemd/wharfd.catalog");
    let entries = text.split("\n-- ").skip(1).map(|entry| {
        let (id, entry) = entry.split_once('\n').unwrap();
        let entry = entry.split("\n# ").next().unwrap();
        (id.to_owned(), entry.to_owned())
    });
    entries.collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

/// The sources of the programs.
fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let files = [
        "daemon",
        "installers/src",
        "installers/managers/src",
        "installers/root/src",
        "installers/services/src",
    ]
    .into_iter()
    .flat_map(sources_below);
    files.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    })
}
