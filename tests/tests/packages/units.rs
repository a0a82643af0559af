//! The units of a package, as systemctl stops and starts them for an administrator.

use wharf_tests::container::Container;

/// The units that were enabled, and those that ran.
#[derive(Debug, Default)]
pub(crate) struct Stopped {
    enabled: Vec<String>,
    ran: Vec<String>,
}

/// Prints the names and states of a package's units, in paragraphs.
const LIST: &str = r#"
units=$(dpkg -L "$PACKAGE" | sed -nE \
    -e 's,^(/usr)?/lib/systemd/system/([^/]*)@(\.[a-z]*)$,\2@*\3,p' \
    -e 's,^(/usr)?/lib/systemd/system/([^/@]*\.(service|socket|timer|path|target))$,\2,p' \
    -e 's,^/etc/init.d/([^/.]*)$,\1.service,p' | sort -u)
[ -z "$units" ] || printf '%s\n\n' "$units"
[ -z "$units" ] || systemctl show -p Id -p ActiveState -p UnitFileState -p TriggeredBy $units
"#;

/// A unit of a package on a device.
#[derive(Debug)]
pub(crate) struct Unit {
    name: String,
    is_enabled: bool,
    pub(crate) runs: bool,
    /// The units that start it when needed.
    triggers: Vec<String>,
}

/// The units of an installed package, and the loaded instances of its templates.
pub(crate) fn units_of(container: &Container, package: &str) -> Result<Vec<Unit>, String> {
    let listed = run(container, &format!("PACKAGE={package}\n{LIST}"))?;
    let (names, units) = listed.split_once("\n\n").unwrap_or_default();
    // A package may add a name to a unit of another package.
    let is_its = |id: &str| {
        names
            .lines()
            .any(|name| name == id || name == pattern_of(id))
    };
    let units = units.split("\n\n").filter_map(|unit| {
        let value = |property| unit.lines().find_map(|line| line.strip_prefix(property));
        let name = value("Id=").filter(|id| is_its(id))?;
        let active = value("ActiveState=").unwrap_or_default();
        let triggers = value("TriggeredBy=").unwrap_or_default();
        Some(Unit {
            name: name.to_owned(),
            is_enabled: value("UnitFileState=") == Some("enabled"),
            runs: ["active", "activating", "reloading"].contains(&active),
            triggers: triggers.split_whitespace().map(str::to_owned).collect(),
        })
    });
    Ok(units.collect())
}

impl Stopped {
    /// Disables and stops all units of the package.
    pub(crate) fn by_systemctl(container: &Container, package: &str) -> Result<Self, String> {
        let units = units_of(container, package)?;
        let names = |which: fn(&&Unit) -> bool| -> Vec<String> {
            units
                .iter()
                .filter(which)
                .map(|unit| unit.name.clone())
                .collect()
        };
        let stopped = Self {
            enabled: names(|unit| unit.is_enabled),
            ran: names(|unit| unit.runs),
        };
        systemctl(container, "disable", &stopped.enabled)?;
        // systemctl warns of those that would start a stopped unit again.
        let running = units.iter().filter(|unit| unit.runs);
        let triggers: Vec<&String> = running.flat_map(|unit| &unit.triggers).collect();
        systemctl(container, "stop", &triggers)?;
        systemctl(container, "stop", &stopped.ran)?;
        // To stop a unit may start another one (`OnFailure=`): an administrator stops it as well.
        let started = units_of(container, package)?;
        let started = started.into_iter().filter(|unit| unit.runs);
        let started: Vec<String> = started.map(|unit| unit.name).collect();
        systemctl(container, "stop", &started)?;
        Ok(stopped)
    }

    /// Enables and starts them again.
    pub(crate) fn again(&self, container: &Container) -> Result<(), String> {
        systemctl(container, "enable", &self.enabled)?;
        systemctl(container, "start", &self.ran)
    }
}

/// The pattern of an instance: `a@b.service` becomes `a@*.service`.
fn pattern_of(id: &str) -> String {
    match (id.split_once('@'), id.rsplit_once('.')) {
        (Some((stem, _)), Some((_, kind))) => format!("{stem}@*.{kind}"),
        _ => String::new(),
    }
}

pub(crate) fn systemctl(
    container: &Container,
    verb: &str,
    units: &[impl AsRef<str>],
) -> Result<(), String> {
    if units.is_empty() {
        return Ok(());
    }
    let units: Vec<&str> = units.iter().map(AsRef::as_ref).collect();
    run(
        container,
        &format!("systemctl --quiet {verb} {}", units.join(" ")),
    )
    .map(drop)
}

/// Runs a shell line inside. Returns its output, or all that it wrote if it failed.
pub(crate) fn run(container: &Container, line: &str) -> Result<String, String> {
    let output = container.try_sh(line);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!(
            "`{line}`: {}: {}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        )),
    }
}
