//! systemd, by systemctl. As root, systemctl uses systemd's own socket, so it works during an upgrade of D-Bus and without
//! D-Bus. This module knows no packages.

use std::{collections::BTreeSet, io, process::Output, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wharf_frames::{Cause, Failure};
use wharf_root::{
    Root, limits,
    process::{self, Growth, Printed},
};

use super::{gate::Ours, names::Names, triggers::Trigger, unit_name::UnitName};

/// The systemd of this machine.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub(super) root: Root,
}

/// The state of a unit (systemctl(1), show).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct UnitState {
    /// `active`, `inactive`, `failed`, `activating`, …
    pub(super) active: String,
    /// `running`, `exited`, `waiting`, `auto-restart`, …
    pub(super) sub: String,
    /// `enabled`, `disabled`, `static`, `masked`, …
    pub(super) file: String,
    /// `simple`, `oneshot`, …; empty if it is no service.
    kind: String,
    /// It stays active after its program has ended.
    remains: bool,
    /// Its program has run and ended since boot.
    has_run: bool,
    /// `success`, `exit-code`, `timeout`, …
    pub(super) result: String,
    /// The number of automatic restarts.
    pub(super) restarts: String,
    /// Its last start.
    pub(super) invocation: String,
    /// The time of that in microseconds since boot; `0` if it never was active.
    pub(super) active_at: String,
    /// A start or stop of it is queued.
    has_job: bool,
    /// The time of the last check of its conditions; `0` if systemd does not know it.
    pub(super) condition_at: String,
    /// The conditions were met then.
    met: bool,
    /// Units that start it.
    pub(super) pulled_by: Vec<String>,
    /// A socket, a timer or a path starts it when needed.
    is_triggered: bool,
}

const PROPERTIES: &str = "--property=Id,ActiveState,SubState,UnitFileState,Type,RemainAfterExit,Result,NRestarts,\
                          ExecMainExitTimestampMonotonic,ConditionResult,ConditionTimestampMonotonic,Job,\
                          InvocationID,ActiveEnterTimestampMonotonic,\
                          WantedBy,RequiredBy,UpheldBy,TriggeredBy";

/// All but the first two: units that start it, or stop with it.
const OF_TRIGGERS: &str = "--property=Id,Accept,Triggers,WantedBy,RequiredBy,RequisiteOf,BoundBy,UpheldBy,ConsistsOf,PropagatesStopTo";

impl UnitState {
    /// It is up, by its type: a oneshot has run, any other unit is active.
    pub(super) fn is_up(&self) -> bool {
        match self.active.as_str() {
            _ if self.is_active() => true,
            "inactive" => {
                self.is_oneshot() && !self.remains && self.has_run && self.result == "success"
            }
            _ => false,
        }
    }

    /// It runs, waits or listens, or is a oneshot that counts as active after its end.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }

    /// It is about to be up: the device is starting, or somebody has just started it.
    pub(super) fn is_coming(&self) -> bool {
        match self.active.as_str() {
            "activating" => self.sub != "auto-restart",
            "inactive" => self.has_job,
            _ => false,
        }
    }

    /// It is down, and systemd rejects every start (systemctl(1), `mask`).
    pub(super) fn is_masked(&self) -> bool {
        matches!(self.file.as_str(), "masked" | "masked-runtime") && self.is_at_rest()
    }

    /// systemd skipped its start, since a condition was not met.
    pub(super) fn is_skipped(&self) -> bool {
        let is_unmet = !self.met && !self.is_condition_unknown();
        self.is_at_rest() && (is_unmet || self.is_skipped_by_command())
    }

    /// The condition was a command that returned no (systemd.service(5), `ExecCondition=`).
    pub(super) fn is_skipped_by_command(&self) -> bool {
        self.result == "exec-condition"
    }

    /// systemd forgets a unit, with its last start, if it is not active and no loaded unit names it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.is_at_rest() && self.is_condition_unknown() && self.pulled_by.is_empty()
    }

    /// It is a oneshot, and systemd has forgotten whether it ran.
    pub(super) fn is_forgotten_oneshot(&self) -> bool {
        self.is_forgotten() && self.is_oneshot()
    }

    /// It could run, but somebody disabled or stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        // A unit that is never enabled, and that another unit starts: systemd has checked it since boot.
        let is_linked = matches!(self.file.as_str(), "generated" | "static")
            && !self.pulled_by.is_empty()
            && !self.is_condition_unknown();
        let could_run =
            self.is_disabled() || (self.is_enabled() && !self.is_forgotten()) || is_linked;
        could_run && !self.is_triggered && self.is_at_rest() && !self.is_up() && !self.is_skipped()
    }

    fn is_at_rest(&self) -> bool {
        self.active == "inactive" && !self.has_job
    }

    fn is_condition_unknown(&self) -> bool {
        matches!(self.condition_at.as_str(), "" | "0")
    }

    /// It is up, or about to be.
    pub(super) fn is_up_or_coming(&self) -> bool {
        self.is_up() || self.is_coming()
    }

    /// The reason why a started unit is not up.
    pub(super) fn why_not_up(&self) -> String {
        let is = format!("{} ({}, {})", self.active, self.sub, self.result);
        match self.is_coming() {
            _ if self.is_active() => format!("did not stay up, and was started again: {is}"),
            true => format!(
                "is not up: {is}; its start may take {} s",
                limits::UNIT_START.as_secs()
            ),
            false => format!("did not stay up: {is}"),
        }
    }

    /// Its file lets it start at boot.
    pub(super) fn may_start_at_boot(&self) -> bool {
        !matches!(
            self.file.as_str(),
            "disabled" | "masked" | "masked-runtime" | "bad" | ""
        )
    }

    /// Somebody enabled it.
    pub(super) fn is_enabled(&self) -> bool {
        matches!(self.file.as_str(), "enabled" | "enabled-runtime")
    }

    /// It can be enabled, and is not.
    pub(super) fn is_disabled(&self) -> bool {
        matches!(self.file.as_str(), "disabled" | "indirect")
    }

    /// It is a service that counts as started with its program (systemd.service(5), `Type=`).
    pub(super) fn is_started_unseen(&self) -> bool {
        matches!(self.kind.as_str(), "simple" | "exec" | "idle")
    }

    /// It runs, or listens for a unit that it starts.
    pub(super) fn runs(&self) -> bool {
        !matches!(self.active.as_str(), "inactive" | "failed" | "")
    }

    fn is_oneshot(&self) -> bool {
        self.kind == "oneshot"
    }
}

impl Manager {
    /// The systemd of this root, if systemd runs the machine.
    pub(super) fn of(root: &Root) -> Option<Self> {
        let runs = root.is_system() && root.path("run/systemd/system").is_dir();
        runs.then(|| Self { root: root.clone() })
    }

    /// Reloads all units.
    pub(super) fn reload(&self) -> Result<(), Failure> {
        self.order("daemon-reload", &[])
    }

    /// The states of these units, in their order. Templates have no state.
    pub(super) fn states(&self, units: &[UnitName]) -> Result<Vec<UnitState>, Failure> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let names = units.iter().map(UnitName::as_str);
        let output = self.ask(["show", PROPERTIES, "--"].into_iter().chain(names))?;
        let states = parse(&String::from_utf8_lossy(&output.stdout));
        match states.len() == units.len() {
            true => Ok(states),
            false => Err(complaint("show", units, &output)),
        }
    }

    /// Those of these units for which this holds.
    pub(super) fn those(
        &self,
        units: &Ours,
        holds: impl Fn(&UnitState) -> bool,
    ) -> Result<Ours, Failure> {
        let states = self.states(units.units())?;
        let those = units.units().iter().zip(&states);
        let those: BTreeSet<&UnitName> = those
            .filter(|(_, state)| holds(state))
            .map(|(unit, _)| unit)
            .collect();
        Ok(units.only(|unit| those.contains(unit)))
    }

    /// Adds all names of these units, none of them a template. systemd loads them for this.
    pub(super) fn add_names(&self, units: &[UnitName], names: &mut Names) -> Result<(), Failure> {
        if units.is_empty() {
            return Ok(());
        }
        let asked = units.iter().map(UnitName::as_str);
        let properties = ["show", "--property=Id,Names,LoadState,FragmentPath", "--"];
        let output = self.ask(properties.into_iter().chain(asked))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Vec<Loaded<'_>> = blocks(&text).map(loaded).collect();
        if found.len() != units.len() {
            return Err(complaint("show", units, &output));
        }
        for Loaded { id, all, fragment } in found {
            names.add_loaded(id, all.split_whitespace(), fragment);
        }
        Ok(())
    }

    /// The triggers among these units, none of them a template. Those that systemd cannot load are left out.
    pub(super) fn triggers(&self, units: &[UnitName]) -> Result<Vec<Trigger>, Failure> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let asked = units.iter().map(UnitName::as_str);
        let output = self.ask(["show", OF_TRIGGERS, "--"].into_iter().chain(asked))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Vec<Trigger> = blocks(&text).map(trigger).collect();
        match found.is_empty() {
            true => Err(complaint("show", units, &output)),
            false => Ok(found),
        }
    }

    /// The loaded instances of these templates.
    pub(super) fn loaded_instances(
        &self,
        templates: &[UnitName],
    ) -> Result<BTreeSet<UnitName>, Failure> {
        if templates.is_empty() {
            return Ok(BTreeSet::new());
        }
        let patterns: Vec<String> = templates.iter().map(UnitName::instances).collect();
        let list = [
            "list-units",
            "--all",
            "--full",
            "--plain",
            "--no-legend",
            "--",
        ];
        let output = self.ask(list.into_iter().chain(patterns.iter().map(String::as_str)))?;
        if !output.status.success() {
            return Err(complaint("list-units", templates, &output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        Ok(names.filter_map(UnitName::new).collect())
    }

    /// Enables them.
    pub(super) fn enable(&self, units: &Ours) -> Result<(), Failure> {
        self.order("enable", units.units())
    }

    /// Disables them.
    pub(super) fn disable(&self, units: &Ours) -> Result<(), Failure> {
        self.order("disable", units.units())
    }

    /// Resets earlier failures, which would reject a start (systemd.unit(5), `StartLimitBurst=`).
    pub(super) fn forget_failures(&self, units: &Ours) -> Result<(), Failure> {
        let failed = self.those(units, |state| state.active == "failed")?;
        self.order("reset-failed", failed.units())
    }

    /// Starts them, and waits until each has started or failed, with a timeout. Returns whether all jobs of systemd were done:
    /// systemd may forget a oneshot right afterwards. [`Manager::states`] has the states.
    pub(super) fn start(&self, units: &Ours, limit: Duration) -> Result<bool, Failure> {
        self.begin("start", units, limit)
    }

    /// Stops them, and waits, with a timeout. A template has no state: the units contain its instances.
    pub(super) fn stop(&self, units: &Ours, limit: Duration) -> Result<(), Failure> {
        self.begin("stop", units, limit).map(drop)
    }

    /// Stops the running ones. A stop of a unit at rest would stop the units that require it (systemd.unit(5), `Requires=`).
    pub(super) fn stop_running(&self, units: &Ours, limit: Duration) -> Result<(), Failure> {
        self.stop(&self.those(units, UnitState::runs)?, limit)
    }

    /// The last lines of the programs of a unit.
    pub(super) fn last_words(&self, unit: &UnitName) -> String {
        let said = self.said(3, &[&format!("_SYSTEMD_UNIT={unit}")]);
        said.replace('\n', "; ")
    }

    /// The last lines of this boot's journal that match all of these fields; options of journalctl may be among them.
    pub(super) fn said(&self, lines: u32, fields: &[&str]) -> String {
        let lines = lines.to_string();
        let last = ["--no-pager", "-o", "cat", "-b", "-n", lines.as_str()];
        // A program may end before the journal has written its lines.
        let output = process::ask(&self.root, "journalctl", ["--sync"]).and_then(|_| {
            let arguments = last.iter().chain(fields);
            process::ask(&self.root, "journalctl", arguments)
        });
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    fn order(&self, verb: &str, units: &[UnitName]) -> Result<(), Failure> {
        if units.is_empty() && verb != "daemon-reload" {
            return Ok(());
        }
        let names = units.iter().map(UnitName::as_str);
        let output = self.ask(["--quiet", verb, "--"].into_iter().chain(names))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(complaint(verb, units, &output)),
        }
    }

    pub(super) fn ask<'a>(
        &self,
        arguments: impl Iterator<Item = &'a str>,
    ) -> Result<Output, Failure> {
        let arguments = ["--no-ask-password", "--no-pager"]
            .into_iter()
            .chain(arguments);
        process::ask(&self.root, "systemctl", arguments).map_err(|error| not_started(&error))
    }

    /// A job of systemd continues after the timeout of systemctl. Returns whether systemctl succeeded.
    fn begin(&self, verb: &str, units: &Ours, limit: Duration) -> Result<bool, Failure> {
        if units.is_empty() {
            return Ok(true);
        }
        let begin = || -> io::Result<bool> {
            let printed = Printed::new(self.root.run().join("systemctl.output"))?;
            let files = [&printed];
            let growth = Growth::of(&files)?;
            let mut child = process::program(&self.root, "systemctl")
                .args(["--no-ask-password", "--no-pager", "--quiet", verb, "--"])
                .args(units.in_order().map(UnitName::as_str))
                .stdout(printed.writer()?)
                .stderr(printed.writer()?)
                .spawn()?;
            let code = process::wait(&mut child, &growth, limit, || (), end)?;
            Ok(code == Some(0))
        };
        begin().map_err(|error| not_started(&error))
    }
}

fn end(systemctl: u32) {
    if let Ok(pid) = i32::try_from(systemctl) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // it may be over by now
    }
}

/// The names of a unit, and the path of its file.
#[derive(Default)]
struct Loaded<'a> {
    id: &'a str,
    all: &'a str,
    fragment: &'a str,
}

fn loaded(block: &str) -> Loaded<'_> {
    let (mut loaded, mut is_masked) = (Loaded::default(), false);
    for (property, value) in block.lines().filter_map(|line| line.split_once('=')) {
        match property {
            "Id" => loaded.id = value,
            "Names" => loaded.all = value,
            "FragmentPath" => loaded.fragment = value,
            "LoadState" => is_masked = value == "masked",
            _ => {}
        }
    }
    if is_masked {
        loaded.fragment = ""; // it names the mask
    }
    loaded
}

fn trigger(block: &str) -> Trigger {
    let mut trigger = Trigger::default();
    for (property, value) in block.lines().filter_map(|line| line.split_once('=')) {
        let units = value.split_whitespace().map(str::to_owned);
        match property {
            "Id" => value.clone_into(&mut trigger.id),
            "Accept" => trigger.accepts = value == "yes",
            "Triggers" => trigger.starts.extend(units),
            _ => trigger.needed_by.extend(units),
        }
    }
    trigger
}

/// Blocks of `Property=value`, with an empty line between them.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.trim().split("\n\n");
    blocks.filter(|block| !block.is_empty())
}

fn parse(text: &str) -> Vec<UnitState> {
    blocks(text).map(unit_state).collect()
}

fn unit_state(block: &str) -> UnitState {
    let mut state = UnitState::default();
    for line in block.lines() {
        let Some((property, value)) = line.split_once('=') else {
            continue;
        };
        let field = match property {
            "ActiveState" => &mut state.active,
            "SubState" => &mut state.sub,
            "UnitFileState" => &mut state.file,
            "Type" => &mut state.kind,
            "Result" => &mut state.result,
            "NRestarts" => &mut state.restarts,
            "ConditionTimestampMonotonic" => &mut state.condition_at,
            "InvocationID" => &mut state.invocation,
            "ActiveEnterTimestampMonotonic" => &mut state.active_at,
            "ConditionResult" => {
                state.met = value == "yes";
                continue;
            }
            "TriggeredBy" => {
                state.is_triggered = !value.is_empty();
                continue;
            }
            "RemainAfterExit" => {
                state.remains = value == "yes";
                continue;
            }
            "ExecMainExitTimestampMonotonic" => {
                state.has_run = !matches!(value, "" | "0");
                continue;
            }
            "Job" => {
                state.has_job = !matches!(value, "" | "0");
                continue;
            }
            "WantedBy" | "RequiredBy" | "UpheldBy" => {
                state
                    .pulled_by
                    .extend(value.split_whitespace().map(str::to_owned));
                continue;
            }
            _ => continue,
        };
        value.clone_into(field);
    }
    state
}

fn complaint(verb: &str, units: &[UnitName], output: &Output) -> Failure {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    let words = String::from_utf8_lossy(&output.stderr);
    let detail = format!(
        "systemctl {verb} {} failed: {}",
        names.join(" "),
        words.trim()
    );
    Failure::new(Cause::Unit, detail)
}

fn not_started(error: &io::Error) -> Failure {
    Failure::new(Cause::Unit, format!("cannot run systemctl: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAN: &str = "Result=success\nExecMainExitTimestampMonotonic=9";
    const REMAINS: &str = "Result=success\nExecMainExitTimestampMonotonic=9\nRemainAfterExit=yes";

    #[test]
    fn each_type_of_unit_is_up_in_its_own_way() {
        for (kind, active, sub, more, up, coming) in [
            ("simple", "active", "running", "", true, false),
            ("notify", "activating", "start", "", false, true),
            ("simple", "activating", "auto-restart", "", false, false),
            ("simple", "failed", "failed", "", false, false),
            ("simple", "inactive", "dead", RAN, false, false),
            ("oneshot", "inactive", "dead", RAN, true, false),
            (
                "oneshot",
                "inactive",
                "dead",
                "Result=success",
                false,
                false,
            ),
            ("oneshot", "inactive", "dead", REMAINS, false, false),
            ("oneshot", "active", "exited", REMAINS, true, false),
            ("oneshot", "activating", "start", "", false, true),
            ("oneshot", "failed", "failed", RAN, false, false),
            ("", "active", "waiting", "", true, false),
            ("", "active", "listening", "", true, false),
            ("", "inactive", "dead", "", false, false),
            ("", "inactive", "dead", "Job=17", false, true),
        ] {
            let text = format!("Type={kind}\nActiveState={active}\nSubState={sub}\n{more}\n");
            let state = unit_state(&text);
            assert_eq!((state.is_up(), state.is_coming()), (up, coming), "{text}");
        }
    }

    #[test]
    fn a_unit_that_is_not_up_says_how_it_stands_and_what_a_start_may_take() {
        for (state, expected) in [
            (
                "Type=oneshot\nActiveState=activating\nSubState=start\nResult=success",
                "is not up: activating (start, success); its start may take 180 s",
            ),
            (
                "Type=oneshot\nActiveState=failed\nSubState=failed\nResult=exit-code",
                "did not stay up: failed (failed, exit-code)",
            ),
            (
                "Type=simple\nActiveState=activating\nSubState=auto-restart\nResult=exit-code",
                "did not stay up: activating (auto-restart, exit-code)",
            ),
            (
                "Type=simple\nActiveState=active\nSubState=running\nResult=success",
                "did not stay up, and was started again: active (running, success)",
            ),
        ] {
            assert_eq!(unit_state(state).why_not_up(), expected, "{state}");
        }
    }

    #[test]
    fn a_unit_is_skipped_where_systemd_looked_at_its_conditions_and_they_were_not_met() {
        const NEVER: &str = "ConditionResult=no\nConditionTimestampMonotonic=0";
        const UNMET: &str = "ConditionResult=no\nConditionTimestampMonotonic=7";
        const MET: &str = "ConditionResult=yes\nConditionTimestampMonotonic=7";
        for (active, more, skipped, forgotten) in [
            ("inactive", UNMET.to_owned(), true, false),
            ("inactive", MET.to_owned(), false, false),
            (
                "inactive",
                format!("{MET}\nResult=exec-condition"),
                true,
                false,
            ),
            (
                "activating",
                format!("{MET}\nResult=exec-condition"),
                false,
                false,
            ),
            ("inactive", NEVER.to_owned(), false, true),
            (
                "inactive",
                format!("{NEVER}\nWantedBy=a.target"),
                false,
                false,
            ),
            ("inactive", format!("{UNMET}\nJob=17"), false, false),
            ("active", UNMET.to_owned(), false, false),
            ("failed", UNMET.to_owned(), false, false),
            ("activating", NEVER.to_owned(), false, false),
        ] {
            let text = format!("ActiveState={active}\n{more}\n");
            let state = unit_state(&text);
            let is = (state.is_skipped(), state.is_forgotten());
            assert_eq!(is, (skipped, forgotten), "{text}");
        }
    }

    #[test]
    fn a_unit_is_stopped_where_it_could_run_and_nothing_is_to_start_it_when_needed() {
        const UNMET: &str = "ConditionResult=no\nConditionTimestampMonotonic=7";
        const STARTED: &str =
            "WantedBy=a.target\nConditionResult=yes\nConditionTimestampMonotonic=7";
        for (file, active, more, stopped) in [
            ("enabled", "inactive", "WantedBy=a.target", true),
            ("enabled", "inactive", "", false), // nothing loads the target that wants it
            ("disabled", "inactive", "", true),
            ("disabled", "inactive", "TriggeredBy=a.timer", false),
            ("enabled", "inactive", UNMET, false),
            (
                "enabled",
                "inactive",
                "Type=oneshot\nResult=success\nExecMainExitTimestampMonotonic=9",
                false,
            ),
            ("enabled", "failed", "", false),
            ("disabled", "active", "", false),
            ("static", "inactive", "", false),
            ("static", "inactive", STARTED, true),
            ("generated", "inactive", STARTED, true),
            ("generated", "active", STARTED, false),
            ("generated", "inactive", "WantedBy=a.target", false), // not checked since boot
            ("static", "inactive", UNMET, false),
            ("", "inactive", "", false),
        ] {
            let text = format!("UnitFileState={file}\nActiveState={active}\n{more}\n");
            assert_eq!(unit_state(&text).is_stopped(), stopped, "{text}");
        }
    }

    #[test]
    fn a_mask_is_no_file_of_its_unit() {
        let text = "Id=a.service\nNames=b.service a.service\nLoadState=loaded\nFragmentPath=/x/a.service\n\n\
                    Id=c.service\nNames=c.service\nFragmentPath=/x/c.service\nLoadState=masked\n";
        let found: Vec<_> = blocks(text).map(loaded).collect();
        let told = |it: &Loaded<'_>| [it.id, it.all, it.fragment].join(", ");
        assert_eq!(
            told(&found[0]),
            "a.service, b.service a.service, /x/a.service"
        );
        assert_eq!(told(&found[1]), "c.service, c.service, ");
    }

    #[test]
    fn a_trigger_is_told_with_what_it_starts_and_who_needs_it() {
        let text = "Id=a.socket\nTriggers=a.service b.service\nRequiredBy=a.service\nWantedBy=\nConsistsOf=c.target\nPropagatesStopTo=d.service\nAccept=no\n\n\
                    Id=b.timer\nTriggers=\n\nId=c.socket\nAccept=yes\n";
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let trigger_of = |id: &str, starts, needed_by, accepts| Trigger {
            id: id.to_owned(),
            starts: words(starts),
            needed_by: words(needed_by),
            accepts,
        };
        let found: Vec<Trigger> = blocks(text).map(trigger).collect();
        let expected = [
            trigger_of(
                "a.socket",
                "a.service b.service",
                "a.service c.target d.service",
                false,
            ),
            trigger_of("b.timer", "", "", false),
            trigger_of("c.socket", "", "", true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn each_unit_has_its_own_block() {
        let states = parse("Id=a\nActiveState=active\n\nId=b\nWantedBy=a.target b.target\n\n");
        let active: Vec<&str> = states.iter().map(|state| state.active.as_str()).collect();
        assert_eq!(active, ["active", ""]);
        assert_eq!(states[1].pulled_by, ["a.target", "b.target"]);
    }
}
