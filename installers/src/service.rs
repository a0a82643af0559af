//! The job socket: who may connect, how many, and for how long. A slow or excessive client loses only its own
//! connection. A client's socket may hold descriptors that take long to close, such as a TCP socket that lingers. Only
//! the client's own thread closes it, and that thread counts as a connection until then.

use std::{
    fs::{self, Permissions},
    io,
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::fs::{PermissionsExt, chown},
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        socket::{
            AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, accept4, bind,
            getsockopt, listen, setsockopt, shutdown, socket,
            sockopt::{PeerCredentials, ReceiveTimeout, SendTimeout},
        },
        time::{TimeVal, TimeValLike},
    },
};
use wharf_frames::{
    Cause, Failure, OperationId,
    installer::{InstallerReply, InstallerRequest, JobStatus},
};
use wharf_root::{Root, durable, limits, process::wait_for_event, users::User};

use crate::{
    answer::{Responder, SocketAnswer},
    packets::{self, Received},
};

/// The service on its socket.
pub struct Service {
    responder: Arc<Responder>,
    /// Closed only by the end of the process, which does not wait for clients in its backlog (socket(7), SO_LINGER).
    socket: ManuallyDrop<OwnedFd>,
    wharfd: User,
    open: Arc<Connections>,
    ends_when_idle: bool,
}

/// The connections that are open.
#[derive(Default)]
struct Connections {
    table: Mutex<Vec<Connection>>,
    /// Signals that a connection was closed, or has been given or refused a place.
    changed: Condvar,
}

struct Connection {
    number: u64,
    uid: u32,
    /// None while its thread closes it.
    socket: Option<Arc<OwnedFd>>,
    at: At,
}

/// The state of a connection's thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// It has no place yet.
    Arriving,
    /// It waits for a question.
    Waiting,
    /// It answers one.
    Working,
    /// It lost its place while it waited.
    PushedOut,
    /// It is refused, since there is no place for it.
    TurnedAway,
}

impl Service {
    /// Binds the job socket of this root for this user and root.
    pub fn bind(root: &Root, wharfd: User, responder: Arc<Responder>) -> io::Result<Self> {
        let path = root.socket();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        durable::remove(&new)?;
        let socket = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        bind(socket.as_raw_fd(), &UnixAddr::new(&new)?)?;
        fs::set_permissions(&new, Permissions::from_mode(0o660))?;
        chown(&new, Some(0), Some(wharfd.gid))?;
        listen(&socket, Backlog::MAXALLOWABLE)?;
        // Clients can connect as soon as they see the socket.
        fs::rename(&new, &path)?;
        Ok(Self {
            responder,
            socket: ManuallyDrop::new(socket),
            wharfd,
            open: Arc::default(),
            ends_when_idle: false,
        })
    }

    /// Serves a socket of systemd, which keeps it. A client that connects after our end starts us again.
    pub fn at(socket: OwnedFd, wharfd: User, responder: Arc<Responder>) -> Self {
        Self {
            responder,
            socket: ManuallyDrop::new(socket),
            wharfd,
            open: Arc::default(),
            ends_when_idle: true,
        }
    }

    /// Serves clients: forever, or until it is idle if systemd keeps the socket. An error means that this process
    /// cannot continue. It ends and so closes every connection at once, even slow ones. Jobs run on.
    pub fn run(&self) -> io::Result<()> {
        for number in 0.. {
            if self.ends_when_idle && !self.wait_for_client()? {
                return Ok(());
            }
            match accept(&self.socket) {
                Ok(socket) => self.take_up(number, socket)?,
                Err(error) if is_fatal(&error) => return Err(error),
                // Out of descriptors or memory, for now: connections end by themselves, and one that ends wakes us.
                Err(_) => self.open.wait_for_an_end(),
            }
        }
        Ok(())
    }

    /// False after an idle time without clients and open jobs.
    fn wait_for_client(&self) -> io::Result<bool> {
        loop {
            let mut events = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            wait_for_event(&mut events, Instant::now() + limits::IDLE)?;
            if events.iter().any(|event| event.any() == Some(true)) {
                return Ok(true);
            }
            if self.open.lock().is_empty() && self.responder.queue.is_idle() {
                return Ok(false);
            }
        }
    }

    /// Gives the connection a thread of its own.
    fn take_up(&self, number: u64, socket: OwnedFd) -> io::Result<()> {
        let uid = getsockopt(&socket, PeerCredentials)?.uid();
        let socket = Arc::new(socket);
        if !self.open.add(number, uid, Arc::clone(&socket)) {
            let why = format!("no connection of uid {uid} can be closed, and there are too many");
            return Err(io::Error::other(why));
        }
        let may_connect = uid == 0 || uid == self.wharfd.uid;
        let (responder, open) = (Arc::clone(&self.responder), Arc::clone(&self.open));
        thread::Builder::new()
            .name(format!("client {number}"))
            .spawn(move || {
                let end = Ending {
                    open: &open,
                    number,
                    socket: Some(socket),
                };
                if let Some(socket) = end.socket.as_ref().filter(|_| may_connect) {
                    admit(&responder, &open, number, socket);
                }
            })
            .map(drop)
    }
}

fn admit(responder: &Responder, open: &Connections, number: u64, socket: &OwnedFd) {
    if bound(socket).is_err() {
        return;
    }
    if open.find_place(number) {
        return converse(responder, open, number, socket);
    }
    let failure = Failure::new(
        Cause::Unavailable,
        "every connection is busy: ask again later",
    );
    let _ = packets::send(socket, &InstallerReply::NotNow(failure), None);
}

/// Limits how long we wait for a client.
fn bound(socket: &OwnedFd) -> nix::Result<()> {
    let time = |limit: Duration| TimeVal::seconds(i64::try_from(limit.as_secs()).unwrap_or(1));
    setsockopt(socket, ReceiveTimeout, &time(limits::CLIENT_SILENCE))?;
    setsockopt(socket, SendTimeout, &time(limits::CLIENT_STUCK))
}

#[allow(
    unsafe_code,
    reason = "accept4 gives a new descriptor that nobody else owns"
)]
fn accept(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let descriptor = accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn is_fatal(error: &io::Error) -> bool {
    use nix::libc::{EBADF, EINVAL, ENOTSOCK};
    matches!(error.raw_os_error(), Some(EBADF | EINVAL | ENOTSOCK))
}

/// Answers questions until the client disconnects.
fn converse(responder: &Responder, open: &Connections, number: u64, socket: &OwnedFd) {
    loop {
        let received = packets::receive(socket);
        if !open.begin_work(number) {
            return; // its place was given to another
        }
        let sent = match received {
            Received::Gone => return,
            Received::Refused(why) => {
                packets::send(socket, &InstallerReply::NotUnderstood(why.into()), None)
            }
            Received::Packet(bytes) => match InstallerRequest::read(&bytes) {
                Ok(request) => answer(responder, socket, request),
                Err(error) => {
                    let why = error.to_string();
                    packets::send(socket, &InstallerReply::NotUnderstood(why.into()), None)
                }
            },
        };
        if sent.is_err() {
            return; // gone, or stuck
        }
        open.end_work(number);
    }
}

fn answer(responder: &Responder, socket: &OwnedFd, request: InstallerRequest) -> io::Result<()> {
    match responder.answer(request) {
        SocketAnswer::Reply(reply) => packets::send(socket, &reply, None),
        SocketAnswer::WithDescriptor(reply, descriptor) => {
            packets::send(socket, &reply, Some(descriptor.as_fd()))
        }
        SocketAnswer::Watch(operation) => watch(responder, socket, operation),
    }
}

/// Reports each change of a job until its end, or until the client disconnects.
fn watch(responder: &Responder, socket: &OwnedFd, operation: OperationId) -> io::Result<()> {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    for folder in [responder.root.jobs(), responder.root.run()] {
        changes.add_watch(&folder, AddWatchFlags::IN_MOVED_TO)?;
    }
    let mut told = None;
    loop {
        let reply = match responder.status(operation) {
            Ok(status) => InstallerReply::Job(status),
            Err(not_done) => return packets::send(socket, &not_done.into(), None),
        };
        if told.as_ref() != Some(&reply) {
            packets::send(socket, &reply, None)?;
        }
        if !matches!(reply, InstallerReply::Job(JobStatus::Open { .. })) {
            return Ok(());
        }
        told = Some(reply);
        if !changed(&changes, socket)? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// Waits until a record or a report was replaced. False if the client disconnected, or sent something else instead.
fn changed(changes: &Inotify, socket: &OwnedFd) -> io::Result<bool> {
    let mut events = [
        PollFd::new(changes.as_fd(), PollFlags::POLLIN),
        PollFd::new(socket.as_fd(), PollFlags::POLLIN),
    ];
    let [change, client] = loop {
        wait_for_event(&mut events, Instant::now() + Duration::from_secs(3600))?;
        let seen = events.each_ref().map(|event| event.any().unwrap_or(false));
        if seen != [false, false] {
            break seen;
        }
    };
    if change {
        let _ = changes.read_events();
    }
    Ok(!client)
}

impl Connections {
    /// Adds a connection without a place. False if its user still has too many after a timeout.
    fn add(&self, number: u64, uid: u32, socket: Arc<OwnedFd>) -> bool {
        let is_full = |table: &mut Vec<Connection>| {
            let of_user = table.iter().filter(|connection| connection.uid == uid);
            of_user.count() >= limits::CONNECTIONS_HELD_OF_A_USER
        };
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limits::CLIENT_STUCK, is_full);
        let (mut table, result) = waited.unwrap_or_else(PoisonError::into_inner);
        table.push(Connection {
            number,
            uid,
            socket: Some(socket),
            at: At::Arriving,
        });
        !result.timed_out()
    }

    /// Finds a place for a connection that has arrived. Connections of one user take turns. A connection that only
    /// waits gives way, the longest waiting first, so that idle ones cannot block service. One that does not go in time
    /// keeps its place.
    fn find_place(&self, number: u64) -> bool {
        let deadline = Instant::now() + limits::MAKING_ROOM;
        let mut table = self.lock();
        let found = loop {
            let Some(uid) = uid_of(&table, number) else {
                break false;
            };
            let its_turn = is_next(&table, uid, number);
            if its_turn && !is_full(&table, uid) {
                break true;
            }
            if (its_turn && !push_out(&mut table, uid)) || Instant::now() >= deadline {
                break false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let must_wait = |table: &mut Vec<Connection>| {
                let is_next = is_next(table, uid, number);
                !is_next || (its_turn && is_full(table, uid))
            };
            let waited = self.changed.wait_timeout_while(table, left, must_wait);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        let at = if found { At::Waiting } else { At::TurnedAway };
        set(&mut table, number, at);
        self.changed.notify_all(); // the next one's turn
        found
    }

    /// False if the connection lost its place while it waited.
    fn begin_work(&self, number: u64) -> bool {
        let mut table = self.lock();
        let waits = table
            .iter()
            .any(|connection| connection.number == number && connection.at == At::Waiting);
        if waits {
            set(&mut table, number, At::Working);
        }
        waits
    }

    fn end_work(&self, number: u64) {
        let mut table = self.lock();
        if let Some(at) = table
            .iter()
            .position(|connection| connection.number == number)
        {
            let mut connection = table.remove(at);
            connection.at = At::Waiting;
            table.push(connection); // the table's order is that of waiting
        }
    }

    /// Drops the table's handle on the socket: from now on only the connection's thread owns it.
    fn let_go(&self, number: u64) {
        let mut table = self.lock();
        if let Some(connection) = table.iter_mut().find(|one| one.number == number) {
            connection.socket = None;
        }
    }

    fn remove(&self, number: u64) {
        self.lock().retain(|connection| connection.number != number);
        self.changed.notify_all();
    }

    fn wait_for_an_end(&self) {
        let table = self.lock();
        let _table = self.changed.wait_timeout(table, limits::CLIENT_STUCK);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid_of(table: &[Connection], number: u64) -> Option<u32> {
    let mut found = table.iter().filter(|one| one.number == number);
    found.next().map(|connection| connection.uid)
}

fn set(table: &mut [Connection], number: u64, at: At) {
    for connection in table.iter_mut().filter(|one| one.number == number) {
        connection.at = at;
    }
}

/// Whether it is the oldest connection of its user without a place.
fn is_next(table: &[Connection], uid: u32, number: u64) -> bool {
    let mut arriving = table
        .iter()
        .filter(|one| one.uid == uid && one.at == At::Arriving);
    arriving.all(|one| one.number >= number)
}

/// Whether every place for this user is taken.
fn is_full(table: &[Connection], uid: u32) -> bool {
    let with_place = || {
        table
            .iter()
            .filter(|one| !matches!(one.at, At::Arriving | At::TurnedAway))
    };
    let of_user = with_place().filter(|one| one.uid == uid).count();
    with_place().count() >= limits::CONNECTIONS || of_user >= limits::CONNECTIONS_OF_A_USER
}

/// Makes a waiting connection of this user leave. False if none waits and none is leaving.
fn push_out(table: &mut [Connection], uid: u32) -> bool {
    let of_user = || table.iter().filter(|connection| connection.uid == uid);
    let is_going = of_user().any(|connection| connection.at == At::PushedOut);
    let waiting = table
        .iter_mut()
        .find(|connection| connection.uid == uid && connection.at == At::Waiting);
    let Some(connection) = waiting else {
        return is_going;
    };
    connection.at = At::PushedOut;
    if let Some(socket) = &connection.socket {
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
    }
    true
}

/// Closes a thread's connection and then removes it from the table, however the thread ends.
struct Ending<'a> {
    open: &'a Connections,
    number: u64,
    socket: Option<Arc<OwnedFd>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.open.let_go(self.number);
        drop(self.socket.take());
        self.open.remove(self.number);
    }
}
