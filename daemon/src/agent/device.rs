//! Reads from the installer what the device has: at the start, and after another program may have changed it. The end
//! of a job reports this itself. One reading ends before the next begins.

use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use wharf_frames::{PackageName, Text, installer::Found};
use wharf_software::{Event, InstanceId};

use super::Agent;
use crate::{
    installer::{InstallerError, PackageManagerInfo},
    local_changes::{LocalChange, LocalChanges},
    tasks::{TaskContext, TaskReport},
};

/// The pause between two readings: a unit that starts every second must not cause as many.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest pause, if units change all the time without any effect on the packages here.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Agent {
    /// The software to ask about. A job that runs reports its own software at its end.
    pub(super) fn idle_software(&self) -> Vec<(InstanceId, PackageName)> {
        let idle = self
            .instances
            .iter()
            .filter(|(_, instance)| !instance.is_busy());
        idle.filter_map(|(id, known)| Some((*id, known.software()?.0.clone())))
            .collect()
    }
}

/// Reads the device now and after each change, as long as the agent runs.
pub(super) fn watch(root: &Path, changes: LocalChanges, context: TaskContext) {
    let packages = watch_packages(root.to_owned(), changes.clone(), context.clone());
    tokio::task::spawn_local(packages);
    tokio::task::spawn_local(watch_software(changes, context));
}

async fn watch_packages(root: PathBuf, changes: LocalChanges, context: TaskContext) {
    let hello = async || {
        let manager = context.installer.package_manager().await?;
        let name = manager.name.to_string();
        context.publisher.agent(|agent| agent.backend = name);
        Ok(manager)
    };
    let database = database(hello, |failures| context.timing.pause(failures)).await;
    let database = root.join(database.as_str().trim_start_matches('/'));
    let Err(error) = changes.watch_packages(&database).await;
    tracing::info!("packages that are changed by hand are seen at the next start only: {error}");
}

/// The installer names the file. After an upgrade an older installer may still run: it names none, and ends soon.
async fn database(
    hello: impl AsyncFn() -> Result<PackageManagerInfo, InstallerError>,
    pause: impl Fn(u32) -> Duration,
) -> Text {
    let mut failures = 0;
    loop {
        if let Ok(manager) = hello().await
            && let Some(database) = manager.database
        {
            return database;
        }
        failures += 1;
        sleep(pause(failures)).await;
    }
}

async fn watch_software(changes: LocalChanges, context: TaskContext) {
    let mut looks = Looks::new(context.timing.in_part);
    let mut pause = PAUSE;
    let mut in_vain = 0;
    let mut change = Some(LocalChange::Packages); // changes while wharfd did not run
    let mut latest = Instant::now();
    loop {
        if change.is_some() {
            let Some(software) = idle_software(&context).await else {
                return;
            };
            looks.begin(software);
            in_vain = 0;
        }
        let is_news = looks
            .go_on(
                async |name| context.installer.state(name).await,
                |id, has| context.report(id, Event::DeviceHas(has)),
            )
            .await;
        pause = next_pause(pause, change, is_news);
        if change.is_some() {
            latest = Instant::now();
        }
        in_vain += 1;
        let again = Instant::now() + context.timing.pause(in_vain);
        change = tokio::select! {
            change = changes.begun(latest + PAUSE, latest + pause) => Some(change),
            () = sleep_until(again), if !looks.open.is_empty() => None,
        };
        if change.is_some() {
            changes.settled().await;
        }
    }
}

/// None after the agent has ended.
async fn idle_software(context: &TaskContext) -> Option<Vec<(InstanceId, PackageName)>> {
    let (sender, software) = oneshot::channel();
    context.send(TaskReport::IdleSoftware(sender));
    software.await.ok()
}

/// The pause before a change of units leads to the next reading. It doubles while they change no package here.
fn next_pause(pause: Duration, change: Option<LocalChange>, is_news: bool) -> Duration {
    match (is_news, change) {
        (true, _) => PAUSE,
        (false, Some(LocalChange::Units)) => (pause * 2).min(LONGEST_PAUSE),
        (false, Some(LocalChange::Packages) | None) => pause,
    }
}

/// The last readings, and the software that is still to be read.
struct Looks {
    /// As in [`crate::config::Timing::in_part`].
    in_part: Duration,
    told: BTreeMap<InstanceId, Option<Found>>,
    open: Vec<(InstanceId, PackageName)>,
    in_part_since: BTreeMap<InstanceId, Instant>,
}

impl Looks {
    fn new(in_part: Duration) -> Self {
        Self {
            in_part,
            told: BTreeMap::new(),
            open: Vec::new(),
            in_part_since: BTreeMap::new(),
        }
    }

    /// Begins to read all of this software.
    fn begin(&mut self, software: Vec<(InstanceId, PackageName)>) {
        let is_there = |id: &InstanceId| software.iter().any(|(known, _)| known == id);
        self.in_part_since.retain(|id, _| is_there(id));
        self.open = software;
    }

    /// Asks once about each open package. One without an answer stays open. Returns whether there was news.
    async fn go_on(
        &mut self,
        ask: impl AsyncFn(PackageName) -> Result<Option<Found>, InstallerError>,
        tell: impl Fn(InstanceId, Option<Found>),
    ) -> bool {
        let mut is_news = false;
        for (id, name) in mem::take(&mut self.open) {
            match ask(name.clone()).await {
                Ok(has) if self.may_be_told(id, has.as_ref()) => {
                    is_news |= self.note(id, has.as_ref());
                    tell(id, has);
                }
                Ok(_) | Err(InstallerError::Later(_)) => self.open.push((id, name)),
                Err(InstallerError::Refused(failure)) => tracing::warn!(
                    WHARF_INSTANCE = id.0,
                    WHARF_PACKAGE = name.as_str(),
                    "cannot read what the device has of {name}: {failure}"
                ),
            }
        }
        is_news
    }

    /// Whether to report this. Software that is newly installed in part is soon complete or gone: a package manager
    /// runs.
    fn may_be_told(&mut self, id: InstanceId, has: Option<&Found>) -> bool {
        if has.is_none_or(Found::is_whole) {
            self.in_part_since.remove(&id);
            return true;
        }
        let is_told = self.told.get(&id).is_some_and(|told| told.as_ref() == has);
        let since = *self.in_part_since.entry(id).or_insert_with(Instant::now);
        is_told || since.elapsed() >= self.in_part
    }

    /// Records a report. Returns whether it is news.
    fn note(&mut self, id: InstanceId, has: Option<&Found>) -> bool {
        self.told
            .insert(id, has.cloned())
            .is_none_or(|told| told.as_ref() != has)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use wharf_frames::{Cause, Failure, PackageVersion};

    use super::*;

    const IN_PART: Duration = Duration::from_secs(60);

    fn looks() -> Looks {
        Looks::new(IN_PART)
    }

    type Looked = Result<Option<Found>, InstallerError>;

    fn software(names: &[&str]) -> Vec<(InstanceId, PackageName)> {
        let names = names.iter().map(|name| PackageName::new(name).unwrap());
        (0..).map(InstanceId).zip(names).collect()
    }

    fn found(name: &PackageName, damage: Option<&str>) -> Looked {
        Ok(Some(Found {
            name: name.clone(),
            version: PackageVersion::new("2.0").unwrap(),
            active: false,
            damage: damage.map(Into::into),
            managed: true,
            no_services: false,
            skipped: None,
            components: Vec::new(),
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_installer_is_asked_again_until_one_names_the_database() {
        let manager = |database: Option<&str>| PackageManagerInfo {
            name: "apt".into(),
            database: database.map(Into::into),
        };
        let later = || InstallerError::Later(Failure::new(Cause::Unavailable, "none"));
        let answers = RefCell::new(vec![
            Ok(manager(Some("/var/lib/packages"))),
            Err(later()),
            Ok(manager(None)),
        ]);
        let hello = async || answers.borrow_mut().pop().unwrap();
        let begin = Instant::now();
        let found = database(hello, |failures| Duration::from_secs(failures.into())).await;
        assert_eq!(found.as_str(), "/var/lib/packages");
        assert_eq!(begin.elapsed().as_secs(), 1 + 2);
    }

    /// The questions, the reports, and whether there was news.
    async fn go_on(
        looks: &mut Looks,
        answer: impl Fn(&PackageName) -> Looked,
    ) -> (Vec<String>, Vec<u16>, bool) {
        let (asked, told) = (RefCell::new(vec![]), RefCell::new(vec![]));
        let ask = async |name: PackageName| {
            asked.borrow_mut().push(name.to_string());
            answer(&name)
        };
        let tell = |id: InstanceId, _| told.borrow_mut().push(id.0);
        let is_news = looks.go_on(ask, tell).await;
        (asked.into_inner(), told.into_inner(), is_news)
    }

    #[test]
    fn the_pause_doubles_while_units_change_nothing_here() {
        let (units, packages) = (Some(LocalChange::Units), Some(LocalChange::Packages));
        let mut pause = PAUSE;
        for (change, is_news, expected) in [
            (packages, false, 5),
            (units, false, 10),
            (units, false, 20),
            (packages, false, 20),
            (None, false, 20),
            (units, false, 40),
            (units, false, 60),
            (units, false, 60),
            (None, true, 5),
            (units, false, 10),
            (units, true, 5),
            (units, false, 10),
            (packages, true, 5),
        ] {
            pause = next_pause(pause, change, is_news);
            assert_eq!(pause.as_secs(), expected, "{change:?}, news: {is_news}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_looked_at_keeps_nothing_else_from_it() {
        let mut looks = looks();
        looks.begin(software(&["acme", "hello", "nginx"]));
        let later = |name: &PackageName| match name.as_str() {
            "acme" => Err(InstallerError::Later(Failure::new(
                Cause::Unavailable,
                "not now",
            ))),
            "hello" => Err(InstallerError::Refused(Failure::new(
                Cause::Policy,
                "never",
            ))),
            _ => found(name, None),
        };
        let all = ["acme", "hello", "nginx"].map(str::to_owned).to_vec();
        assert_eq!(go_on(&mut looks, later).await, (all, vec![2], true));
        let rest = vec!["acme".to_owned()];
        let whole = |name: &PackageName| found(name, None);
        assert_eq!(go_on(&mut looks, whole).await, (rest, vec![0], true));
        assert_eq!(go_on(&mut looks, whole).await, (vec![], vec![], false));
    }

    #[tokio::test]
    async fn what_the_device_has_as_before_is_told_and_no_news() {
        let mut looks = looks();
        for is_news in [true, false] {
            looks.begin(software(&["hello"]));
            let (_, told, news) = go_on(&mut looks, |_| Ok(None)).await;
            assert_eq!((told, news), (vec![0], is_news));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_in_part_is_told_when_it_is_whole_or_after_a_while() {
        let in_part = |name: &PackageName| found(name, Some("half-configured"));
        let mut looks = looks();
        looks.begin(software(&["hello"]));
        assert_eq!(go_on(&mut looks, in_part).await.1, []);
        let whole = |name: &PackageName| found(name, None);
        assert_eq!(go_on(&mut looks, whole).await.1, [0]);

        looks.begin(software(&["hello"]));
        assert_eq!(go_on(&mut looks, in_part).await.1, []);
        tokio::time::advance(IN_PART / 2).await;
        looks.begin(software(&["hello"])); // another change does not begin the while again
        assert_eq!(go_on(&mut looks, in_part).await.1, []);
        tokio::time::advance(IN_PART / 2).await;
        let (_, told, is_news) = go_on(&mut looks, in_part).await;
        assert_eq!((told, is_news), (vec![0], true));

        looks.begin(software(&["hello"]));
        let (_, told, is_news) = go_on(&mut looks, in_part).await;
        assert_eq!((told, is_news), (vec![0], false), "it is known");
    }
}
