//! Sockets, timers and paths of others that start only units of one package. They are held with these units: systemd would
//! start a held service again for each message, until it gives the socket up (decision 33).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    names::Names,
    unit_name::UnitName,
    units::{Protected, is_shared},
};

/// A unit that starts others when needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trigger {
    /// Its own name.
    pub(super) id: String,
    /// The units that it starts.
    pub(super) starts: Vec<String>,
    /// The units that start it, or stop with it.
    pub(super) needed_by: Vec<String>,
    /// It starts an instance for each connection (systemd.socket(5), `Accept=`), and names only those that run.
    pub(super) accepts: bool,
}

/// Maps a trigger of another package to the units that it starts.
pub(super) type Triggers = BTreeMap<UnitName, BTreeSet<UnitName>>;

/// The triggers that start only these units of a package, and that no other unit needs.
pub(super) fn of(
    ours: &BTreeSet<UnitName>,
    found: &[Trigger],
    names: &Names,
    protected: &Protected,
) -> Triggers {
    let owned = Owned::of(ours, names);
    let triggers = found.iter().filter(|trigger| !trigger.accepts);
    let triggers = triggers.filter_map(|trigger| {
        let unit = UnitName::new(&trigger.id).filter(|unit| !ours.contains(unit))?;
        let names = names.all(unit.as_str());
        let is_left_alone = |name: &String| protected.name(name).is_some() || is_shared(name);
        let is_ours_alone = !names.iter().any(is_left_alone)
            && trigger
                .needed_by
                .iter()
                .all(|by| owned.are_behind(by).is_some());
        let started = trigger.starts.iter().map(|name| owned.are_behind(name));
        let started: Option<Vec<_>> = started.collect();
        let started: BTreeSet<UnitName> = started?.into_iter().flatten().collect();
        (is_ours_alone && !started.is_empty()).then_some((unit, started))
    });
    triggers.collect()
}

/// Drops the triggers of packages that policy protects. The packages that the device needs are no reason: systemd has
/// the socket of each logger.
pub(super) fn drop_protected(
    triggers: &mut Triggers,
    names: &Names,
    owners: &BTreeMap<String, BTreeSet<String>>,
    protected: &Protected,
) {
    triggers.retain(|unit, _| {
        let files = names.files(unit.as_str());
        let mut owners = files.iter().filter_map(|path| owners.get(path)).flatten();
        !owners.any(|package| protected.is_in_policy(package))
    });
}

/// The units of a package, by their names.
struct Owned<'a> {
    ours: &'a BTreeSet<UnitName>,
    names: &'a Names,
    /// By a name that nothing on the device has: the units that will have it once they are enabled.
    claims: BTreeMap<String, BTreeSet<UnitName>>,
}

impl<'a> Owned<'a> {
    fn of(ours: &'a BTreeSet<UnitName>, names: &'a Names) -> Self {
        let mut claims: BTreeMap<String, BTreeSet<UnitName>> = BTreeMap::new();
        for unit in ours {
            let all = names.all(unit.as_str()).into_iter();
            for name in all.filter(|name| !names.is_there(name)) {
                claims.entry(name).or_default().insert(unit.clone());
            }
        }
        Self {
            ours,
            names,
            claims,
        }
    }

    /// The package's units that this name refers to. None if it refers to another package's unit as well.
    fn are_behind(&self, name: &str) -> Option<BTreeSet<UnitName>> {
        if let Some(units) = self.claims.get(name) {
            return Some(units.clone());
        }
        let ends = self.names.leads_to(name).into_iter();
        let units = ends.map(|end| {
            let unit = UnitName::new(&end)?;
            let is_ours = |unit: &UnitName| self.ours.contains(unit);
            let is_instance = || unit.template().as_ref().is_some_and(is_ours);
            (is_ours(&unit) || is_instance()).then_some(unit)
        });
        units.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::unit_file::UnitFile;
    use wharf_root::pattern::Pattern;

    const LIB: &str = "/lib/systemd/system";

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_trigger_of_others_is_held_if_it_starts_units_of_the_package_alone_and_no_other_unit_needs_it()
     {
        let file =
            |name: &str, text: &str| UnitFile::new(&format!("{LIB}/{name}"), text.as_bytes());
        let claims = "[Install]\nAlias=syslog.service taken.service";
        let names = Names::of(&[
            file("log.service", claims),
            file("log@.service", ""),
            file("own.socket", ""),
            file("board.service", "[Install]\nAlias=syslog.service"),
            UnitFile::link(&format!("{LIB}/alias.service"), "log.service"),
            UnitFile::link(&format!("{LIB}/taken.service"), "board.service"),
            UnitFile::link(&format!("{LIB}/console.socket"), "named.socket"),
        ]);
        let ours = ["log.service", "log@.service", "own.socket"];
        let ours: BTreeSet<UnitName> = ours.into_iter().filter_map(UnitName::new).collect();
        let policy = [Pattern::built_in("console.socket")];
        for (id, starts, needed_by, started) in [
            // By a name that the unit will have, has, or has by a link; and an instance.
            ("syslog.socket", "syslog.service", "", "log.service"),
            (
                "log.socket",
                "log.service",
                "log.service own.socket",
                "log.service",
            ),
            ("log.timer", "alias.service", "alias.service", "log.service"),
            (
                "log.path",
                "log@x.service log.service",
                "",
                "log.service log@x.service",
            ),
            // Others use it, or it starts nothing.
            ("log.socket", "log.service", "sockets.target", ""),
            ("log.socket", "log.service", "log.service board.service", ""),
            ("log.socket", "log.service board.service", "", ""),
            ("log.socket", "log.service gone.service", "", ""),
            ("syslog.socket", "taken.service", "", ""),
            ("accepts.socket", "", "", ""),
            ("accepts.socket", "log@1.service", "", ""),
            // The package's own, protected, shared.
            ("own.socket", "log.service", "", ""),
            ("dbus.socket", "log.service", "", ""),
            ("named.socket", "log.service", "", ""),
            ("log-.socket", "log.service", "", ""),
        ] {
            let trigger = Trigger {
                id: id.to_owned(),
                starts: words(starts),
                needed_by: words(needed_by),
                accepts: id == "accepts.socket",
            };
            let found = of(&ours, &[trigger], &names, &Protected::with(&policy));
            let expected: BTreeSet<UnitName> = words(started)
                .iter()
                .filter_map(|it| UnitName::new(it))
                .collect();
            let expected = UnitName::new(id)
                .filter(|_| !expected.is_empty())
                .map(|id| (id, expected));
            assert_eq!(
                found,
                expected.into_iter().collect(),
                "{id}: {starts}; {needed_by}"
            );
        }
    }

    #[test]
    fn a_trigger_of_a_package_that_policy_protects_is_dropped_and_one_of_systemds_is_kept() {
        let units = ["syslog.socket", "switch.socket", "admin.socket"];
        let files = units.map(|name| UnitFile::new(&format!("{LIB}/{name}"), b""));
        let names = Names::of(&files);
        let owners = [("systemd", 0), ("switch", 1)].map(|(package, file)| {
            let path = files[file].path().to_owned();
            (path, BTreeSet::from([package.to_owned()]))
        });
        let owners = BTreeMap::from(owners);
        let policy = [Pattern::built_in("switch")];
        let mut triggers: Triggers = units
            .into_iter()
            .filter_map(UnitName::new)
            .map(|unit| (unit, BTreeSet::new()))
            .collect();
        drop_protected(&mut triggers, &names, &owners, &Protected::with(&policy));
        let left: Vec<&str> = triggers.keys().map(UnitName::as_str).collect();
        assert_eq!(left, ["admin.socket", "syslog.socket"]);
    }
}
