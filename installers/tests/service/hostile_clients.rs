//! Clients that send invalid or excessive data lose only their own connection.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    sync::mpsc,
    thread,
};

use nix::{
    libc,
    sys::{
        signal::Signal,
        socket::{setsockopt, sockopt::Linger},
    },
};
use wharf_frames::{
    encode,
    installer::{InstallerReply, InstallerRequest, PROTOCOL},
};
use wharf_tests::waiting::{LIMIT, wait_until};

use crate::machine::{Client, Machine};

const HELLO: InstallerRequest = InstallerRequest::Hello { protocol: PROTOCOL };

/// A TCP connection whose other side does not read: closing its last descriptor blocks.
struct Lingering {
    ours: TcpStream,
    theirs: TcpStream,
}

impl Lingering {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let full = std::iter::repeat_with(|| ours.write(&[0; 65536])).find_map(Result::err);
        assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
        ours.set_nonblocking(false).unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 600,
        };
        setsockopt(&ours.as_fd(), Linger, &linger).unwrap();
        Self { ours, theirs }
    }
}

/// Connections of wharfd's user, each with a descriptor that takes long to close. The service is stopped until our own
/// copies are closed, so that it holds the last one.
fn leave_lingering(machine: &mut Machine, clients: usize) -> Vec<(Client, TcpStream)> {
    machine.installer().signal(Signal::SIGSTOP);
    let left = (0..clients).map(|_| {
        let client = machine.wharfd();
        let Lingering { ours, theirs } = Lingering::new();
        client.send(&encode(&HELLO).unwrap(), &[ours.as_raw_fd()]);
        (client, theirs)
    });
    let left = left.collect();
    machine.installer().signal(Signal::SIGCONT);
    left
}

/// Asks hello as root until it is answered.
fn root_is_answered(machine: &Machine) {
    let (answered, answer) = mpsc::channel();
    let root = machine.root();
    thread::spawn(move || {
        wait_until("an answer for root", || {
            let client = Client::connect(&root, 0).ok()?;
            client.try_send(&encode(&HELLO).unwrap(), &[]).ok()?;
            matches!(client.receive()?.0, InstallerReply::Hello { .. }).then_some(())
        });
        let _ = answered.send(());
    });
    assert_eq!(answer.recv_timeout(LIMIT), Ok(()), "root is answered");
}

#[test]
fn no_descriptor_stays_of_a_packet_whose_descriptors_do_not_all_fit() {
    let mut machine = Machine::simulated().started();
    let installer = machine.installer().id();
    root_is_answered(&machine);
    let client = machine.wharfd();
    assert!(matches!(client.ask(&HELLO), InstallerReply::Hello { .. }));
    limit_open_files(installer, 64);
    let before = open_files(installer);

    let null = File::open("/dev/null").unwrap();
    client.send(&encode(&HELLO).unwrap(), &[null.as_raw_fd(); 200]);
    let reply = client.receive().unwrap().0;

    assert!(
        matches!(reply, InstallerReply::NotUnderstood(_)),
        "{reply:?}"
    );
    // Root's connection may still have been closing.
    wait_until("no more open files than before", || {
        (open_files(installer) <= before).then_some(())
    });
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[allow(unsafe_code, reason = "nix changes only the limits of its own process")]
fn limit_open_files(pid: u32, files: u64) {
    let limit = libc::rlimit {
        rlim_cur: files,
        rlim_max: files,
    };
    let pid = i32::try_from(pid).unwrap();
    let done = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

#[test]
fn sockets_that_take_long_to_close_keep_no_other_user_waiting() {
    let mut machine = Machine::simulated().started();
    let _left = leave_lingering(&mut machine, 12);
    root_is_answered(&machine);
    let next = machine.wharfd();
    next.send(&encode(&HELLO).unwrap(), &[]);
    let reply = next.receive().map(|(reply, _)| reply);
    assert!(
        matches!(reply, None | Some(InstallerReply::NotNow(_))),
        "its user's places are taken: {reply:?}"
    );
    root_is_answered(&machine);
}

#[test]
fn more_sockets_than_can_be_held_end_the_service_and_so_the_sockets() {
    let mut machine = Machine::simulated().started();
    let _left = leave_lingering(&mut machine, 60);
    let installer = machine.installer();
    installer.errors().wait_for("can be closed");
    assert_eq!(installer.wait().code(), Some(1));
    machine.start();
    assert!(matches!(machine.ask(&HELLO), InstallerReply::Hello { .. }));
}
