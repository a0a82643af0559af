//! Detects changes of installed packages or running units by other programs: by the database of the package manager,
//! and by systemd's signals on D-Bus. It does not know packages or instances: its reader inspects the device.

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
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use zbus::{
    Connection, MatchRule, MessageStream, OwnedVariant, fdo,
    message::{Flags, Message, Type},
    names::BusName,
};

/// The quiet time after which a change is over: packages are unpacked and services started in steps.
const QUIET: Duration = Duration::from_secs(1);
/// The longest wait while changes continue.
const LONGEST: Duration = Duration::from_secs(10);

const BUS: &str = "org.freedesktop.DBus";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNITS: &str = "/org/freedesktop/systemd1/unit";

/// Endings of the D-Bus paths of units that packages start.
const TYPES: [&str; 5] = [
    "_2eservice",
    "_2esocket",
    "_2etimer",
    "_2epath",
    "_2etarget",
];
/// Beginnings of names of units that are not managed. Our own units start and stop with every inspection.
const OTHERS: [&str; 2] = ["wharf", "systemd_2d"];

/// Notifications of changes, from the watchers to one reader.
#[derive(Debug, Clone, Default)]
pub struct LocalChanges(Rc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    packages: Notify,
    units: Notify,
}

/// A part of the device that may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalChange {
    /// The installed packages.
    Packages,
    /// The units that run or start at boot.
    Units,
}

impl LocalChanges {
    /// Notes that something may have changed.
    pub fn note(&self, change: LocalChange) {
        match change {
            LocalChange::Packages => self.0.packages.notify_one(),
            LocalChange::Units => self.0.units.notify_one(),
        }
    }

    /// Waits for a change of packages or of units, for each not before its time. A cancelled wait loses no change.
    pub async fn begun(&self, packages: Instant, units: Instant) -> LocalChange {
        tokio::select! {
            biased;
            () = noted(&self.0.packages, packages) => LocalChange::Packages,
            () = noted(&self.0.units, units) => LocalChange::Units,
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

    /// Notes each change of the package manager's database. The package manager replaces that file, or writes into it.
    pub async fn watch_packages(&self, database: &Path) -> io::Result<Infallible> {
        let (Some(folder), Some(file)) = (database.parent(), database.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let changed = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MODIFY;
        inotify.add_watch(folder, changed | AddWatchFlags::IN_ONLYDIR)?;
        self.note(LocalChange::Packages); // a change may precede the watch
        #[allow(
            unsafe_code,
            reason = "the descriptor is the inotify's own, and stays the same"
        )]
        let events =
            unsafe { AsyncFd::register_with_interest(Events(inotify), Interest::READABLE)? };
        loop {
            let mut ready = events.readable().await?;
            match events.get_ref().0.read_events() {
                Ok(events) if events.iter().any(|event| is_about(event, file)) => {
                    self.note(LocalChange::Packages);
                }
                Ok(_) => {}
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes units that are started, stopped, enabled or disabled, until the connection ends. systemd may join the bus
    /// later.
    pub async fn watch_units(&self, bus: &Connection) -> zbus::Result<()> {
        let mut owners = signals(bus, owner_changed()?).await?;
        let owner = owner_of_systemd(bus).await?;
        let mut links = signals(bus, unit_files_changed()?).await?;
        let mut states = signals(bus, unit_changed()?).await?;
        if owner.is_some() {
            subscribe(bus).await?;
        }
        self.note(LocalChange::Units); // changes before the watch
        let mut heard = Heard { owner, latest: 0 };
        loop {
            let is_news = tokio::select! {
                biased;
                Some(message) = owners.next() => {
                    let is_other = message.is_ok_and(|it| heard.follows(&it));
                    if is_other && heard.owner.is_some() {
                        subscribe(bus).await?;
                    }
                    is_other
                }
                Some(message) = states.next() => message.is_ok_and(|it| heard.is_of_a_unit(&it)),
                Some(message) = links.next() => message.is_ok_and(|it| heard.is_systemds(&it)),
                else => return Ok(()),
            };
            if is_news {
                self.note(LocalChange::Units);
            }
        }
    }
}

async fn owner_of_systemd(bus: &Connection) -> zbus::Result<Option<String>> {
    let proxy = fdo::DBusProxy::new(bus).await?;
    match proxy.get_name_owner(systemd()?).await {
        Ok(owner) => Ok(Some(owner.to_string())),
        Err(fdo::Error::NameHasNoOwner(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes systemd send signals. It does not wait for the reply: while nothing reads the earlier signals, the connection
/// may be full.
async fn subscribe(bus: &Connection) -> zbus::Result<()> {
    let message = Message::method_call(MANAGER_PATH, "Subscribe")
        .destination(SYSTEMD)
        .interface(MANAGER)
        .with_flags(Flags::NO_REPLY_EXPECTED)
        .build(&())?;
    bus.send(&message).await
}

async fn noted(changes: &Notify, earliest: Instant) {
    sleep_until(earliest).await;
    changes.notified().await;
}

/// The event of a queue overflow has no name: it may concern any file.
fn is_about(event: &InotifyEvent, file: &OsStr) -> bool {
    event.name.as_deref().is_none_or(|name| name == file)
}

async fn signals(bus: &Connection, rule: MatchRule<'static>) -> zbus::Result<MessageStream> {
    MessageStream::for_match_rule(rule, bus, None).await
}

fn systemd() -> zbus::Result<BusName<'static>> {
    BusName::try_from(SYSTEMD)
}

/// Signals that systemd joined the bus, left it, or has a new connection.
fn owner_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(0, SYSTEMD)
        .build()
}

/// Signals that a unit has another state (org.freedesktop.systemd1(5)).
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

/// Signals that units were enabled or disabled.
fn unit_files_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface(MANAGER)
        .member("UnitFilesChanged")
        .path(MANAGER_PATH)
        .build()
}

/// The time, by systemd's clock, at which a unit that may be managed changed to the state in the message.
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

/// Recognises systemd's signals. Any user may send a signal to this connection directly, past its match rules; the bus
/// vouches for the sender.
struct Heard {
    /// The connection that owns systemd's name.
    owner: Option<String>,
    /// The time of the latest change. systemd repeats old states when it loads other units, and each look at the device
    /// loads some. Only a later time is news, or one look would cause the next.
    latest: u64,
}

impl Heard {
    /// Takes the new owner of systemd's name from a NameOwnerChanged of the bus. False for any other message.
    fn follows(&mut self, message: &Message) -> bool {
        let is_the_bus = sender(message).is_some_and(|it| it == BUS);
        let body = message.body();
        let Ok((SYSTEMD, _, new)) = body.deserialize::<(&str, &str, &str)>() else {
            return false;
        };
        if !is_the_bus {
            return false;
        }
        self.owner = (!new.is_empty()).then(|| new.to_owned());
        true
    }

    fn is_systemds(&self, message: &Message) -> bool {
        self.owner.is_some() && sender(message) == self.owner
    }

    /// Whether systemd reports a new state.
    fn is_of_a_unit(&mut self, message: &Message) -> bool {
        let at = self.is_systemds(message).then(|| changed_at(message));
        at.flatten().is_some_and(|at| self.is_news(at, monotonic()))
    }

    /// A time ahead of the clock is forged, and would silence all later signals of systemd.
    fn is_news(&mut self, at: u64, now: u64) -> bool {
        let is_news = at > self.latest && at <= now;
        if is_news {
            self.latest = at;
        }
        is_news
    }
}

fn sender(message: &Message) -> Option<String> {
    message.header().sender().map(|name| name.to_string())
}

/// systemd's clock, in microseconds.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let [seconds, nanoseconds] =
        [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or_default());
    seconds * 1_000_000 + nanoseconds / 1000
}

/// Whether this can be a unit of a managed package.
fn may_be_managed(path: &str) -> bool {
    let unit = path.rsplit('/').next().unwrap_or_default();
    TYPES.iter().any(|end| unit.ends_with(end)) && !OTHERS.iter().any(|name| unit.starts_with(name))
}

/// The raw descriptor that tokio watches.
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
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        process::{Child, Command},
        sync::Arc,
    };

    use futures_util::FutureExt;
    use zbus::{Variant, connection};

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
        let mut heard = Heard {
            owner: None,
            latest: 0,
        };
        let told = [5, 5, 3, 9, 0, 9].map(|at| heard.is_news(at, 9));
        assert_eq!(told, [true, false, false, true, false, false]);
    }

    #[test]
    fn a_state_ahead_of_the_clock_is_no_news_and_silences_none() {
        let mut heard = Heard {
            owner: None,
            latest: 0,
        };
        let told = [(u64::MAX, 9), (10, 9), (9, 9), (10, 10)];
        let told = told.map(|(at, now)| heard.is_news(at, now));
        assert_eq!(told, [false, false, true, true]);
        let now = monotonic();
        assert!(now > 0 && now <= monotonic());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_over_when_it_is_quiet_and_at_the_latest_after_ten_seconds() {
        let changes = LocalChanges::default();
        let begin = Instant::now();
        changes.note(LocalChange::Units);
        assert_eq!(changes.begun(begin, begin).await, LocalChange::Units);
        changes.note(LocalChange::Packages);
        changes.note(LocalChange::Units);
        changes.settled().await;
        assert_eq!(begin.elapsed().as_secs(), 1);

        let restless = changes.clone();
        let all_the_time = async move {
            loop {
                restless.note(LocalChange::Units);
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
        changes.note(LocalChange::Units);
        changes.note(LocalChange::Packages);
        assert_eq!(changes.begun(packages, units).await, LocalChange::Packages);
        assert_eq!(now.elapsed().as_secs(), 5);
        assert_eq!(changes.begun(packages, units).await, LocalChange::Units);
        assert_eq!(now.elapsed().as_secs(), 40);
    }

    /// Watches a database, makes this change in its folder, and waits until the change is noted.
    async fn noted_after(change: impl Fn(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("database");
        fs::write(&database, "").unwrap();
        let changes = LocalChanges::default();
        let noted = async {
            tokio::task::yield_now().await; // it is watched by now
            changes.0.packages.notified().await;
            fs::write(folder.path().join("other"), "").unwrap();
            tokio::task::yield_now().await;
            let another = changes.0.packages.notified().now_or_never();
            assert!(another.is_none(), "another file changed");
            change(folder.path());
            changes.0.packages.notified().await;
        };
        tokio::select! {
            biased;
            end = changes.watch_packages(&database) => panic!("{end:?}"),
            () = noted => {}
        }
    }

    #[tokio::test]
    async fn a_package_database_that_was_replaced_is_noted() {
        noted_after(|folder| {
            fs::write(folder.join("database-new"), "").unwrap();
            fs::rename(folder.join("database-new"), folder.join("database")).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_package_database_that_was_written_in_place_is_noted() {
        noted_after(|folder| fs::write(folder.join("database"), "more").unwrap()).await;
    }

    /// A dbus-daemon that allows every message: only wharfd's own check rejects forged signals.
    struct Bus {
        daemon: Child,
        folder: tempfile::TempDir,
    }

    impl Bus {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let file = folder.path().join("bus.conf");
            let text = format!(
                "<busconfig><type>session</type><auth>EXTERNAL</auth><listen>unix:path={}/bus</listen>\
                 <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
                 <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
                 </policy></busconfig>",
                folder.path().display()
            );
            fs::write(&file, text).unwrap();
            let mut daemon = Command::new("dbus-daemon");
            daemon.args(["--nofork", "--config-file"]).arg(file);
            let bus = Self {
                daemon: daemon.spawn().unwrap(),
                folder,
            };
            let connected = async {
                while bus.builder().build().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let connected = tokio::time::timeout(Duration::from_secs(20), connected);
            connected.await.expect("dbus-daemon listens");
            bus
        }

        fn address(&self) -> String {
            format!("unix:path={}/bus", self.folder.path().display())
        }

        fn builder(&self) -> connection::Builder<'static> {
            connection::Builder::address(self.address().as_str())
        }

        /// A connection that owns systemd's name.
        async fn systemd(&self, subscribed: &Rc<Notify>) -> Connection {
            let asked = Arc::new(Notify::new());
            let systemd = self
                .builder()
                .serve_at(MANAGER_PATH, Manager(asked.clone()))
                .name(SYSTEMD)
                .build()
                .await
                .unwrap();
            let subscribed = subscribed.clone();
            tokio::task::spawn_local(async move {
                loop {
                    asked.notified().await;
                    subscribed.notify_one();
                }
            });
            systemd
        }

        /// Sends a signal as an unprivileged user to one connection, and returns after its arrival.
        async fn forge(&self, to: &Connection, signal: &[&str]) {
            let mut busctl = Command::new("setpriv");
            busctl
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "busctl"])
                .arg(format!("--address={}", self.address()))
                .arg("emit")
                .arg(format!("--destination={}", to.unique_name().unwrap()))
                .args(signal);
            assert!(busctl.status().unwrap().success(), "{signal:?}");
            all_has_come(to).await;
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }

    /// Waits until this connection has received and handled all messages of the bus so far.
    async fn all_has_come(to: &Connection) {
        let bus = fdo::DBusProxy::new(to).await.unwrap();
        for _ in 0..5 {
            bus.get_id().await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    struct Manager(Arc<Notify>);

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl Manager {
        fn subscribe(&self) {
            self.0.notify_one();
        }
    }

    const ACME: &str = "/org/freedesktop/systemd1/unit/acme_2eservice";

    async fn tell(systemd: &Connection, at: u64) {
        let changed = HashMap::from([("StateChangeTimestampMonotonic", Variant::from(at))]);
        let body = (UNIT, changed, Vec::<&str>::new());
        let properties = "org.freedesktop.DBus.Properties";
        let told = systemd.emit_signal(
            None::<BusName<'_>>,
            ACME,
            properties,
            "PropertiesChanged",
            &body,
        );
        told.await.unwrap();
    }

    async fn heard(changes: &LocalChanges) {
        let heard = changes.0.units.notified();
        tokio::time::timeout(Duration::from_secs(20), heard)
            .await
            .expect("what systemd says is heard");
    }

    #[track_caller]
    fn not_heard(changes: &LocalChanges) {
        let heard = std::pin::pin!(changes.0.units.notified()).now_or_never();
        assert_eq!(heard, None, "what others say is heard");
    }

    #[tokio::test]
    async fn systemd_is_heard_that_comes_to_the_bus_later() {
        let later = async {
            let bus = Bus::start().await;
            let (changes, subscribed) = (LocalChanges::default(), Rc::new(Notify::new()));
            let wharfd = bus.builder().build().await.unwrap();
            let (watching, watched) = (changes.clone(), wharfd.clone());
            tokio::task::spawn_local(async move { watching.watch_units(&watched).await });
            heard(&changes).await; // it watches
            let systemd = bus.systemd(&subscribed).await;
            let asked = tokio::time::timeout(Duration::from_secs(20), subscribed.notified());
            asked.await.expect("systemd is asked for signals");
            heard(&changes).await;
            all_has_come(&wharfd).await;
            let _ = std::pin::pin!(changes.0.units.notified()).now_or_never();
            tell(&systemd, monotonic()).await;
            heard(&changes).await;
        };
        tokio::task::LocalSet::new().run_until(later).await;
    }

    #[tokio::test]
    async fn what_others_say_in_the_name_of_systemd_is_not_heard_and_systemd_is() {
        let local = tokio::task::LocalSet::new();
        local.run_until(forged_and_real_signals()).await;
    }

    async fn forged_and_real_signals() {
        let bus = Bus::start().await;
        let (changes, subscribed) = (LocalChanges::default(), Rc::new(Notify::new()));
        let systemd = bus.systemd(&subscribed).await;
        let wharfd = bus.builder().build().await.unwrap();
        let (watching, watched) = (changes.clone(), wharfd.clone());
        tokio::task::spawn_local(async move { watching.watch_units(&watched).await });
        subscribed.notified().await;
        heard(&changes).await;

        let (latest, now) = (u64::MAX.to_string(), monotonic().to_string());
        let state = [
            ACME,
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            "sa{sv}as",
            UNIT,
            "1",
        ];
        let somebody = bus.builder().build().await.unwrap();
        let name = somebody.unique_name().unwrap().to_string();
        let at = |time| {
            [
                &state[..],
                &["StateChangeTimestampMonotonic", "t", time, "0"],
            ]
            .concat()
        };
        let owner = [
            "/org/freedesktop/DBus",
            BUS,
            "NameOwnerChanged",
            "sss",
            SYSTEMD,
            "",
            &name,
        ];
        for signal in [
            &at(&latest)[..],
            &at(&now),
            &[MANAGER_PATH, MANAGER, "UnitFilesChanged"],
            &owner,
        ] {
            bus.forge(&wharfd, signal).await;
            not_heard(&changes);
        }
        tell(&systemd, monotonic()).await;
        heard(&changes).await;
        // A time ahead of the clock, from systemd too.
        tell(&systemd, u64::MAX).await;
        tell(&systemd, monotonic()).await;
        heard(&changes).await;

        drop(systemd);
        let systemd = bus.systemd(&subscribed).await;
        subscribed.notified().await;
        heard(&changes).await; // changes before the watch
        all_has_come(&wharfd).await;
        let _ = std::pin::pin!(changes.0.units.notified()).now_or_never(); // systemd went and came
        tell(&somebody, monotonic()).await;
        tell(&systemd, monotonic()).await;
        heard(&changes).await;
        let signal = ("org.freedesktop.systemd1.Manager", "UnitFilesChanged");
        let told = systemd.emit_signal(None::<BusName<'_>>, MANAGER_PATH, signal.0, signal.1, &());
        told.await.unwrap();
        heard(&changes).await;
    }
}
