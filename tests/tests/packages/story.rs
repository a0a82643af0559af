//! The life of a package on both: it is installed, activated, deactivated, removed and purged. After each step the two
//! are compared.

use std::{collections::BTreeSet, path::Path, time::Instant};

use wharf_tests::container::Container;

use crate::{
    debian::{ALL, Place, RANDOM, Real, STOPPED_OR_FAILED, Units},
    device::Difference,
    pair::Pair,
    units::{Stopped, run, systemctl, units_of},
};

/// One package on both.
struct Story<'a> {
    pair: &'a mut Pair,
    real: &'a Real,
    wrong: Vec<String>,
}

/// The differences that are expected after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Nothing,
    /// The package is INACTIVE on ours. On the twin its units are stopped and disabled. Units that start in spite of
    /// that are held on ours.
    Held,
    /// The package is INACTIVE on ours, and runs on the twin.
    Inactive,
}

/// The name of the drop-in that holds a unit.
const HELD: &str = "00-wharfd-held.conf";

/// The most differences that are printed for each comparison.
const MOST: usize = 12;

/// Returns everything that was not as expected.
pub(crate) fn of(pair: &mut Pair, real: &Real) -> Vec<String> {
    let begun = Instant::now();
    let mut story = Story {
        pair,
        real,
        wrong: Vec::new(),
    };
    story.tell();
    eprintln!(
        "{:3} s {}{}",
        begun.elapsed().as_secs(),
        real.name,
        story
            .wrong
            .iter()
            .map(|wrong| format!("\n    {wrong}"))
            .collect::<String>()
    );
    story.wrong
}

impl Story<'_> {
    fn tell(&mut self) {
        if self.begin() {
            self.go_on();
        } else if self.real.removable {
            self.clean_up();
        }
    }

    /// Whether the package is installed on both.
    fn begin(&mut self) -> bool {
        let name = self.real.name;
        let package = self.pair.archive.to_install(self.real);
        let by_nginx = name.len().is_multiple_of(5);
        let (file, from) = self.pair.give(&package, by_nginx);
        self.step("install", &format!("wharfctl install {from}"), |twin| {
            apt(twin, &format!("install {file}"))
        });
        if !self.wrong.is_empty() {
            return false;
        }
        match self.real.place {
            Place::New => {
                self.compare("install", Expected::Inactive);
                self.nothing_runs();
            }
            Place::Same | Place::Older => self.compare("install", Expected::Nothing),
        }
        true
    }

    fn go_on(&mut self) {
        let name = self.real.name;
        self.activate();
        self.compare("activate", Expected::Nothing);

        let mut stopped = Stopped::default();
        match self.real.units {
            Units::Own => {
                self.step(
                    "deactivate",
                    &format!("wharfctl deactivate {name}"),
                    |twin| {
                        stopped = Stopped::by_systemctl(twin, name)?;
                        Ok(())
                    },
                );
                self.compare("deactivate", Expected::Held);
            }
            Units::Exempt => {
                self.refused("deactivate", "never stopped by wharfd");
                self.compare("deactivate", Expected::Nothing);
            }
        }
        match self.real.removable {
            true => self.remove(),
            false => {
                self.step(
                    "activate again",
                    &format!("wharfctl activate {name}"),
                    |twin| stopped.again(twin),
                );
                self.compare("activate again", Expected::Nothing);
            }
        }
    }

    fn activate(&mut self) {
        let (name, starts) = (self.real.name, self.real.starts);
        self.step("activate", &format!("wharfctl activate {name}"), |twin| {
            systemctl(twin, "enable --now", starts)
        });
    }

    fn remove(&mut self) {
        let name = self.real.name;
        self.step("remove", &format!("wharfctl uninstall {name}"), |twin| {
            apt(twin, &format!("remove {name}"))
        });
        self.compare("remove", Expected::Nothing);
        self.clean_up();
        self.compare("clean up", Expected::Nothing);
    }

    /// Undoes the story by apt on both, so that each package finds the same device.
    fn clean_up(&mut self) {
        let name = self.real.name;
        let again = match self.real.place {
            Place::New => String::new(),
            Place::Same | Place::Older => {
                let (file, _) = self
                    .pair
                    .give(&self.pair.archive.of_the_system(self.real), false);
                format!("apt-get -qq -y --no-install-recommends install {file} </dev/null; ")
            }
        };
        let purge = format!(
            "apt-get -qq -y purge {name} </dev/null; {again}\
             apt-get -qq -y --purge autoremove </dev/null; systemctl reset-failed"
        );
        if let Err(wrong) = self.pair.each(&purge) {
            self.wrong(&format!("clean up: {wrong}"));
        }
    }

    /// wharfctl on ours, another command on the twin, at the same time. Both have to succeed.
    fn step(
        &mut self,
        what: &str,
        ours: &str,
        twins: impl FnOnce(&Container) -> Result<(), String> + Send,
    ) {
        let (ours, twins) = self.pair.both(
            |container| run(container, &format!("timeout 300 {ours} 2>&1")),
            twins,
        );
        if let Err(wrong) = ours {
            self.wrong(&format!("{what}: {wrong}"));
        }
        if let Err(wrong) = twins {
            self.wrong(&format!("{what}: the twin: {wrong}"));
        }
    }

    fn refused(&mut self, verb: &str, why: &str) {
        let line = format!("wharfctl {verb} {} 2>&1", self.real.name);
        match run(&self.pair.ours.container, &line) {
            Err(refused) if refused.contains(why) => {}
            other => self.wrong(&format!("{verb}: not refused since {why:?}: {other:?}")),
        }
    }

    fn compare(&mut self, after: &str, expected: Expected) {
        let held = self.pair.ours.container.path().join("etc/systemd/system");
        let differences = self
            .pair
            .new_differences(|it| is_expected(it, expected, &held));
        for difference in differences.iter().take(MOST) {
            self.wrong(&format!("after {after}: {difference}"));
        }
        if differences.len() > MOST {
            self.wrong(&format!(
                "after {after}: {} differences in all",
                differences.len()
            ));
        }
    }

    /// A package that wharfd has just installed is INACTIVE, unless the device needs its units.
    fn nothing_runs(&mut self) {
        if self.real.units == Units::Exempt {
            return;
        }
        match units_of(&self.pair.ours.container, self.real.name) {
            Err(wrong) => self.wrong(&wrong),
            Ok(mut units) => {
                units.retain(|unit| unit.runs);
                if !units.is_empty() {
                    self.wrong(&format!(
                        "after install: it is INACTIVE, and these run: {units:?}"
                    ));
                }
            }
        }
    }

    fn wrong(&mut self, what: &str) {
        self.wrong.push(format!("{}: {what}", self.real.name));
    }
}

fn running(container: &Container) -> BTreeSet<String> {
    let list = "systemctl list-units --plain --no-legend --state=active,activating,reloading \
                --type=service,socket,timer,path,target | cut -d' ' -f1";
    container.sh(list).lines().map(str::to_owned).collect()
}

fn apt(twin: &Container, words: &str) -> Result<(), String> {
    run(
        twin,
        &format!("apt-get -qq -y --no-install-recommends --reinstall {words} </dev/null 2>&1"),
    )
    .map(drop)
}

fn is_expected(difference: &Difference, expected: Expected, units: &Path) -> bool {
    let fact = difference.fact.as_str();
    let begins = |path: &&str| fact.starts_with(&format!("file {path}"));
    if RANDOM.iter().any(begins) && is_in_content(difference) {
        return true;
    }
    let is_it = |unit| STOPPED_OR_FAILED.contains(&unit);
    let is_down = |state: &Option<String>| state.as_deref().is_none_or(|it| it == "failed");
    if fact.strip_prefix("unit ").is_some_and(is_it)
        && is_down(&difference.ours)
        && is_down(&difference.twins)
    {
        return true;
    }
    match expected {
        Expected::Nothing => false,
        Expected::Held => is_held(difference, units),
        Expected::Inactive => {
            let of_units = [
                "unit ",
                "enabled ",
                "file /etc/systemd/system/",
                "file /etc/rc",
            ];
            let lasting = [
                "file /etc/",
                "file /usr/",
                "file /var/cache/debconf/",
                "file /var/lib/apt/",
                "file /var/lib/dpkg/",
                "file /var/lib/systemd/deb-systemd-helper-",
            ];
            of_units.iter().any(|begin| fact.starts_with(begin))
                || !lasting.iter().any(|begin| fact.starts_with(begin))
        }
    }
}

/// Both have the file, with one owner and mode.
fn is_in_content(difference: &Difference) -> bool {
    let Difference { ours, twins, .. } = difference;
    let (Some(ours), Some(twins)) = (ours, twins) else {
        return false;
    };
    match (ours.rsplit_once(' '), twins.rsplit_once(' ')) {
        (Some((ours, _)), Some((twins, _))) => ours == twins,
        _ => false,
    }
}

/// A drop-in of wharfd, or its folder.
fn is_held(difference: &Difference, units: &Path) -> bool {
    let Some(path) = difference.fact.strip_prefix("file /etc/systemd/system/") else {
        return false;
    };
    let is_ours = match path.split_once('/') {
        Some((_, name)) => name == HELD,
        None => path.ends_with(".d") && units.join(path).join(HELD).exists(),
    };
    is_ours && difference.twins.is_none()
}

/// Software that stays on both across the reboot, and whether it is active.
pub(crate) const LEFT: [(&str, bool); 2] = [("mosquitto", true), ("lighttpd", false)];

/// Whether the package is one of these.
pub(crate) fn is_left(real: &Real) -> bool {
    LEFT.iter().any(|(name, _)| *name == real.name)
}

fn in_the_table(name: &str) -> &'static Real {
    let mut all = ALL.iter();
    all.find(|real| real.name == name).expect("in the table")
}

/// After a reboot the protected units are up, active software runs, and inactive software does not.
pub(crate) fn of_a_reboot(pair: &mut Pair) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, active) in LEFT {
        let real = in_the_table(name);
        let mut story = Story {
            pair,
            real,
            wrong: Vec::new(),
        };
        let (file, from) = story.pair.give(&story.pair.archive.to_install(real), false);
        story.step("install", &format!("wharfctl install {from}"), |twin| {
            apt(twin, &format!("install {file}"))
        });
        match active {
            true => story.step("activate", &format!("wharfctl activate {name}"), |_| Ok(())),
            false => story.step("stay inactive", "true", |twin| {
                Stopped::by_systemctl(twin, name).map(drop)
            }),
        }
        wrong.append(&mut story.wrong);
    }
    pair.reboot();
    let real = in_the_table(LEFT[0].0);
    let mut story = Story {
        pair,
        real,
        wrong: Vec::new(),
    };
    story.compare("the reboot", Expected::Held);
    let running = running(&story.pair.ours.container);
    for unit in [
        "dbus.service",
        "ssh.service",
        "networking.service",
        "systemd-logind.service",
        "mosquitto.service",
    ] {
        if !running.contains(unit) {
            story.wrong(&format!("after the reboot: {unit} does not run"));
        }
    }
    if running.contains("lighttpd.service") {
        story.wrong("after the reboot: lighttpd.service runs and is INACTIVE");
    }
    wrong.append(&mut story.wrong);
    wrong
}
