//! Tells when somebody else may have changed what is installed here, or what runs: by the file that the package
//! manager keeps, and by what systemd says on the bus. Knows no package and no instance; whoever is told looks.

use std::{
    collections::HashMap,
    convert::Infallible,
    ffi::OsStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    path::Path,
    rc::Rc,
    time::Duration,
};

use futures_util::StreamExt;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use zbus::{
    Connection, MatchRule, MessageStream, OwnedVariant,
    message::{Message, Type},
};

/// A change is over once nothing more has changed for so long: packages are unpacked and services started in steps.
const QUIET: Duration = Duration::from_secs(1);
/// While changes go on, this is the longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// dpkg's database: its `status` is replaced at each change.
const PACKAGES: &str = "var/lib/dpkg";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNITS: &str = "/org/freedesktop/systemd1/unit";

/// Ends of the paths of units that packages have started.
const TYPES: [&str; 5] = [
    "_2eservice",
    "_2esocket",
    "_2etimer",
    "_2epath",
    "_2etarget",
];
/// Beginnings of names that are no managed package's. Our own units come and go with every look.
const OTHERS: [&str; 2] = ["wharf", "systemd_2d"];

/// Word of changes, left by whoever sees one.
#[derive(Debug, Clone, Default)]
pub struct LocalChanges(Rc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    packages: Notify,
    units: Notify,
}

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// What is installed.
    Packages,
    /// What runs, or starts at boot.
    Units,
}

impl LocalChanges {
    /// Something may have changed.
    pub fn note(&self, change: Change) {
        match change {
            Change::Packages => self.0.packages.notify_one(),
            Change::Units => self.0.units.notify_one(),
        }
    }

    /// Waits for a change of packages, and for one of units; for each not before its time. None that was noted is lost
    /// when nobody waits any more.
    pub async fn begun(&self, packages: Instant, units: Instant) -> Change {
        tokio::select! {
            biased;
            () = noted(&self.0.packages, packages) => Change::Packages,
            () = noted(&self.0.units, units) => Change::Units,
        }
    }

    /// Waits until a change that has begun is over.
    pub async fn settled(&self) {
        let begin = Instant::now();
        let latest = begin + LONGEST;
        while Instant::now() < latest {
            let quiet = (Instant::now() + QUIET).min(latest);
            if timeout_at(quiet, self.begun(begin, begin)).await.is_err() {
                return;
            }
        }
    }

    /// Notes what is done with packages below this root.
    pub async fn watch_packages(&self, root: &Path) -> io::Result<Infallible> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let replaced = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(&root.join(PACKAGES), replaced)?;
        #[allow(
            unsafe_code,
            reason = "the descriptor is the inotify's own, and stays the same"
        )]
        let events =
            unsafe { AsyncFd::register_with_interest(Events(inotify), Interest::READABLE)? };
        loop {
            let mut ready = events.readable().await?;
            match events.get_ref().0.read_events() {
                Ok(events) if events.iter().any(tells_of_packages) => self.note(Change::Packages),
                Ok(_) => {}
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes what is started, stopped, enabled and disabled, until the connection ends.
    pub async fn watch_units(&self, bus: &Connection) -> zbus::Result<()> {
        let mut states = signals(bus, unit_changed()?).await?;
        let mut links = signals(bus, unit_files_changed()?).await?;
        // systemd says nothing to nobody.
        bus.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &())
            .await?;
        self.note(Change::Units); // what was missed until now
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                Some(message) = states.next() => {
                    if message.ok().and_then(|it| changed_at(&it)).is_some_and(|at| seen.is_news(at)) {
                        self.note(Change::Units);
                    }
                }
                Some(_) = links.next() => self.note(Change::Units),
                else => return Ok(()),
            }
        }
    }
}

async fn noted(changes: &Notify, earliest: Instant) {
    sleep_until(earliest).await;
    changes.notified().await;
}

/// Of the events that could not be queued none has a name.
fn tells_of_packages(event: &InotifyEvent) -> bool {
    event
        .name
        .as_deref()
        .is_none_or(|name| name == OsStr::new("status"))
}

async fn signals(bus: &Connection, rule: MatchRule<'static>) -> zbus::Result<MessageStream> {
    MessageStream::for_match_rule(rule, bus, None).await
}

/// A unit is in another state (org.freedesktop.systemd1(5)).
fn unit_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .path_namespace(UNITS)
        .arg(0, UNIT)
        .build()
}

/// Units were enabled or disabled.
fn unit_files_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface(MANAGER)
        .member("UnitFilesChanged")
        .path(MANAGER_PATH)
        .build()
}

/// When a unit that may be managed came into the state that systemd tells of, by its clock.
fn changed_at(message: &Message) -> Option<u64> {
    let header = message.header();
    may_be_managed(header.path()?.as_str()).then_some(())?;
    let body = message.body();
    let (_, mut changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
        body.deserialize().ok()?;
    changed
        .remove("StateChangeTimestampMonotonic")?
        .try_into()
        .ok()
}

/// The latest change of which systemd told. It tells of units again whenever others are loaded that name them, and a
/// look at the device loads some: only what is later than everything before is news, or one look would follow another.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    fn is_news(&mut self, at: u64) -> bool {
        let is_later = at > self.0;
        self.0 = self.0.max(at);
        is_later
    }
}

/// Whether this can be a unit of a package that a server manages.
fn may_be_managed(path: &str) -> bool {
    let unit = path.rsplit('/').next().unwrap_or_default();
    TYPES.iter().any(|end| unit.ends_with(end)) && !OTHERS.iter().any(|name| unit.starts_with(name))
}

/// tokio watches what has a raw descriptor.
struct Events(Inotify);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn units_that_no_server_manages_tell_nothing() {
        for (unit, tells) in [
            ("acme_2eservice", true),
            ("acme_40east_2eservice", true),
            ("acme_2esocket", true),
            ("acme_2etimer", true),
            ("wharf_2dinstaller_2eservice", false),
            ("wharfd_2eservice", false),
            ("systemd_2dtmpfiles_2dclean_2eservice", false),
            ("session_2d3_2escope", false),
            ("dev_2dsda_2edevice", false),
        ] {
            assert_eq!(may_be_managed(&format!("{UNITS}/{unit}")), tells, "{unit}");
        }
    }

    #[test]
    fn a_state_of_which_systemd_tells_again_is_no_news() {
        let mut seen = Seen::default();
        let told = [5, 5, 3, 9, 0, 9].map(|at| seen.is_news(at));
        assert_eq!(told, [true, false, false, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_over_when_it_is_quiet_and_at_the_latest_after_ten_seconds() {
        let changes = LocalChanges::default();
        let begin = Instant::now();
        changes.note(Change::Units);
        assert_eq!(changes.begun(begin, begin).await, Change::Units);
        changes.note(Change::Packages);
        changes.note(Change::Units);
        changes.settled().await;
        assert_eq!(begin.elapsed().as_secs(), 1);

        let restless = changes.clone();
        let all_the_time = async move {
            loop {
                restless.note(Change::Units);
                tokio::time::sleep(QUIET / 2).await;
            }
        };
        let begin = Instant::now();
        tokio::select! {
            () = all_the_time => {}
            () = changes.settled() => {}
        }
        assert_eq!(begin.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn units_are_heard_after_their_pause_and_packages_before() {
        let changes = LocalChanges::default();
        let now = Instant::now();
        let (packages, units) = (now + Duration::from_secs(5), now + Duration::from_secs(40));
        changes.note(Change::Units);
        changes.note(Change::Packages);
        assert_eq!(changes.begun(packages, units).await, Change::Packages);
        assert_eq!(now.elapsed().as_secs(), 5);
        assert_eq!(changes.begun(packages, units).await, Change::Units);
        assert_eq!(now.elapsed().as_secs(), 40);
    }

    #[tokio::test]
    async fn a_package_database_that_was_replaced_is_noted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(PACKAGES);
        fs::create_dir_all(&folder).unwrap();
        let changes = LocalChanges::default();
        let noted = async {
            tokio::task::yield_now().await; // it is watched by now
            fs::write(folder.join("status-new"), "").unwrap();
            fs::rename(folder.join("status-new"), folder.join("status")).unwrap();
            changes.0.packages.notified().await;
        };
        tokio::select! {
            biased;
            end = changes.watch_packages(root.path()) => panic!("{end:?}"),
            () = noted => {}
        }
    }
}
