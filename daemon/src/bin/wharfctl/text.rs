//! Values as a person reads them. Text from outside was escaped and bounded by wharfd.

use crate::model::{Agent, HistoryLine, InPlace, Instance, Operation, Snapshot};

/// A package that brings nothing for the service manager to start.
const NO_SERVICES: &str = "no services";

/// `wharfctl status`.
pub(crate) fn status(snapshot: &Snapshot) -> String {
    let mut text = agent(&snapshot.agent);
    let worth_a_look = snapshot
        .instances
        .iter()
        .filter(|known| !known.is_settled() || known.has_failed());
    for instance in worth_a_look {
        if instance.name.is_some() {
            text += &format!("instance {}: ", instance.id);
        }
        text += &(at(instance) + "\n");
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

fn agent(agent: &Agent) -> String {
    let backend = agent.backend.as_deref();
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
        backend.unwrap_or("not known yet: the installer has not answered"),
    )
}

/// `wharfctl list`.
pub(crate) fn list(instances: &[Instance]) -> String {
    let head = [
        "ID", "PACKAGE", "VERSION", "STATE", "RESULT", "ACTIVE", "REASON",
    ];
    let rows = instances.iter().map(|instance| {
        [
            instance.id.to_string(),
            dash(instance.name.as_deref()),
            dash(instance.version.as_deref()),
            instance.update_state_name.clone(),
            instance.update_result.to_string(),
            active(instance),
            instance.status_reason.clone(),
        ]
    });
    table(head, rows)
}

/// `wharfctl show`.
pub(crate) fn show(instance: &Instance, operations: &[&Operation]) -> String {
    let in_place = instance.in_place.as_ref().map(in_place);
    let mut text = format!(
        "instance {}\n  package        {}\n  version        {}\n  update state   {} {}\n  update result  {}\n  \
         status reason  {}\n  active         {}\n  in place       {}\n",
        instance.id,
        dash(instance.name.as_deref()),
        dash(instance.version.as_deref()),
        instance.update_state,
        instance.update_state_name,
        instance.update_result,
        instance.status_reason,
        active(instance),
        dash(in_place.as_deref()),
    );
    if let Some(percent) = instance.percent {
        text += &format!("  done           {percent} %\n");
    }
    if !operations.is_empty() {
        text += "\n";
        text += &table(
            ["ACCEPTED", "OPERATION", "FOR", "STATE", "ID", "OUTCOME"],
            operations.iter().map(|operation| row(operation)),
        );
    }
    text
}

fn row(operation: &Operation) -> [String; 6] {
    [
        time(operation.accepted_at),
        operation.kind.clone(),
        format!("{} {}", operation.origin, operation.origin_id),
        operation.state.clone(),
        operation.id.clone(),
        dash(operation.outcome.as_deref()),
    ]
}

/// `wharfctl history`.
pub(crate) fn history(lines: &[HistoryLine]) -> String {
    let head = [
        "TIME", "ID", "PACKAGE", "VERSION", "STATE", "RESULT", "REASON",
    ];
    let rows = lines.iter().map(|line| {
        [
            time(line.at),
            line.instance.to_string(),
            dash(line.name.as_deref()),
            dash(line.version.as_deref()),
            line.update_state_name.to_owned(),
            line.update_result.to_string(),
            line.status_reason.clone(),
        ]
    });
    table(head, rows)
}

/// Where an instance is, in a line.
pub(crate) fn at(instance: &Instance) -> String {
    format!(
        "{}, {}/{}, {}",
        instance.title(),
        instance.update_state_name,
        instance.update_result,
        instance.status_reason
    )
}

/// A progress bar, in a line that has at most so many columns.
pub(crate) fn bar(instance: &Instance, columns: usize) -> String {
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

/// Activation State. Of software without services it tells nothing.
fn active(instance: &Instance) -> String {
    let in_place = instance.in_place.as_ref();
    match in_place.is_some_and(|software| software.no_services) {
        true => NO_SERVICES,
        false if instance.active => "yes",
        false => "no",
    }
    .to_owned()
}

fn in_place(software: &InPlace) -> String {
    let runs = match (software.no_services, software.runs) {
        (true, _) => NO_SERVICES,
        (false, true) => "runs",
        (false, false) => "does not run",
    };
    format!("{software}, {runs}")
}

/// Columns as wide as their widest cell; the last one ends with its text.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Seconds since 1970 as RFC 3339 in UTC: gateways seldom know where they are.
pub(crate) fn time(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date of a day since 1970-01-01: years from March, so that February's end is the year's.
const fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // since 0000-03-01
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    match month < 10 {
        true => (era * 400 + year, month + 3, of_month),
        false => (era * 400 + year + 1, month - 9, of_month),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_793_491_199, "2026-10-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }

    fn at_percent(percent: Option<u8>) -> Instance {
        Instance {
            id: 3,
            name: None,
            version: None,
            update_state: 1,
            update_state_name: "DOWNLOAD STARTED".to_owned(),
            update_result: 1,
            status_reason: "30: downloading".to_owned(),
            active: false,
            in_place: None,
            busy: false,
            operation: Some("0".repeat(32)),
            percent,
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
        instance.status_reason = "10: waiting for the next attempt, since …".repeat(9);
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
            instance.in_place = Some(InPlace {
                name: "hello".to_owned(),
                version: "1.0-1".to_owned(),
                runs,
                no_services,
            });
            let shown = show(&instance, &[]);
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
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["1".to_owned(), "é".to_owned()],
            ["12345".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            table(["ID", "N"], rows.into_iter()),
            "ID     N\n1      é\n12345  x\n"
        );
    }
}
