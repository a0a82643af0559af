//! Values as text for a person. wharfd has escaped and bounded all text from outside.

pub(crate) use wharf_clock::utc as time;

use crate::{
    kept::KeptVersion,
    model::{
        INSTALLED, PastOperation, ShownAgent, ShownHistory, ShownInstance, ShownOperation,
        ShownSoftware, ShownUnit, Snapshot,
    },
    style::{Style, Tone},
};

/// The text for a package with nothing for the service manager to start.
const NO_SERVICES: &str = "no services";

/// `wharfctl status`.
pub(crate) fn status(snapshot: &Snapshot, style: Style) -> String {
    let mut text = agent(&snapshot.agent);
    let worth_a_look = snapshot
        .instances
        .iter()
        .filter(|known| !known.is_settled() || known.has_failed());
    for instance in worth_a_look {
        if instance.name.is_some() {
            text += &format!("instance {}: ", instance.id);
        }
        text += &(at_in(instance, style) + "\n");
    }
    let installed = snapshot
        .instances
        .iter()
        .filter(|known| known.in_place.is_some());
    text += &format!(
        "{} of {} instances have software in place\n",
        installed.count(),
        snapshot.instances.len()
    );
    text
}

fn agent(agent: &ShownAgent) -> String {
    let package_manager = agent.package_manager.as_deref();
    let registration = match (agent.registered_since, &agent.registration_failure) {
        (Some(since), None) => format!("registered since {}", time(since)),
        (Some(_), Some(failure)) => format!("registered, but: {failure}"),
        (None, Some(failure)) => format!("not registered: {failure}"),
        (None, None) => "not registered yet".to_owned(),
    };
    let server = match agent.server.as_str() {
        "" => "no server".to_owned(),
        server => format!("server {server}: {registration}"),
    };
    format!(
        "wharfd {} as {}\n{server}\npackage manager: {}\n",
        agent.version,
        agent.endpoint,
        package_manager.unwrap_or("not known yet: the installer has not answered"),
    )
}

/// `wharfctl list`.
pub(crate) fn list(instances: &[ShownInstance], style: Style) -> String {
    let head = [
        "ID", "PACKAGE", "VERSION", "STATE", "IN PLACE", "RUNS", "REASON",
    ];
    let rows = instances.iter().map(|instance| {
        [
            Cell::from(instance.id.to_string()),
            dash(instance.name.as_deref()).into(),
            dash(instance.version.as_deref()).into(),
            Cell {
                text: stage(instance),
                tone: tone(instance),
            },
            in_place_version(instance).into(),
            runs(instance.in_place.as_ref()).into(),
            instance.status_reason.clone().into(),
        ]
    });
    const ELASTIC: [usize; 4] = [1, 2, 4, 6];
    Table::new(head, rows)
        .fit(style.columns, &ELASTIC)
        .text(style)
}

/// The version of the software in place, with its name if the instance has another package on its way.
fn in_place_version(instance: &ShownInstance) -> String {
    match &instance.in_place {
        None => dash(None),
        Some(software) if Some(&software.name) == instance.name.as_ref() => {
            software.version.clone()
        }
        Some(software) => software.to_string(),
    }
}

/// Update State and Update Result.
fn stage(instance: &ShownInstance) -> String {
    format!("{}/{}", instance.update_state_name, instance.update_result)
}

fn tone(instance: &ShownInstance) -> Tone {
    match (instance.has_failed(), instance.is_settled()) {
        (true, _) => Tone::Bad,
        (false, false) => Tone::Busy,
        (false, true) if instance.update_state == INSTALLED => Tone::Good,
        (false, true) => Tone::Plain,
    }
}

/// `wharfctl show`.
pub(crate) fn show(
    instance: &ShownInstance,
    kept: &[KeptVersion],
    operations: &[PastOperation],
    style: Style,
) -> String {
    let in_place = instance.in_place.as_ref().map(in_place);
    let state = format!("{} {}", instance.update_state, instance.update_state_name);
    let result = instance.update_result.to_string();
    let mut text = format!(
        "instance {}\n  package        {}\n  version        {}\n  update state   {}\n  update result  {}\n  \
         status reason  {}\n  active         {}\n  in place       {}\n",
        instance.id,
        dash(instance.name.as_deref()),
        dash(instance.version.as_deref()),
        style.paint(&state, tone(instance)),
        style.paint(&result, tone(instance)),
        instance.status_reason,
        active(instance),
        dash(in_place.as_deref()),
    );
    for component in &instance.components {
        let head = format!("component {}", component.id);
        let active = if component.active {
            "active"
        } else {
            "inactive"
        };
        text += &format!(
            "  {head:<15}{} {}, {active}\n",
            component.name, component.version
        );
    }
    if let Some(before) = kept.iter().find(|file| file.previous) {
        let (version, id) = (&before.version, instance.id);
        text += &format!("  goes back to   {version}: `wharfctl back {id}`\n");
    }
    if let Some(percent) = instance.percent {
        text += &format!("  done           {percent} %\n");
    }
    if !operations.is_empty() {
        text += "\n";
        let head = [
            "ACCEPTED",
            "OPERATION",
            "FOR",
            "STATE",
            "PACKAGE",
            "ID",
            "OUTCOME",
        ];
        text += &Table::new(head, operations.iter().map(row)).text(style);
    }
    text
}

fn row(kept: &PastOperation) -> [Cell; 7] {
    let operation = &kept.operation;
    let tone = match operation.end() {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Busy,
    };
    [
        time(operation.accepted_at).into(),
        operation.kind.clone().into(),
        format!("{} {}", operation.origin, operation.origin_id).into(),
        Cell {
            text: operation.state.clone(),
            tone,
        },
        dash(kept.package.as_deref()).into(),
        operation.id.clone().into(),
        dash(operation.outcome.as_deref()).into(),
    ]
}

/// `wharfctl units`.
pub(crate) fn units(units: &[ShownUnit], style: Style) -> String {
    let rows = units.iter().map(|unit| {
        let active = unit.active.as_deref().unwrap_or("-");
        let tone = match active {
            "active" => Tone::Good,
            "failed" => Tone::Bad,
            "activating" | "deactivating" | "reloading" => Tone::Busy,
            _ => Tone::Plain,
        };
        let sub = unit.sub.as_deref().map(|sub| format!(" ({sub})"));
        [
            Cell::from(unit.unit.clone()),
            dash(unit.enabled.as_deref()).into(),
            Cell {
                text: active.to_owned() + &sub.unwrap_or_default(),
                tone,
            },
            match unit.wharfd.is_empty() {
                true => dash(None).into(),
                false => unit.wharfd.join("; ").into(),
            },
        ]
    });
    Table::new(["UNIT", "AT BOOT", "NOW", "WHARFD"], rows).text(style)
}

/// `wharfctl history`.
pub(crate) fn history(lines: &[ShownHistory], style: Style) -> String {
    let head = [
        "TIME", "ID", "PACKAGE", "VERSION", "STATE", "RESULT", "REASON",
    ];
    let rows = lines.iter().map(|line| {
        let tone = match line.update_result {
            50.. => Tone::Bad,
            _ => Tone::Plain,
        };
        [
            Cell::from(time(line.at)),
            line.instance.to_string().into(),
            dash(line.name.as_deref()).into(),
            dash(line.version.as_deref()).into(),
            Cell {
                text: line.update_state_name.to_owned(),
                tone,
            },
            Cell {
                text: line.update_result.to_string(),
                tone,
            },
            line.status_reason.clone().into(),
        ]
    });
    Table::new(head, rows).text(style)
}

/// The state of an instance, in one line.
pub(crate) fn at(instance: &ShownInstance) -> String {
    at_in(instance, Style::PLAIN)
}

/// The same, with the colours of the screen.
pub(crate) fn at_in(instance: &ShownInstance, style: Style) -> String {
    format!(
        "{}, {}, {}",
        instance.title(),
        style.paint(&stage(instance), tone(instance)),
        instance.status_reason
    )
}

/// The end of an operation that failed. The instance may be deleted, or run another operation.
pub(crate) fn ended(operation: &ShownOperation, instance: Option<&ShownInstance>) -> String {
    let why = operation.outcome.as_deref().unwrap_or_default();
    match instance {
        Some(instance) if instance.status_reason == why => at(instance),
        _ => format!(
            "instance {}: {} failed: {why}",
            operation.instance, operation.kind
        ),
    }
}

/// The changes of an operation beside its package; only root is told.
pub(crate) fn beside<'a>(
    operation: &'a ShownOperation,
    instance: Option<&ShownInstance>,
) -> Option<&'a str> {
    let outcome = operation.outcome.as_deref()?;
    outcome
        .strip_prefix(instance?.status_reason.as_str())?
        .strip_prefix("; ")
}

/// A progress bar, in a line of at most this many columns.
pub(crate) fn bar(instance: &ShownInstance, columns: usize) -> String {
    const WIDTH: usize = 30;
    let percent = instance.percent.map(|percent| percent.min(100));
    let done = WIDTH * usize::from(percent.unwrap_or(0)) / 100;
    let percent = percent.map_or_else(String::new, |percent| format!("{percent:>3} %"));
    let bar = format!(
        "{:>3}  [{}{}] {percent:<5}  {}",
        instance.id,
        "#".repeat(done),
        " ".repeat(WIDTH - done),
        instance.status_reason
    );
    bar.chars().take(columns).collect()
}

fn dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// Activation State. It means nothing for software without services.
fn active(instance: &ShownInstance) -> String {
    let in_place = instance.in_place.as_ref();
    match in_place.is_some_and(|software| software.no_services) {
        true => NO_SERVICES,
        false if instance.active => "yes",
        false => "no",
    }
    .to_owned()
}

/// Whether the software in place runs, in a word.
fn runs(in_place: Option<&ShownSoftware>) -> String {
    match in_place {
        None => "-",
        Some(software) if software.no_services => NO_SERVICES,
        Some(software) if software.runs => "yes",
        Some(_) => "no",
    }
    .to_owned()
}

fn in_place(software: &ShownSoftware) -> String {
    let runs = match (software.no_services, software.runs) {
        (true, _) => NO_SERVICES,
        (false, true) => "runs",
        (false, false) => "does not run",
    };
    format!("{software}, {runs}")
}

/// One cell of a table.
struct Cell {
    text: String,
    tone: Tone,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            tone: Tone::Plain,
        }
    }
}

/// Rows of cells. Each column is as wide as its widest cell, or narrower.
struct Table<const N: usize> {
    rows: Vec<[Cell; N]>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    fn new(head: [&str; N], rows: impl Iterator<Item = [Cell; N]>) -> Self {
        let mut all = vec![head.map(|name| Cell::from(name.to_owned()))];
        all.extend(rows);
        let mut widths = [0; N];
        for row in &all {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.chars().count().max(*width);
            }
        }
        Self { rows: all, widths }
    }

    /// Narrows the widest of the elastic columns until a line fits into this many columns.
    fn fit(mut self, columns: usize, elastic: &[usize]) -> Self {
        const NARROWEST: usize = 8;
        while self.widths.iter().sum::<usize>() + GAP.len() * N.saturating_sub(1) > columns {
            let widths = self.widths.iter_mut().enumerate();
            let elastic = widths.filter(|(column, _)| elastic.contains(column));
            match elastic.map(|(_, width)| width).max_by_key(|width| **width) {
                Some(width) if *width > NARROWEST => *width -= 1,
                _ => break,
            }
        }
        self
    }

    /// The rows as text. The last column has no padding.
    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(self.widths) {
                let shown = cut(&cell.text, width);
                let padding = " ".repeat(width.saturating_sub(shown.chars().count()));
                line += &(style.paint(&shown, cell.tone) + &padding + GAP);
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// The gap between two columns.
const GAP: &str = "  ";

/// The text, cut and ended by `…` if it is wider.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ComponentRow;

    fn at_percent(percent: Option<u8>) -> ShownInstance {
        ShownInstance {
            id: 3,
            update_state: 1,
            update_state_name: "DOWNLOAD STARTED".to_owned(),
            update_result: 1,
            status_reason: "30: downloading".to_owned(),
            operation: Some("0".repeat(32)),
            percent,
            ..ShownInstance::empty()
        }
    }

    #[test]
    fn a_bar_is_as_long_as_the_work_is_done() {
        for (percent, full, said) in [
            (Some(0), 0, "]   0 %  30"),
            (Some(50), 15, "]  50 %  30"),
            (Some(100), 30, "] 100 %  30"),
            (None, 0, "]        30"),
        ] {
            let bar = bar(&at_percent(percent), 80);
            assert_eq!(bar.matches('#').count(), full, "{bar}");
            assert!(bar.contains(said), "{bar}");
        }
    }

    #[test]
    fn a_bar_is_one_line_of_the_terminal() {
        let mut instance = at_percent(Some(50));
        instance.status_reason = "10: waiting for attempt 3 of 8, since …".repeat(9);
        for columns in [0, 1, 20, 59, 120] {
            assert_eq!(bar(&instance, columns).chars().count(), columns);
        }
    }

    #[test]
    fn software_without_services_is_neither_active_nor_inactive() {
        let mut instance = at_percent(None);
        for (no_services, runs, row, line) in [
            (false, false, "no", "hello 1.0-1, does not run"),
            (false, true, "yes", "hello 1.0-1, runs"),
            (true, false, "no services", "hello 1.0-1, no services"),
            (true, true, "no services", "hello 1.0-1, no services"),
        ] {
            instance.active = runs;
            instance.in_place = Some(ShownSoftware {
                name: "hello".to_owned(),
                version: "1.0-1".to_owned(),
                runs,
                no_services,
            });
            let file = |version: &str, previous| KeptVersion {
                version: version.to_owned(),
                previous,
                bytes: 7,
            };
            let kept = [file("1.0-1", false), file("0.9-1", true)];
            let shown = show(&instance, &kept, &[], Style::PLAIN);
            let back = format!("  goes back to   0.9-1: `wharfctl back {}`\n", instance.id);
            assert!(shown.contains(&back), "{shown}");
            let shown = show(&instance, &kept[..1], &[], Style::PLAIN);
            assert!(!shown.contains("goes back"), "{shown}");
            assert!(
                shown.contains(&format!("  active         {row}\n")),
                "{shown}"
            );
            assert!(
                shown.contains(&format!("  in place       {line}\n")),
                "{shown}"
            );
        }
    }

    #[test]
    fn each_component_is_a_line_with_its_id() {
        let mut instance = at_percent(None);
        instance.components = [(0, "php", true), (12, "web", false)]
            .map(|(id, name, active)| ComponentRow {
                id,
                name: name.to_owned(),
                version: "1.0".to_owned(),
                active,
            })
            .into();
        let shown = show(&instance, &[], &[], Style::PLAIN);
        let expected = "  component 0    php 1.0, active\n  component 12   web 1.0, inactive\n";
        assert!(shown.contains(expected), "{shown}");
    }

    fn cells<const N: usize>(texts: [&str; N]) -> [Cell; N] {
        texts.map(|text| Cell::from(text.to_owned()))
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [cells(["1", "é"]), cells(["12345", "x"])];
        assert_eq!(
            Table::new(["ID", "N"], rows.into_iter()).text(Style::PLAIN),
            "ID     N\n1      é\n12345  x\n"
        );
    }

    #[test]
    fn the_widest_elastic_columns_are_cut_until_a_line_fits() {
        for (columns, expected) in [
            (
                40,
                "N      NAME        REASON\nfixed  abcdefghij  abcdefghijklmn\n",
            ),
            (
                33,
                "N      NAME        REASON\nfixed  abcdefghij  abcdefghijklmn\n",
            ),
            (
                32,
                "N      NAME        REASON\nfixed  abcdefghij  abcdefghijkl…\n",
            ),
            (26, "N      NAME       REASON\nfixed  abcdefgh…  abcdefg…\n"),
            (9, "N      NAME      REASON\nfixed  abcdefg…  abcdefg…\n"),
        ] {
            let rows = [cells(["fixed", "abcdefghij", "abcdefghijklmn"])];
            let table = Table::new(["N", "NAME", "REASON"], rows.into_iter());
            assert_eq!(
                table.fit(columns, &[1, 2]).text(Style::PLAIN),
                expected,
                "{columns}"
            );
        }
    }

    #[test]
    fn a_colour_takes_no_room() {
        let mut row = cells(["a", "b"]);
        row[0].tone = Tone::Bad;
        let style = Style {
            colours: true,
            ..Style::PLAIN
        };
        assert_eq!(
            Table::new(["ID", "N"], [row].into_iter()).text(style),
            "ID  N\n\u{1b}[31ma\u{1b}[0m   b\n"
        );
    }

    #[test]
    fn a_list_says_what_is_in_place_in_80_columns() {
        let mut instance = at_percent(None);
        instance.name = Some("acme-measurements-collector".to_owned());
        instance.version = Some("1:2.10.3-4+deb12u1".to_owned());
        instance.update_state_name = "DELIVERED".to_owned();
        instance.status_reason = "60: acme-measurements-collector is held".repeat(4);
        instance.in_place = Some(ShownSoftware {
            name: "acme-measurements-collector".to_owned(),
            version: "1.9".to_owned(),
            runs: true,
            no_services: false,
        });
        let listed = list(&[instance], Style::PLAIN);
        let [head, line] = listed.lines().collect::<Vec<_>>()[..] else {
            panic!("{listed}");
        };
        assert!(line.chars().count() <= 80 && line.ends_with('…'), "{line}");
        let at = head.find("IN PLACE").unwrap();
        let before: String = line.chars().skip(at).collect();
        assert!(before.starts_with("1.9       yes  "), "{listed}");
    }
}
