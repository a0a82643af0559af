//! The job socket: who may connect, how many, and for how long. A client that is slow, stuck or many costs itself its
//! connection and nobody else anything.

use std::{
    fs::{self, Permissions},
    io,
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
    Cause, Failure, OperationId, decode,
    installer::{JobStatus, Reply, Request},
};

use crate::{
    answer::{Answer, Desk},
    durable, limits,
    packets::{self, Received},
    process::wait_for_event,
    root::Root,
    users::User,
};

/// The service on its socket.
pub struct Service {
    desk: Arc<Desk>,
    socket: OwnedFd,
    wharfd: User,
    open: Arc<Connections>,
}

/// The connections that are open.
#[derive(Default)]
struct Connections {
    table: Mutex<Vec<Connection>>,
    closed: Condvar,
}

struct Connection {
    number: u64,
    uid: u32,
    socket: Arc<OwnedFd>,
    at: At,
}

/// What a connection's thread is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// It waits for a question.
    Waiting,
    /// It answers one.
    Working,
    /// It was told to go while it waited.
    PushedOut,
}

impl Service {
    /// Binds the job socket of this root for this user and root.
    pub fn bind(root: &Root, wharfd: User, desk: Arc<Desk>) -> io::Result<Self> {
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
        // Whoever sees it can connect to it.
        fs::rename(&new, &path)?;
        Ok(Self {
            desk,
            socket,
            wharfd,
            open: Arc::default(),
        })
    }

    /// Answers, for ever.
    pub fn run(&self) -> io::Result<()> {
        for number in 0.. {
            match accept(&self.socket) {
                Ok(socket) => self.admit(number, socket),
                Err(error) if is_fatal(&error) => return Err(error),
                // Out of descriptors or memory, for now: connections end by themselves, and one that ends wakes us.
                Err(_) => self.open.wait_for_an_end(),
            }
        }
        Ok(())
    }

    fn admit(&self, number: u64, socket: OwnedFd) {
        let Ok(uid) = getsockopt(&socket, PeerCredentials).map(|peer| peer.uid()) else {
            return;
        };
        if bound(&socket).is_err() || (uid != 0 && uid != self.wharfd.uid) {
            return;
        }
        if !self.open.make_room(uid) {
            let failure = Failure::new(
                Cause::Unavailable,
                "every connection is at work: ask again later",
            );
            let _ = packets::send(&socket, &Reply::NotNow(failure), None);
            return;
        }
        let socket = Arc::new(socket);
        self.open.add(number, uid, Arc::clone(&socket));
        let (desk, open) = (Arc::clone(&self.desk), Arc::clone(&self.open));
        let started = thread::Builder::new()
            .name(format!("client {number}"))
            .spawn(move || {
                let _end = Ending(&open, number);
                converse(&desk, &open, number, &socket);
            });
        if started.is_err() {
            self.open.remove(number);
        }
    }
}

/// Nobody waits for a client longer than the table of limits says.
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

/// Questions and answers, until the client goes.
fn converse(desk: &Desk, open: &Connections, number: u64, socket: &OwnedFd) {
    loop {
        let received = packets::receive(socket);
        if !open.begin_work(number) {
            return; // its place was given to another
        }
        let sent = match received {
            Received::Gone => return,
            Received::Refused(why) => {
                packets::send(socket, &Reply::NotUnderstood(why.into()), None)
            }
            Received::Packet(bytes) => match decode::<Request>(&bytes) {
                Ok(request) => answer(desk, socket, request),
                Err(error) => {
                    let why = error.to_string();
                    packets::send(socket, &Reply::NotUnderstood(why.into()), None)
                }
            },
        };
        if sent.is_err() {
            return; // gone, or stuck
        }
        open.end_work(number);
    }
}

fn answer(desk: &Desk, socket: &OwnedFd, request: Request) -> io::Result<()> {
    match desk.answer(request) {
        Answer::Reply(reply) => packets::send(socket, &reply, None),
        Answer::WithDescriptor(reply, descriptor) => {
            packets::send(socket, &reply, Some(descriptor.as_fd()))
        }
        Answer::Watch(operation) => watch(desk, socket, operation),
    }
}

/// Tells each change of a job until its end, or until the client goes.
fn watch(desk: &Desk, socket: &OwnedFd, operation: OperationId) -> io::Result<()> {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    for folder in [desk.root.jobs(), desk.root.run()] {
        changes.add_watch(&folder, AddWatchFlags::IN_MOVED_TO)?;
    }
    let mut told = None;
    loop {
        let reply = match desk.status(operation) {
            Ok(status) => Reply::Job(status),
            Err(not_done) => return packets::send(socket, &not_done.into(), None),
        };
        if told.as_ref() != Some(&reply) {
            packets::send(socket, &reply, None)?;
        }
        if !matches!(reply, Reply::Job(JobStatus::Open { .. })) {
            return Ok(());
        }
        told = Some(reply);
        if !changed(&changes, socket)? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// Waits until a record or a report was replaced. False when the client went, or said something else instead.
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
    fn add(&self, number: u64, uid: u32, socket: Arc<OwnedFd>) {
        self.lock().push(Connection {
            number,
            uid,
            socket,
            at: At::Waiting,
        });
    }

    /// Whether there is room for one more of this user. One that only waits gives way, the longest waiting first: so a
    /// thousand that ask nothing keep nobody from being answered.
    fn make_room(&self, uid: u32) -> bool {
        let mut table = self.lock();
        loop {
            let of_user = table
                .iter()
                .filter(|connection| connection.uid == uid)
                .count();
            let full = table.len() >= limits::CONNECTIONS;
            if !full && of_user < limits::CONNECTIONS_OF_A_USER {
                return true;
            }
            let mut waiting = table
                .iter()
                .filter(|connection| connection.at == At::Waiting && connection.uid == uid);
            let Some(number) = waiting.next().map(|connection| connection.number) else {
                return false;
            };
            table = self.push_out(table, number);
        }
    }

    /// Ends a connection that only waits, and waits for its thread to let go.
    fn push_out<'a>(
        &'a self,
        mut table: MutexGuard<'a, Vec<Connection>>,
        number: u64,
    ) -> MutexGuard<'a, Vec<Connection>> {
        if let Some(connection) = table
            .iter_mut()
            .find(|connection| connection.number == number)
        {
            connection.at = At::PushedOut;
            let _ = shutdown(connection.socket.as_raw_fd(), Shutdown::Both);
        }
        let is_there = |table: &mut Vec<Connection>| table.iter().any(|one| one.number == number);
        let waited = self.closed.wait_while(table, is_there);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the connection was pushed out while it waited.
    fn begin_work(&self, number: u64) -> bool {
        let mut table = self.lock();
        match table
            .iter_mut()
            .find(|connection| connection.number == number)
        {
            Some(connection) if connection.at == At::Waiting => {
                connection.at = At::Working;
                true
            }
            _ => false,
        }
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

    fn remove(&self, number: u64) {
        self.lock().retain(|connection| connection.number != number);
        self.closed.notify_all();
    }

    fn wait_for_an_end(&self) {
        let table = self.lock();
        let _table = self.closed.wait_timeout(table, limits::CLIENT_STUCK);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's connection leaves the table however the thread ends.
struct Ending<'a>(&'a Connections, u64);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}
