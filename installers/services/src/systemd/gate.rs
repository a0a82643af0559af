//! Decides which units are a package's own. No other unit is held, enabled, disabled, started or stopped, except triggers
//! that start nothing else. Every order to systemd takes [`Ours`], and only a [`Gate`] makes one. It checks every name of a
//! unit.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::Owners;

use super::{
    Systemd,
    names::{Names, template_of},
    triggers::{self, Trigger, Triggers},
    unit_file::UnitFile,
    unit_name::UnitName,
    units::{Exemption, Protected, Shipped, is_shared},
};

/// Units of one package, and triggers of others that start nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Ours(Vec<UnitName>);

/// The units that a package may touch.
#[derive(Debug)]
pub(super) struct Gate {
    names: Names,
    ours: BTreeSet<UnitName>,
    /// Instances that systemd has loaded, and that no file names.
    passing: BTreeSet<UnitName>,
    /// The units of others that start only its own.
    triggers: Triggers,
    /// The units that are not its own, and why.
    pub(super) exempt: BTreeMap<UnitName, Exemption>,
}

/// The facts for a package's claim to a unit.
struct Claimant<'a> {
    package: &'a PackageName,
    protected: &'a Protected,
    /// The names for which it has a file.
    names: BTreeSet<String>,
    owners: &'a Owners,
}

/// UnitFacts from files, links, systemd and the package manager about some units, and about those that are enabled with them.
struct UnitFacts {
    names: Names,
    /// Instances that systemd has loaded, and that no file names.
    passing: BTreeSet<UnitName>,
    /// Files of units, and the packages that own them.
    owners: Owners,
}

impl Ours {
    /// For a test of another module.
    #[cfg(test)]
    pub(super) fn for_a_test(units: &BTreeSet<UnitName>) -> Self {
        Self(units.iter().cloned().collect())
    }

    pub(super) fn units(&self) -> &[UnitName] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same, sockets, timers and paths first: a service that stops before its socket is started again, and a socket
    /// cannot start after its service.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &UnitName> {
        let triggers = self.0.iter().filter(|unit| unit.is_trigger());
        triggers.chain(self.0.iter().filter(|unit| !unit.is_trigger()))
    }

    fn and(&self, more: &[UnitName]) -> Self {
        let all: BTreeSet<UnitName> = self.0.iter().chain(more).cloned().collect();
        Self(all.into_iter().collect())
    }

    /// Those of them for which this holds.
    pub(super) fn only(&self, holds: impl Fn(&UnitName) -> bool) -> Self {
        Self(self.0.iter().filter(|unit| holds(unit)).cloned().collect())
    }
}

impl Gate {
    /// Those of these units that are the package's own.
    pub(super) fn ours<'a>(&self, units: impl IntoIterator<Item = &'a UnitName>) -> Ours {
        let units: BTreeSet<&UnitName> = units.into_iter().collect();
        let ours = units.into_iter().filter(|unit| self.ours.contains(unit));
        Ours(ours.cloned().collect())
    }

    /// The units of others that start these units, and nothing else.
    pub(super) fn triggers_of(&self, units: &Ours) -> Ours {
        let has = |unit: &UnitName| {
            units.0.contains(unit) || unit.template().is_some_and(|it| units.0.contains(&it))
        };
        let triggers = self.triggers.iter();
        let triggers = triggers.filter(|(_, started)| started.iter().any(has));
        Ours(triggers.map(|(unit, _)| unit.clone()).collect())
    }

    /// These units, and those of others that start them and nothing else.
    pub(super) fn with_triggers(&self, units: &Ours) -> Ours {
        units.and(&self.triggers_of(units).0)
    }

    /// Those of these units that are the package's own, and units of others that a job of it stopped: they are started
    /// again, even if they have other uses by now.
    pub(super) fn and_stopped(&self, units: &[UnitName], triggers: &[UnitName]) -> Ours {
        self.ours(units).and(triggers)
    }

    /// The same, with the instances of templates in their place.
    pub(super) fn instances(&self, units: &[UnitName]) -> Ours {
        let is_of = |unit: &UnitName| {
            let template = unit.template();
            units.contains(unit) || template.is_some_and(|it| units.contains(&it))
        };
        let ours = self.ours.iter().filter(|unit| !unit.is_template());
        Ours(ours.filter(|unit| is_of(unit)).cloned().collect())
    }

    /// The same, without instances that no file names.
    pub(super) fn lasting(&self, units: &[UnitName]) -> Ours {
        let instances = self.instances(units);
        instances.only(|unit| units.contains(unit) || !self.passing.contains(unit))
    }

    /// Whether it is only another name of units that the package has as well.
    pub(super) fn is_alias(&self, unit: &UnitName) -> bool {
        !self.names.leads_to(unit.as_str()).contains(unit.as_str())
    }

    /// Whether it is a script of which the distribution wants no unit.
    pub(super) fn is_masked(&self, unit: &UnitName) -> bool {
        self.names.is_masked(unit.as_str())
    }

    /// The units with these names.
    pub(super) fn named(&self, units: &BTreeSet<UnitName>) -> BTreeSet<UnitName> {
        let named = units
            .iter()
            .flat_map(|unit| self.names.leads_to(unit.as_str()));
        named.filter_map(|name| UnitName::new(&name)).collect()
    }
}

impl Systemd {
    /// Looks at the units that this package ships, and at `more` units that it had: by all names in files, links,
    /// claims and the running systemd.
    pub(super) fn gate<'a>(
        &self,
        package: &PackageName,
        shipped: &[&Shipped],
        more: impl IntoIterator<Item = &'a UnitName>,
    ) -> Result<Gate, Failure> {
        let mut names = Names::on(&self.root).map_err(|error| unreadable(&error))?;
        let files = || shipped.iter().flat_map(|shipped| &shipped.files);
        files().for_each(|file| names.add(file));
        let mut units: BTreeSet<UnitName> = more.into_iter().cloned().collect();
        let mut own: BTreeSet<String> = Names::of(files()).with_files().cloned().collect();
        own.extend(units.iter().map(|unit| unit.as_str().to_owned()));
        units.extend(shipped.iter().flat_map(|shipped| shipped.all()));
        let installed = shipped.iter().filter(|shipped| shipped.is_installed);
        let installed = installed.flat_map(|shipped| shipped.files.iter());
        let installed = installed.map(UnitFile::path).collect();
        let facts = self.facts(names, &mut units, &installed)?;
        let claimant = Claimant {
            package,
            protected: &self.protected,
            names: own,
            owners: &facts.owners,
        };
        let exempt = claimant.exempt(&units, &facts.names);
        units.retain(|unit| !exempt.contains_key(unit));
        let found = self.triggers_on_device(&facts.names)?;
        let mut triggers = triggers::of(&units, &found, &facts.names, &self.protected);
        let names = triggers.keys().map(|unit| unit.as_str().to_owned());
        let owners = self.owners_of(&names.collect(), &facts.names, &BTreeSet::new())?;
        triggers::drop_protected(&mut triggers, &facts.names, &owners, &self.protected);
        Ok(Gate {
            triggers,
            names: facts.names,
            ours: units,
            passing: facts.passing,
            exempt,
        })
    }

    /// Of each package: those of its held units that are neither its own nor start nothing else, and why. A held socket,
    /// timer or path is only its own if the package `had` it. All are looked at together: the package
    /// manager may read its whole database for each question.
    pub(super) fn exempt_of_each(
        &self,
        held: &BTreeMap<PackageName, BTreeSet<UnitName>>,
        had: &BTreeMap<PackageName, BTreeSet<UnitName>>,
    ) -> Result<BTreeMap<PackageName, BTreeMap<UnitName, Exemption>>, Failure> {
        let names = Names::on(&self.root).map_err(|error| unreadable(&error))?;
        let units = held.values().chain(had.values()).flatten().cloned();
        let facts = self.facts(names, &mut units.collect(), &BTreeSet::new())?;
        let found = self.triggers_on_device(&facts.names)?;
        let exempt = held.iter().map(|(package, held)| {
            let had = had.get(package).into_iter().flatten();
            let own = had.chain(held.iter().filter(|unit| !unit.is_trigger()));
            let own: BTreeSet<UnitName> = own.cloned().collect();
            let claimant = Claimant {
                package,
                protected: &self.protected,
                names: own.iter().map(|unit| unit.as_str().to_owned()).collect(),
                owners: &facts.owners,
            };
            let units = held.union(&own).cloned().collect();
            let mut exempt = claimant.exempt(&units, &facts.names);
            let own = own.into_iter().filter(|unit| !exempt.contains_key(unit));
            let mut triggers = triggers::of(&own.collect(), &found, &facts.names, &self.protected);
            triggers::drop_protected(&mut triggers, &facts.names, &facts.owners, &self.protected);
            exempt.retain(|unit, _| !triggers.contains_key(unit));
            (package.clone(), exempt)
        });
        Ok(exempt.collect())
    }

    /// All units of the device that start others when needed.
    fn triggers_on_device(&self, names: &Names) -> Result<Vec<Trigger>, Failure> {
        let units = names.with_files().filter_map(|name| UnitName::new(name));
        let triggers = units.filter(|unit| unit.is_trigger() && !unit.is_template());
        self.manager.triggers(&triggers.collect::<Vec<_>>())
    }

    /// Looks at these units, to which it adds the instances of templates. Files that are `installed` have no other owner.
    fn facts(
        &self,
        mut names: Names,
        units: &mut BTreeSet<UnitName>,
        installed: &BTreeSet<&str>,
    ) -> Result<UnitFacts, Failure> {
        let passing = self.add_instances(units, &names)?;
        let reached = names.with_also(&*units);
        let known = reached.iter().filter_map(|name| UnitName::new(name));
        let plain: Vec<UnitName> = known.filter(|unit| !unit.is_template()).collect();
        self.manager.add_names(&plain, &mut names)?;
        let owners = self.owners_of(&names.with_also(&*units), &names, installed)?;
        Ok(UnitFacts {
            names,
            passing,
            owners,
        })
    }

    /// Adds the instances of templates: those that files tell of, and those that are loaded beside them, which it gives.
    fn add_instances(
        &self,
        units: &mut BTreeSet<UnitName>,
        names: &Names,
    ) -> Result<BTreeSet<UnitName>, Failure> {
        let templates = units.iter().filter(|unit| unit.is_template());
        let templates: Vec<UnitName> = templates.cloned().collect();
        let known = templates.iter().flat_map(|it| names.instances(it.as_str()));
        units.extend(known.filter_map(|name| UnitName::new(&name)));
        let mut loaded = self.manager.loaded_instances(&templates)?;
        loaded.retain(|unit| !units.contains(unit));
        units.extend(loaded.iter().cloned());
        Ok(loaded)
    }

    /// Asks only about files that the package is not known to own: the package manager may read its whole database for that.
    fn owners_of(
        &self,
        units: &BTreeSet<String>,
        names: &Names,
        installed: &BTreeSet<&str>,
    ) -> Result<Owners, Failure> {
        let files = units.iter().flat_map(|unit| names.files(unit));
        let doubtful = files.filter(|path| {
            !installed.contains(path.as_str())
                && !path.starts_with("run/")
                && UnitFile::is_there(&self.root, path)
        });
        let doubtful: BTreeSet<String> = doubtful.collect();
        match doubtful.is_empty() {
            true => Ok(Owners::new()),
            false => self.packages.owners(&doubtful),
        }
    }
}

impl Claimant<'_> {
    /// Those of these units that the package may not touch, and why.
    fn exempt(&self, units: &BTreeSet<UnitName>, names: &Names) -> BTreeMap<UnitName, Exemption> {
        let exempt = units
            .iter()
            .filter_map(|unit| Some((unit.clone(), self.exempts(unit, names)?)));
        exempt.collect()
    }

    /// The reason why the package may not touch this unit, if there is one.
    fn exempts(&self, unit: &UnitName, names: &Names) -> Option<Exemption> {
        self.protected
            .package(self.package)
            .or_else(|| self.exempts_name(unit.as_str(), names))
            .or_else(|| {
                let also = names.also(unit.as_str());
                let touched = also.iter().any(|name| self.exempts_also(name, names));
                touched.then_some(Exemption::Also)
            })
            .or_else(|| {
                let instances = unit.is_template().then(|| names.instances(unit.as_str()));
                let mut instances = instances.into_iter().flatten();
                instances.find_map(|name| self.exempts_name(&name, names))
            })
    }

    /// systemctl does nothing to a unit that is not there.
    fn exempts_also(&self, name: &str, names: &Names) -> bool {
        match self.exempts_name(name, names) {
            Some(Exemption::Another) => names.is_there(name),
            why => why.is_some(),
        }
    }

    fn exempts_name(&self, name: &str, names: &Names) -> Option<Exemption> {
        let all = names.all(name);
        let is_foreign = |path: &String| {
            let owners = self.owners.get(path);
            owners.is_some_and(|owners| !owners.contains(self.package.as_str()))
        };
        let protected = all.iter().find_map(|name| self.protected.name(name));
        let shared = all.iter().any(|name| is_shared(name));
        let another = names.leads_to(name).iter().any(|unit| !self.has(unit))
            || names.files(name).iter().any(is_foreign);
        protected
            .or_else(|| shared.then_some(Exemption::Shared))
            .or_else(|| another.then_some(Exemption::Another))
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
            || template_of(name).is_some_and(|template| self.names.contains(&template))
    }
}

fn unreadable(error: &io::Error) -> Failure {
    let detail = format!("cannot read the folders of systemd's units: {error}");
    Failure::new(Cause::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_root::pattern::Pattern;

    const LIB: &str = "/lib/systemd/system";

    fn exempts(
        package: &str,
        ships: &[UnitFile],
        there: &[(&str, UnitFile)],
        unit: &str,
    ) -> Option<Exemption> {
        let names = Names::of(ships.iter().chain(there.iter().map(|(_, file)| file)));
        let owners = there.iter().filter(|(owner, _)| !owner.is_empty());
        let claimant = Claimant {
            package: &PackageName::new(package).unwrap(),
            protected: &Protected::with(&[Pattern::built_in("vpn@office.service")]),
            names: Names::of(ships).with_files().cloned().collect(),
            owners: &owners
                .map(|(owner, file)| {
                    (
                        file.path().to_owned(),
                        BTreeSet::from([(*owner).to_owned()]),
                    )
                })
                .collect(),
        };
        let unit = UnitName::new(unit).unwrap();
        let mut exempt = claimant.exempt(&BTreeSet::from([unit.clone()]), &names);
        exempt.remove(&unit)
    }

    fn file(path: &str) -> UnitFile {
        UnitFile::new(path, b"")
    }

    #[test]
    fn a_unit_is_a_packages_own_by_every_name_or_not_at_all() {
        let unit = |name: &str| file(&format!("{LIB}/{name}"));
        let alias = |name: &str, of: &str| {
            UnitFile::new(
                &format!("{LIB}/{name}"),
                format!("[Install]\nAlias={of}").as_bytes(),
            )
        };
        let also = |name: &str, others: &str| {
            let text = format!("[Install]\nAlso={others}");
            UnitFile::new(&format!("{LIB}/{name}"), text.as_bytes())
        };
        let link = |name: &str, target: &str| UnitFile::link(&format!("{LIB}/{name}"), target);
        let script = |name: &str| file(&format!("/etc/init.d/{name}"));
        let (built_in, policy) = (Some(Exemption::BuiltIn), Some(Exemption::Policy));
        let (another, shared) = (Some(Exemption::Another), Some(Exemption::Shared));
        let with_others = Some(Exemption::Also);
        let sysctl = [
            ("systemd", unit("systemd-sysctl.service")),
            ("systemd", link("procps.service", "systemd-sysctl.service")),
        ];
        let board = [
            ("board", unit("board.service")),
            ("board", link("alias.service", "board.service")),
            ("board", unit("port@board.service")),
            ("", file("/etc/systemd/system/acme.service")),
            ("", file("/run/systemd/generator.late/acme-old.service")),
            ("board", link("compat.service", "acme.service")),
        ];
        let mounts = [
            ("board", unit("board.mount")),
            ("board", link("dangling.mount", "gone.mount")),
            ("board", file("/etc/systemd/system/shared.mount")),
            ("", file("/etc/systemd/system/admin.mount")),
        ];
        for (ships, there, name, why) in [
            // Its own.
            (vec![unit("acme.service")], &board[..], "acme.service", None),
            (
                vec![script("acme-old")],
                &board[..],
                "acme-old.service",
                None,
            ),
            (vec![unit("acme@.service")], &[], "acme@.service", None),
            (vec![unit("acme@.service")], &[], "acme@x.service", None),
            (
                vec![alias("acme.service", "syslog.service")],
                &[],
                "acme.service",
                None,
            ),
            (
                vec![unit("acme.service"), link("a.service", "acme.service")],
                &[],
                "acme.service",
                None,
            ),
            // A script, or a file, for a unit of another package.
            (
                vec![script("procps")],
                &sysctl[..],
                "procps.service",
                built_in,
            ),
            (vec![script("alias")], &board[..], "alias.service", another),
            (vec![script("board")], &board[..], "board.service", another),
            (
                vec![file("/etc/systemd/system/board.service")],
                &board[..],
                "board.service",
                another,
            ),
            // Links that it packs.
            (
                vec![script("a"), link("a.service", "systemd-sysctl.service")],
                &[],
                "a.service",
                built_in,
            ),
            (
                vec![script("a"), link("a.service", "board.service")],
                &board[..],
                "a.service",
                another,
            ),
            (
                vec![script("a"), link("a.service", "gone.service")],
                &[],
                "a.service",
                another,
            ),
            (
                vec![unit("acme.service"), link("ssh.service", "acme.service")],
                &[],
                "acme.service",
                built_in,
            ),
            // Names that it claims.
            (
                vec![alias("acme.service", "getty@tty1.service")],
                &[],
                "acme.service",
                built_in,
            ),
            (
                vec![alias("acme.service", "procps.service")],
                &sysctl[..],
                "acme.service",
                built_in,
            ),
            (
                vec![alias("acme@.service", "getty@.service")],
                &[],
                "acme@.service",
                built_in,
            ),
            (
                vec![alias("acme@.service", "vpn@.service")],
                &[],
                "acme@office.service",
                policy,
            ),
            // Templates with an instance of another package.
            (
                vec![unit("port@.service")],
                &board[..],
                "port@.service",
                another,
            ),
            (
                vec![unit("vpn@.service"), unit("vpn@office.service")],
                &[],
                "vpn@.service",
                policy,
            ),
            (
                vec![
                    unit("vpn@.service"),
                    file("/etc/systemd/system/x.target.wants/vpn@office.service"),
                ],
                &[],
                "vpn@.service",
                policy,
            ),
            // Enabled and disabled with others.
            (
                vec![also("acme.service", "acme.socket"), unit("acme.socket")],
                &[],
                "acme.service",
                None,
            ),
            (
                vec![also("acme.service", "procps.service")],
                &sysctl[..],
                "acme.service",
                with_others,
            ),
            (
                vec![also("acme.service", "alias.service")],
                &board[..],
                "acme.service",
                with_others,
            ),
            (
                vec![also("acme.service", "compat.service")],
                &board[..],
                "acme.service",
                None,
            ),
            (
                vec![also("acme.service", "nowhere.service nowhere@x.socket")],
                &[],
                "acme.service",
                None,
            ),
            (
                vec![also("acme.service", "systemd-nowhere.socket")],
                &[],
                "acme.service",
                with_others,
            ),
            (
                vec![
                    also(
                        "acme.service",
                        "a.mount a.automount a.swap a.slice b@x.mount",
                    ),
                    unit("b@.mount"),
                    unit("a.mount"),
                    unit("a.automount"),
                    unit("a.swap"),
                    unit("a.slice"),
                ],
                &[],
                "acme.service",
                None,
            ),
            (
                vec![also("acme.service", "board.mount")],
                &mounts[..],
                "acme.service",
                with_others,
            ),
            (
                vec![also("acme.service", "admin.mount")],
                &mounts[..],
                "acme.service",
                with_others,
            ),
            (
                vec![also("acme.service", "dangling.mount")],
                &mounts[..],
                "acme.service",
                with_others,
            ),
            (
                vec![also("acme.service", "shared.mount"), unit("shared.mount")],
                &mounts[..],
                "acme.service",
                with_others,
            ),
            // Drop-ins of many.
            (
                vec![unit("serial-.service")],
                &[],
                "serial-.service",
                shared,
            ),
            (vec![unit("acme-@.service")], &[], "acme-@.service", shared),
            (
                vec![alias("acme.service", "wharf-.service")],
                &[],
                "acme.service",
                shared,
            ),
        ] {
            assert_eq!(
                exempts("acme", &ships, there, name),
                why,
                "{name}: {ships:?}"
            );
        }
    }

    #[test]
    fn all_units_of_a_protected_package_are_never_touched() {
        let rescue = file("./usr/lib/systemd/system/rescue-ssh.target");
        let why = exempts("openssh-server", &[rescue], &[], "rescue-ssh.target");
        assert_eq!(why, Some(Exemption::BuiltIn));
    }

    #[test]
    fn a_package_that_has_a_file_already_is_no_other_one() {
        let board = [("board", file(&format!("{LIB}/board.service")))];
        let ships = board.clone().map(|(_, file)| file);
        assert_eq!(exempts("board", &ships, &board, "board.service"), None);
    }

    fn units(names: &[&str]) -> Vec<UnitName> {
        let units = names.iter().map(|name| UnitName::new(name));
        units.map(|unit| unit.unwrap()).collect()
    }

    /// A gate for acme's service, its template with two instances (one in a file, one only loaded), and an alias.
    fn gate() -> Gate {
        let files = [
            file(&format!("{LIB}/acme.service")),
            file(&format!("{LIB}/acme@.service")),
            UnitFile::link(&format!("{LIB}/alias.service"), "acme.service"),
            UnitFile::link(&format!("{LIB}/masked.service"), "/dev/null"),
            file("/etc/init.d/masked"),
        ];
        let own = [
            "acme.service",
            "acme@.service",
            "acme@file.service",
            "acme@loaded.service",
        ];
        Gate {
            names: Names::of(&files),
            ours: units(&own).into_iter().collect(),
            passing: units(&["acme@loaded.service"]).into_iter().collect(),
            triggers: BTreeMap::from([(
                UnitName::new("board.socket").unwrap(),
                units(&["acme@file.service"]).into_iter().collect(),
            )]),
            exempt: BTreeMap::new(),
        }
    }

    #[test]
    fn only_the_packages_own_units_pass() {
        let gate = gate();
        let asked = units(&["acme@.service", "board.service", "acme.service"]);
        let own = units(&["acme.service", "acme@.service"]);
        assert_eq!(gate.ours(&asked).units(), own);
        assert!(gate.ours(&units(&["board.service"])).is_empty());
        assert!(!gate.ours(&own).is_empty());
        let services = gate.ours(&own).only(|unit| !unit.is_template());
        assert_eq!(services.units(), units(&["acme.service"]));
    }

    #[test]
    fn a_trigger_of_others_passes_with_the_units_that_it_starts_or_if_a_job_stopped_it() {
        let gate = gate();
        let socket = units(&["board.socket"]);
        assert!(gate.ours(&socket).is_empty(), "it is not the package's");
        let stopped = units(&["gone.socket"]);
        let again = gate.and_stopped(&units(&["acme.service", "board.service"]), &stopped);
        assert_eq!(again.units(), units(&["acme.service", "gone.socket"]));
        let of = |names: &[&str]| {
            let ours = gate.ours(&units(names));
            let with = gate.with_triggers(&ours);
            let orders = with.in_order().map(ToString::to_string).collect::<Vec<_>>();
            (gate.triggers_of(&ours).units().to_vec(), orders.join(" "))
        };
        assert_eq!(of(&["acme.service"]), (vec![], "acme.service".to_owned()));
        for name in ["acme@.service", "acme@file.service"] {
            let expected = (socket.clone(), format!("board.socket {name}"));
            assert_eq!(of(&[name]), expected);
        }
    }

    #[test]
    fn a_template_passes_as_its_instances() {
        let gate = gate();
        let all = units(&["acme.service", "acme@file.service", "acme@loaded.service"]);
        let asked = units(&["acme.service", "acme@.service", "board@.service"]);
        assert_eq!(gate.instances(&asked).units(), all);
        assert_eq!(
            gate.instances(&units(&["acme@file.service"])).units(),
            &all[1..2]
        );
    }

    #[test]
    fn an_instance_that_no_file_names_lasts_only_if_it_is_asked_for_by_name() {
        let gate = gate();
        let lasting = |names: &[&str]| gate.lasting(&units(names)).units().to_vec();
        assert_eq!(lasting(&["acme@.service"]), units(&["acme@file.service"]));
        let both = ["acme@.service", "acme@loaded.service"];
        assert_eq!(
            lasting(&both),
            units(&["acme@file.service", "acme@loaded.service"])
        );
    }

    #[test]
    fn a_name_is_an_alias_a_mask_or_a_unit() {
        let gate = gate();
        for (name, alias, masked, named) in [
            ("acme.service", false, false, "acme.service"),
            ("alias.service", true, false, "acme.service"),
            ("masked.service", false, true, "masked.service"),
        ] {
            let unit = &units(&[name])[0];
            assert_eq!(gate.is_alias(unit), alias, "{name}");
            assert_eq!(gate.is_masked(unit), masked, "{name}");
            let named_by_it = gate.named(&BTreeSet::from([unit.clone()]));
            assert_eq!(named_by_it, units(&[named]).into_iter().collect(), "{name}");
        }
    }
}
