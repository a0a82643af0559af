//! The units of a package, by the paths of its files, and the protected units.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use wharf_frames::{PackageName, packed::WantedFiles};
use wharf_root::{Root, durable, merged, pattern::Pattern};

use super::{
    names::PULLS,
    unit_file::{FOLDERS, SCRIPTS, UnitFile, unit_of_script},
    unit_name::UnitName,
};

/// Units of user sessions, and services of their buses. `/lib` is `/usr/lib` here.
const OF_SESSIONS: [&str; 3] = [
    "usr/lib/systemd/user/",
    "etc/systemd/user/",
    "usr/share/dbus-1/services/",
];

/// Services of the system bus (dbus-daemon(1)).
const BUS_SERVICES: &str = "/dbus-1/system-services/";

/// Packages that the device needs to run and to be reached, by their names in Debian and Fedora.
#[rustfmt::skip]
const PROTECTED_PACKAGES: &[&str] = &[
    "wharfd",
    "systemd", "systemd-*", "udev",
    "init", "init-system-helpers", "initscripts", "sysvinit-core",
    "dbus", "dbus-broker", "dbus-common", "dbus-daemon", "dbus-system-bus-common",
    "ssh", "openssh", "openssh-client", "openssh-clients", "openssh-server", "openssh-sftp-server", "dropbear",
    "ifupdown", "ifupdown2", "ifupdown-ng", "network-scripts",
    "network-manager", "NetworkManager", "NetworkManager-*",
    "wpasupplicant", "wpa_supplicant", "iwd", "dhcpcd", "modemmanager", "ModemManager",
];

/// The same of units, up to the `@` or the type.
#[rustfmt::skip]
const PROTECTED_UNITS: &[&str] = &[
    "wharfd", "wharf-fetch", "wharf-installer", "wharf-job",
    "systemd-*", "udev",
    "getty", "getty-static", "console-getty", "container-getty", "serial-getty", "autovt",
    "dbus", "dbus-broker", "dbus-daemon",
    "ssh", "sshd", "sshd-keygen", "dropbear",
    "networking", "network", "ifup", "ifupdown-pre", "ifupdown-wait-online",
    "NetworkManager", "NetworkManager-*", "nm-priv-helper",
    "wpa_supplicant", "iwd", "dhcpcd", "ModemManager",
];

/// The units that the files of a package bring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shipped {
    /// The files.
    pub(super) files: Vec<UnitFile>,
    /// Whether the device has them.
    pub(super) is_installed: bool,
    /// Its units, templates among them.
    pub(crate) units: BTreeSet<UnitName>,
    /// The units that are never touched, with the reasons. They are in no other list.
    pub(crate) exempt: BTreeMap<UnitName, Exemption>,
    /// Units that another unit starts, without being enabled.
    pub(crate) linked: BTreeSet<UnitName>,
    /// Units that a message on the bus starts.
    pub(crate) bus: BTreeSet<UnitName>,
    /// Files that start a program that is no unit of the system. It cannot be held.
    pub(crate) loose: BTreeSet<String>,
}

/// The services of the system bus of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BusServices {
    /// Units.
    pub(crate) units: BTreeSet<UnitName>,
    /// Files that name no unit: dbus-daemon starts their programs itself.
    pub(crate) programs: BTreeSet<String>,
}

/// The units that are never held, started or stopped.
#[derive(Debug, Clone)]
pub(crate) struct Protected {
    packages: Vec<Pattern>,
    units: Vec<Pattern>,
    /// Units and packages of policy.
    policy: Vec<Pattern>,
}

/// The reason why a unit is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exemption {
    /// The device needs it.
    BuiltIn,
    /// Policy names it.
    Policy,
    /// Another package has a file of it, or this one has none.
    Another,
    /// systemd applies its drop-ins to other units as well.
    Shared,
    /// systemd enables and disables units that are not the package's own with it.
    Also,
}

/// Whether a file of this path says something about units.
pub(crate) fn is_of_a_unit(path: &str) -> bool {
    UnitFile::says_names(path) || path.contains(BUS_SERVICES) || is_of_sessions(path)
}

/// The files for which [`is_of_a_unit`] holds, as wharf-inspect finds them. Only some can name units in their text.
pub(super) fn wanted() -> Vec<WantedFiles> {
    let wanted = |folder: &str, anywhere, text| WantedFiles {
        folder: folder.to_owned(),
        anywhere,
        text,
    };
    let units = FOLDERS.iter().chain([&SCRIPTS]);
    let units = units.map(|folder| wanted(folder, false, true));
    let sessions = OF_SESSIONS
        .iter()
        .map(|folder| wanted(folder, false, false));
    let all: Vec<WantedFiles> = units.chain(sessions).collect();
    let unmerged = all.iter().filter_map(|it| {
        let folder = it.folder.strip_prefix("usr/")?;
        (merged(folder) == it.folder).then(|| wanted(folder, false, it.text))
    });
    let unmerged: Vec<WantedFiles> = unmerged.collect();
    let bus = wanted(BUS_SERVICES.trim_start_matches('/'), true, false);
    all.into_iter().chain(unmerged).chain([bus]).collect()
}

fn is_of_sessions(path: &str) -> bool {
    let file = UnitFile::new(path, &[]);
    OF_SESSIONS
        .iter()
        .any(|folder| file.path().starts_with(folder))
}

impl Shipped {
    /// Reads these files of a package. Does not decide which units are its own.
    pub(super) fn of(files: Vec<UnitFile>, is_installed: bool) -> Self {
        let mut shipped = Self {
            is_installed,
            ..Self::default()
        };
        let mut pulled = BTreeSet::new();
        let mut scripts = Vec::new();
        for file in &files {
            let path = file.path();
            if let Some(script) = path.strip_prefix(SCRIPTS) {
                scripts.extend(unit_of_script(script));
                continue;
            }
            if is_of_sessions(path) && is_unit_file(path) {
                shipped.loose.insert(format!("/{path}"));
                continue;
            }
            let Some(below) = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder)) else {
                continue;
            };
            match below.split_once('/') {
                None if file.is_unit() => shipped.units.extend(UnitName::new(below)),
                None => {} // another name of a unit, or a mask
                Some((by, name)) => pulled.extend(pull(by, name)),
            }
        }
        // systemd makes a unit of each script that has none (systemd-sysv-generator(8)), started by links in /etc/rc?.d.
        scripts.retain(|script| !shipped.units.contains(script));
        shipped.linked.extend(scripts.iter().cloned());
        shipped.units.extend(scripts);
        let by_others = pulled
            .into_iter()
            .filter(|(by, _)| !shipped.units.iter().any(|unit| unit.as_str() == by));
        shipped.linked.extend(by_others.map(|(_, unit)| unit));
        shipped.files = files;
        shipped.keep_own();
        shipped
    }

    /// Moves the units that the package may not touch to `exempt`, and drops names that are no unit.
    pub(super) fn part(
        &mut self,
        exempt: &BTreeMap<UnitName, Exemption>,
        is_none: impl Fn(&UnitName) -> bool,
    ) {
        let units = std::mem::take(&mut self.units);
        for unit in units {
            match exempt.get(&unit) {
                Some(why) => drop(self.exempt.insert(unit, *why)),
                None if is_none(&unit) => {}
                None => drop(self.units.insert(unit)),
            }
        }
        self.linked.retain(|unit| !exempt.contains_key(unit));
        self.keep_own();
    }

    fn keep_own(&mut self) {
        let linked = std::mem::take(&mut self.linked);
        self.linked = linked.into_iter().filter(|unit| self.has(unit)).collect();
    }

    /// All its units, with those of others.
    pub(super) fn all(&self) -> impl Iterator<Item = UnitName> {
        let units = self.units.iter().chain(self.exempt.keys());
        units.chain(&self.linked).cloned()
    }

    /// Whether it is a unit of the package, or an instance of one.
    pub(crate) fn has(&self, unit: &UnitName) -> bool {
        let template = unit.template();
        self.units.contains(unit) || template.is_some_and(|it| self.units.contains(&it))
    }

    /// Whether it has units, and none of them may be started or stopped.
    pub(crate) fn is_exempt(&self) -> bool {
        self.units.is_empty() && !self.exempt.is_empty()
    }

    /// The units that start although they are disabled. They must be held while the package is INACTIVE.
    pub(crate) fn tied(&self) -> BTreeSet<UnitName> {
        self.linked.union(&self.bus).cloned().collect()
    }
}

impl BusServices {
    /// The services among these files (`SystemdService=`), as they are installed.
    pub(super) fn of(files: &[UnitFile], root: &Root) -> Self {
        let paths = files.iter().map(|file| format!("/{}", file.path()));
        let files = paths.filter(|path| path.contains(BUS_SERVICES) && path.ends_with(".service"));
        let mut services = Self::default();
        for path in files {
            let Ok(Some(text)) = durable::read(&root.path(path.trim_start_matches('/'))) else {
                continue;
            };
            let text = String::from_utf8_lossy(&text);
            let unit = text
                .lines()
                .find_map(|line| line.strip_prefix("SystemdService="))
                .and_then(|name| UnitName::new(name.trim()));
            match unit {
                Some(unit) => drop(services.units.insert(unit)),
                None => drop(services.programs.insert(path)),
            }
        }
        services
    }
}

/// The name of a unit up to the `@` or the type.
fn stem(name: &str) -> &str {
    let end = name.find('@').or_else(|| name.rfind('.'));
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

/// The drop-ins of `a-.service` are those of each `a-*.service` as well (systemd.unit(5)).
pub(super) fn is_shared(name: &str) -> bool {
    stem(name).ends_with('-')
}

/// Whether it is a unit, and not a folder of drop-ins or links.
fn is_unit_file(path: &str) -> bool {
    let (_, name) = path.rsplit_once('/').unwrap_or_default();
    UnitName::new(name).is_some()
}

/// `multi-user.target.wants/acme.service`: the starting unit, and the started one.
fn pull(by: &str, name: &str) -> Option<(String, UnitName)> {
    let by = PULLS.iter().find_map(|end| by.strip_suffix(end))?;
    Some((by.to_owned(), UnitName::new(name)?))
}

impl Protected {
    /// The built-in ones, and those of the policy.
    pub(crate) fn with(policy: &[Pattern]) -> Self {
        let built_in = |list: &[&str]| list.iter().map(|name| Pattern::built_in(name)).collect();
        Self {
            packages: built_in(PROTECTED_PACKAGES),
            units: built_in(PROTECTED_UNITS),
            policy: policy.to_vec(),
        }
    }

    /// The reason why this package is protected, if it is.
    pub(crate) fn package(&self, package: &PackageName) -> Option<Exemption> {
        self.by(&self.packages, package.as_str(), package.as_str())
    }

    /// The reason why the unit of this name is protected, if it is.
    pub(super) fn name(&self, unit: &str) -> Option<Exemption> {
        self.by(&self.units, stem(unit), unit)
    }

    fn by(&self, built_in: &[Pattern], stem: &str, name: &str) -> Option<Exemption> {
        if built_in.iter().any(|pattern| pattern.fits(stem)) {
            return Some(Exemption::BuiltIn);
        }
        self.is_in_policy(name).then_some(Exemption::Policy)
    }

    /// Whether policy protects this unit or package.
    pub(super) fn is_in_policy(&self, name: &str) -> bool {
        self.policy.iter().any(|pattern| pattern.fits(name))
    }
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BuiltIn => "the device needs it",
            Self::Policy => "protected-units in installer.toml names it",
            Self::Another => "its file is another package's",
            Self::Shared => "systemd applies its drop-ins to other units",
            Self::Also => "other packages' units are enabled and disabled with it (Also=)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(units: impl IntoIterator<Item = &'a UnitName>) -> Vec<&'a str> {
        units.into_iter().map(UnitName::as_str).collect()
    }

    fn shipped(paths: &[(&str, Option<&str>)]) -> Shipped {
        let files = paths.iter().map(|(path, target)| match target {
            Some(target) => UnitFile::link(path, target),
            None => UnitFile::new(path, &[]),
        });
        let mut shipped = Shipped::of(files.collect(), true);
        let protected = Protected::with(&[]);
        let exempt = shipped
            .all()
            .filter_map(|unit| Some((unit.clone(), protected.name(unit.as_str())?)));
        shipped.part(&exempt.collect(), |_| false);
        shipped
    }

    #[test]
    fn the_units_of_a_package_are_files_in_the_folders_of_systemd() {
        let found = shipped(&[
            ("./lib/systemd/system/acme.service", None),
            ("/usr/lib/systemd/system/acme.socket", None),
            ("./usr/lib/systemd/system/acme@.service", None),
            ("./etc/systemd/system/acme.timer", None),
            ("./usr/lib/systemd/system/acme.mount", None),
            ("./usr/lib/systemd/user/acme-user.service", None),
            ("./usr/lib/systemd/user/acme-user.service.d", None),
            ("./usr/share/dbus-1/services/org.acme.User.service", None),
            ("./usr/share/doc/acme/acme2.service", None),
            ("./usr/lib/systemd/system/acme.service.d/more.conf", None),
            (
                "./usr/lib/systemd/system/other.service",
                Some("acme.service"),
            ),
            ("./usr/lib/systemd/system/getty.target", None),
            ("./usr/lib/systemd/system/dbus-broker.service", None),
        ]);
        let never_touched = ["dbus-broker.service", "getty.target"];
        assert_eq!(names(found.exempt.keys()), never_touched);
        let expected = ["acme.service", "acme.socket", "acme.timer", "acme@.service"];
        assert_eq!(names(&found.units), expected);
        assert_eq!(names(&found.tied()), [""; 0]);
        let of_sessions = [
            "/usr/lib/systemd/user/acme-user.service",
            "/usr/share/dbus-1/services/org.acme.User.service",
        ];
        assert_eq!(found.loose.iter().collect::<Vec<_>>(), of_sessions);
    }

    #[test]
    fn a_unit_that_a_shipped_link_or_a_script_starts_is_tied() {
        let found = shipped(&[
            ("./lib/systemd/system/acme.target", None),
            ("./lib/systemd/system/a.service", None),
            ("./lib/systemd/system/b.service", None),
            ("./lib/systemd/system/c@.service", None),
            (
                "./lib/systemd/system/multi-user.target.wants/a.service",
                Some("../a.service"),
            ),
            (
                "./lib/systemd/system/acme.target.wants/b.service",
                Some("../b.service"),
            ),
            (
                "./lib/systemd/system/multi-user.target.wants/c@1.service",
                Some("../c@.service"),
            ),
            (
                "./lib/systemd/system/multi-user.target.wants/foreign.service",
                Some("../x"),
            ),
            ("./etc/init.d/old", None),
            ("./etc/init.d/a", None),
        ]);
        assert_eq!(
            names(&found.tied()),
            ["a.service", "c@1.service", "old.service"]
        );
        let expected = [
            "a.service",
            "acme.target",
            "b.service",
            "c@.service",
            "old.service",
        ];
        assert_eq!(names(&found.units), expected);
    }

    #[test]
    fn what_a_device_needs_is_never_touched_nor_what_policy_adds() {
        let protected = Protected::with(&[Pattern::built_in("acme-vpn*")]);
        let (built_in, policy) = (Some(Exemption::BuiltIn), Some(Exemption::Policy));
        for (unit, why) in [
            ("acme-vpn.service", policy),
            ("acme.service", None),
            ("dbus.socket", built_in),
            ("dbus-broker.service", built_in),
            ("dbus-acme.service", None),
            ("getty@tty1.service", built_in),
            ("initech-agent.service", None),
            ("networking.service", built_in),
            ("networking-acme.service", None),
            ("NetworkManager-wait-online.service", built_in),
            ("ssh.socket", built_in),
            ("ssh@.service", built_in),
            ("sshd.service", built_in),
            ("sshd-keygen@rsa.service", built_in),
            ("sshguard.service", None),
            ("systemd-networkd.service", built_in),
            ("systemdhealth.service", None),
            ("udev.service", built_in),
            ("wharf-job@.service", built_in),
            ("wharfinger.service", None),
        ] {
            assert_eq!(protected.name(unit), why, "{unit}");
        }
        for (package, why) in [
            ("acme-vpn-client", policy),
            ("dbus", built_in),
            ("dbus-acme", None),
            ("ifupdown2", built_in),
            ("init", built_in),
            ("initech-agent", None),
            ("network-manager", built_in),
            ("openssh-server", built_in),
            ("opensshot", None),
            ("sshguard", None),
            ("systemd-resolved", built_in),
            ("sysvinit-core", built_in),
            ("wharfd", built_in),
            ("wharfinger", None),
        ] {
            assert_eq!(
                protected.package(&PackageName::new(package).unwrap()),
                why,
                "{package}"
            );
        }
    }

    #[test]
    fn the_operators_page_names_all_that_a_device_needs() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operator.md");
        let page = std::fs::read_to_string(page).unwrap();
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, packages) = page
            .split_once("what the device needs: the packages")
            .unwrap();
        let (packages, units) = packages.split_once("; and units").unwrap();
        let (units, _) = units.split_once(". The journal").unwrap();
        let named = |text: &str| -> Vec<String> {
            let words = text.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect()
        };
        assert_eq!(named(packages), PROTECTED_PACKAGES);
        assert_eq!(named(units), PROTECTED_UNITS);
    }

    #[test]
    fn only_files_that_say_something_about_units_are_read() {
        for (path, is_one) in [
            ("./lib/systemd/system/a.service", true),
            ("/usr/lib/systemd/system/a.service.d/own.conf", true),
            ("/etc/init.d/a", true),
            ("/usr/share/dbus-1/system-services/a.service", true),
            ("/usr/lib/systemd/user/a.service", true),
            ("./lib/systemd/user/a.service", true),
            ("/opt/share/dbus-1/system-services/a.service", true),
            ("/usr/share/doc/a/a.service", false),
            ("/usr/bin/a", false),
        ] {
            assert_eq!(is_of_a_unit(path), is_one, "{path}");
            let packed = wharf_frames::packed::plain(path).unwrap();
            let wanted = wanted().into_iter().find(|it| it.matches(&packed));
            assert_eq!(wanted.is_some(), is_one, "{path} of a package");
            let text = wanted.is_some_and(|it| it.text);
            assert_eq!(text, UnitFile::says_names(path), "the text of {path}");
        }
    }

    /// A package for a device with merged-usr may have either spelling, since links of the device are not resolved.
    #[test]
    fn each_folder_of_usr_lib_systemd_is_wanted_in_lib_as_well() {
        let wanted = wanted();
        let merged = wanted
            .iter()
            .filter(|it| it.folder.starts_with("usr/lib/systemd/"));
        let unmerged = merged.map(|it| WantedFiles {
            folder: it.folder.replacen("usr/", "", 1),
            ..it.clone()
        });
        let unmerged: Vec<WantedFiles> = unmerged.collect();
        assert!(unmerged.iter().any(|it| it.folder == "lib/systemd/system/"));
        for folder in unmerged {
            assert!(wanted.contains(&folder), "{folder:?}");
        }
    }

    #[test]
    fn the_units_of_a_package_are_parted_into_its_own_and_those_of_others() {
        let files = ["own.service", "other.service", "alias.service"]
            .map(|name| UnitFile::new(&format!("/lib/systemd/system/{name}"), b""));
        let unit = |name: &str| UnitName::new(name).unwrap();
        let exempt = |names: &[&str]| {
            let exempt = names.iter().map(|name| (unit(name), Exemption::Another));
            exempt.collect::<BTreeMap<_, _>>()
        };
        let is_alias = |it: &UnitName| it.as_str() == "alias.service";
        let mut shipped = Shipped::of(files.to_vec(), true);
        assert!(shipped.is_installed);
        assert!(!shipped.is_exempt(), "nothing is parted yet");
        shipped.part(&exempt(&["other.service"]), is_alias);
        assert_eq!(shipped.units, BTreeSet::from([unit("own.service")]));
        assert_eq!(shipped.exempt, exempt(&["other.service"]));
        assert!(!shipped.is_exempt(), "one is its own");

        let mut of_others = Shipped::of(files.to_vec(), false);
        of_others.part(&exempt(&["other.service", "own.service"]), is_alias);
        assert!(of_others.is_exempt());
        let nothing = Shipped::of(Vec::new(), false);
        assert!(!nothing.is_exempt(), "there is nothing");
    }

    #[test]
    fn a_service_of_the_bus_names_its_unit_or_is_a_program_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let services = "usr/share/dbus-1/system-services";
        std::fs::create_dir_all(root.path(services)).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(root.path(format!("{services}/{name}")), text).unwrap();
            UnitFile::new(&format!("/{services}/{name}"), b"")
        };
        let files = [
            write("a.service", "[D-BUS Service]\nSystemdService=a.service\n"),
            write("b.conf", "[D-BUS Service]\nSystemdService=b.service\n"),
            UnitFile::new("/lib/systemd/system/c.service", b""),
        ];
        let bus = BusServices::of(&files, &root);
        let a = UnitName::new("a.service").unwrap();
        assert_eq!(bus.units, BTreeSet::from([a]));
    }
}
