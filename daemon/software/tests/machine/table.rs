//! docs/machine.md: every cell of the machine, written from the code and compared with it.
//! `UPDATE_DOCS=1 cargo test -p wharf-software --test machine table` writes it anew.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use wharf_software::{
    Effect, Instance, InstanceRecord, OperationKind, Refusal, Resource, Transition, UpdateState,
    changes, record::StoredProgress, transition,
};

use crate::{
    cells::*,
    sections::{DECISIONS, Section, sections},
};

/// The columns after the cell: code, next cell, Result, Status Reason, notifications, effects, clause.
type Row = [String; 7];

fn row(section: &Section, cell: &Instance) -> Row {
    let request = section.kept != "D21" && section.kept != "D20";
    match transition(cell, section.event.clone(), &section.rules) {
        Ok(Transition {
            instance: None,
            effects,
        }) => {
            let clause = (section.changed)(cell);
            columns("2.02", "deleted", None, &[], &effects, clause)
        }
        Ok(Transition {
            instance: Some(next),
            effects,
        }) => {
            let code = if request { "2.04" } else { "" };
            if next == *cell {
                return columns(code, "unchanged", None, &[], &effects, section.kept);
            }
            let clause = (section.changed)(cell);
            changed_row(code, cell, &next, &effects, clause)
        }
        Err(Refusal { code, instance, .. }) => {
            let clause = (section.refused)(cell);
            match instance {
                None => columns(code.as_str(), "unchanged", None, &[], &[], clause),
                Some(next) => changed_row(code.as_str(), cell, &next, &[], clause),
            }
        }
    }
}

/// Result and Status Reason are shown where the state or one of them is another than before.
fn changed_row(
    code: &str,
    cell: &Instance,
    next: &Instance,
    effects: &[Effect],
    clause: &str,
) -> Row {
    let told = changes(cell, next);
    let shown = [
        Resource::UpdateState,
        Resource::UpdateResult,
        Resource::StatusReason,
    ];
    let moved = told.iter().any(|resource| shown.contains(resource));
    let name = if label(cell) == label(next) {
        "the same"
    } else {
        &label(next)
    };
    columns(code, name, moved.then_some(next), &told, effects, clause)
}

fn columns(
    code: &str,
    next: &str,
    values: Option<&Instance>,
    told: &[Resource],
    effects: &[Effect],
    clause: &str,
) -> Row {
    assert_ne!(clause, "", "a cell without a clause: {code}, {next}");
    let told: Vec<String> = told
        .iter()
        .map(|resource| resource.id().to_string())
        .collect();
    let effects: Vec<String> = effects.iter().map(effect).collect();
    [
        code.to_owned(),
        next.to_owned(),
        values.map_or(String::new(), |next| {
            next.update_result().value().to_string()
        }),
        values.map_or(String::new(), |next| next.status_reason().to_string()),
        told.join(", "),
        effects.join(", "),
        clause.to_owned(),
    ]
}

/// With `old` and `new` for the file and operation of before and of the request, `next` for what follows an Install.
fn effect(effect: &Effect) -> String {
    let whose = match (effect.operation(), effect.stage()) {
        (Some(NEW), _) | (None, Some(NEW_STAGE)) => " new",
        (Some(NEXT), _) => " next",
        (None, Some(_)) => " old",
        _ => "",
    };
    format!("{effect}{whose}")
}

fn page() -> String {
    let mut page = String::from(HEAD);
    writeln!(page, "\n## Decisions\n").unwrap();
    for (number, decision) in DECISIONS {
        writeln!(page, "- **{number}** {decision}").unwrap();
    }
    page.push_str("\n## What cannot be\n\nNo instance can be in a state with these operations; `idle` is none.\n\n");
    page.push_str(&impossible());
    for section in sections() {
        page.push_str(&table(&section));
    }
    page
}

const HEAD: &str = "\
# The machine, cell by cell

`UPDATE_DOCS=1 cargo test -p wharf-software --test machine table` generates this page from the code of `daemon/software`;
the test fails if they differ. TS is OMA-TS-LWM2M_SwMgmt-V1_0_2; D1 and so on are the decisions below.

A cell is a state, the software in place, and the running operation or the last failure. A `queued` operation waits in the
gate, a `running` one has started, a `receiving` download has its first byte. The software in place is nginx 1.0, which was
active in INSTALLED; the new package is nginx 2.0. `a bundle` is nginx 1.0 with the components php and web, of which php runs. Each event has a table. `code` is the response to a request; reports have
none. `9` and `16` are Update Result and Status Reason afterwards; `notified` are the changed resources, in the order of
notifications. Effects are done after the transition is stored. `old`, `new` and `next` name the file or operation of an
effect if it is not that of the running operation. Cells with the same outcome share a row, and the rows of a table have all
cells. `9` and `16` are empty if neither they nor the state changed.
";

fn table(section: &Section) -> String {
    let mut order: Vec<Row> = Vec::new();
    let mut cells_of: BTreeMap<Row, Vec<String>> = BTreeMap::new();
    for cell in cells() {
        let row = row(section, &cell);
        let alike = cells_of.entry(row.clone()).or_default();
        if alike.is_empty() {
            order.push(row);
        }
        alike.push(label(&cell));
    }
    let mut text = format!("\n## {}\n\n", section.title);
    text.push_str("| cell | code | next | 9 | 16 | notified | effects | clause |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for row in order {
        let alike = together(&cells_of[&row]);
        writeln!(text, "| {alike} | {} |", row.join(" | ")).unwrap();
    }
    text
}

/// The names of the cells; a state of which all cells are among them is named once.
fn together(alike: &[String]) -> String {
    let all: Vec<String> = cells().iter().map(label).collect();
    if alike.len() == all.len() {
        return "every cell".to_owned();
    }
    let mut lines = Vec::new();
    for state in UpdateState::ALL {
        let of = |names: &[String]| -> Vec<String> {
            let name = state.name();
            let belongs = |label: &&String| label.split(',').next() == Some(name);
            names.iter().filter(belongs).cloned().collect()
        };
        let here = of(alike);
        if here.len() > 1 && here.len() == of(&all).len() {
            lines.push(format!("{}, every cell", state.name()));
        } else {
            lines.extend(here);
        }
    }
    lines.join("<br>")
}

/// All combinations of state, software in place and operation that no instance can have.
fn impossible() -> String {
    let states = [
        initial(),
        pulling(StoredProgress::Running),
        downloaded(),
        delivered(),
        InstanceRecord {
            in_place: None,
            ..installed(true)
        },
    ];
    let mut text =
        String::from("| state | nothing in place | software in place |\n| --- | --- | --- |\n");
    for state in states {
        let cannot = |record: &InstanceRecord| -> String {
            let kinds = kinds().map(Some);
            let refused = kinds.into_iter().chain([None]).filter(|kind| {
                let record = match kind {
                    Some(OperationKind::Push) => running(
                        OperationKind::Push,
                        StoredProgress::Receiving,
                        InstanceRecord {
                            package_uri: None,
                            ..record.clone()
                        },
                    ),
                    Some(kind) => {
                        running(*kind, StoredProgress::Running, without_operation(record))
                    }
                    None => without_operation(record),
                };
                let judged = record.update_state == UpdateState::Downloaded;
                let record = match judged {
                    true => InstanceRecord {
                        progress: None, // all bytes have come
                        ..record
                    },
                    false => record,
                };
                Instance::try_from(record).is_err()
            });
            let words: Vec<&str> = refused
                .map(|kind| kind.map_or("idle", OperationKind::as_str))
                .collect();
            words.join(", ")
        };
        let name = state.update_state.name();
        let in_place = with_software(state.clone());
        writeln!(
            text,
            "| {name} | {} | {} |",
            cannot(&state),
            cannot(&in_place)
        )
        .unwrap();
    }
    text
}

fn without_operation(record: &InstanceRecord) -> InstanceRecord {
    InstanceRecord {
        operation: None,
        progress: None,
        ..record.clone()
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the table is a file")]
fn the_documented_table_is_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/machine.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let documented = fs::read_to_string(&path).unwrap_or_default();
    for (number, (documented, code)) in documented.lines().zip(page.lines()).enumerate() {
        assert_eq!(
            documented,
            code,
            "docs/machine.md, line {}: UPDATE_DOCS=1 writes it anew",
            number + 1
        );
    }
    assert_eq!(
        documented.len(),
        page.len(),
        "docs/machine.md has another length"
    );
}

#[test]
fn no_two_cells_have_one_name() {
    let mut labels: Vec<String> = cells().iter().map(label).collect();
    let count = labels.len();
    labels.sort();
    labels.dedup();
    assert_eq!(labels.len(), count);
}
