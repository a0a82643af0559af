//! Files before and after `seal`: their writers, sizes and ages.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
    time::{Duration, SystemTime},
};

use nix::{
    fcntl::{FallocateFlags, Flock, FlockArg, fallocate},
    libc,
    sys::socket as sys,
};
use wharf_frames::{
    Cause, StageId, Step, encode,
    installer::{InstallerReply, InstallerRequest},
};
use wharf_root::limits;
use wharf_tests::waiting::wait_until;

use crate::machine::{Deb, Machine, Signer, as_user, perform, place_script, refused};

/// Turns a descriptor into something that keeps its file writable.
type Keep = fn(File) -> Box<dyn std::any::Any>;

/// Changes a sealed file; the returned value is kept until the job has ended.
type Spoil = fn(&Path) -> Box<dyn std::any::Any>;

#[test]
fn a_file_that_somebody_can_still_write_to_is_not_sealed() {
    let machine = Machine::simulated().started();
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    let bytes = std::fs::read(&built.path).unwrap();
    let keepers: [(&str, Keep); 3] = [
        ("open", |file| Box::new(file)),
        ("duplicated", |file| Box::new(file.try_clone().unwrap())),
        ("in flight", |file| Box::new(in_flight(&file))),
    ];
    for (what, keep) in keepers {
        let stage = machine.stage_id();
        let mut file = machine.stage(stage);
        file.write_all(&bytes).unwrap();
        let kept = keep(file);
        assert!(
            matches!(machine.seal(stage, &built), InstallerReply::NotNow(_)),
            "{what}"
        );
        let again = machine.ask(&InstallerRequest::Stage {
            stage,
            keep: u64::MAX,
            size: None,
        });
        assert!(
            matches!(again, InstallerReply::NotNow(_)),
            "{what}: a second writer: {again:?}"
        );
        drop(kept);
        assert!(
            matches!(machine.seal(stage, &built), InstallerReply::Sealed(_)),
            "{what}, then closed"
        );
    }
}

fn in_flight(file: &File) -> (OwnedFd, OwnedFd) {
    let pair = sys::socketpair(
        sys::AddressFamily::Unix,
        sys::SockType::SeqPacket,
        None,
        sys::SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    let rights = [sys::ControlMessage::ScmRights(&[file.as_raw_fd()])];
    sys::sendmsg::<()>(
        pair.0.as_raw_fd(),
        &[std::io::IoSlice::new(b"x")],
        &rights,
        sys::MsgFlags::empty(),
        None,
    )
    .unwrap();
    pair
}

#[test]
fn a_staged_descriptor_can_only_be_written_to() {
    let machine = Machine::simulated().started();
    let stage = machine.stage_id();
    let mut file = machine.stage(stage);
    let flags = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert_eq!(flags & libc::O_ACCMODE, libc::O_WRONLY);
    assert_eq!(flags & libc::O_PATH, 0);
    assert!(file.read(&mut [0; 1]).is_err());
    file.write_all(&[0; 4096]).unwrap();
    assert_eq!(
        mapping(&file),
        Err(nix::errno::Errno::EACCES),
        "a writable mapping"
    );
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = as_user(990, move || File::open(path).map_err(|error| error.kind()));
    assert_eq!(
        opened.err(),
        Some(std::io::ErrorKind::PermissionDenied),
        "opened again by wharfd"
    );
}

#[allow(unsafe_code, reason = "a mapping is what is tested")]
fn mapping(file: &File) -> nix::Result<()> {
    let flags = libc::PROT_WRITE;
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            flags,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    match start {
        libc::MAP_FAILED => Err(nix::errno::Errno::last()),
        _ => Ok(()),
    }
}

#[test]
fn old_files_go_and_those_whose_age_cannot_be_told_count_from_now_on() {
    let mut machine = Machine::simulated();
    machine.policy("[quota]\ndays = 3\n");
    let program = machine.programs().join("wharf-installer");
    let now = SystemTime::now();
    let days = |days: u64| Duration::from_secs(days * 86400);
    let age = |path: &Path, time| File::open(path).unwrap().set_modified(time).unwrap();
    age(&program, now - days(10));
    machine.start_program(&program, &[]);

    let folder = machine.root().join("var/lib/wharf-installer/staged");
    let written = [
        ("too old", now - days(4), false),
        ("young", now - days(2), true),
        ("before the program was built", now - days(11), true),
        ("in 1970", SystemTime::UNIX_EPOCH, true),
        ("in the future", now + days(400), true),
    ]
    .map(|(when, time, stays)| {
        let stage = machine.stage_id();
        drop(machine.stage(stage));
        (when, folder.join(stage.to_string()), time, stays)
    });
    for (_, path, time, _) in &written {
        age(path, *time);
    }
    drop(machine.stage(machine.stage_id()));
    for (when, path, time, stays) in written {
        let modified = path.metadata().and_then(|found| found.modified()).ok();
        assert_eq!(modified.is_some(), stays, "{when}");
        if let Some(modified) = modified.filter(|&modified| modified != time) {
            let ago = SystemTime::now().duration_since(modified);
            assert!(ago.is_ok_and(|ago| ago < days(1)), "{when}: {modified:?}");
        } else {
            assert!(
                ["too old", "young"].contains(&when),
                "{when} stays of its time"
            );
        }
    }
}

#[test]
fn a_file_whose_verdict_is_good_stays_until_it_is_discarded_and_old_refusals_go() {
    let mut machine = Machine::simulated();
    machine.policy("[quota]\ndays = 3\n");
    let program = machine.programs().join("wharf-installer");
    let days = |days: u64| Duration::from_secs(days * 86400);
    let age = |path: &Path, by| {
        let file = File::open(path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    };
    age(&program, days(100));
    machine.start_program(&program, &[]);
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let refused = machine.stage_id();
    let unsigned = machine.build(&Deb::new("lamp", "1"), None);
    let reply = machine.put(refused, &unsigned);
    assert!(matches!(reply, InstallerReply::Refused(_)), "{reply:?}");
    let staged = machine.root().join("var/lib/wharf-installer/staged");
    let names = || {
        let names = std::fs::read_dir(&staged).unwrap().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let later = [format!("{stage}"), format!("{stage}.verdict")];
    // New files also look this old after the clock was set.
    for name in names() {
        age(&staged.join(name), days(40));
    }

    drop(machine.stage(machine.stage_id()));
    let names = names();
    assert!(later.iter().all(|name| names.contains(&name.into())));
    assert!(!names.contains(&format!("{refused}.verdict").into()));
    let install = perform(machine.operation(), Step::Install(stage));
    assert_eq!(machine.run(&install).failure, None);
    assert_eq!(
        machine.ask(&InstallerRequest::Discard { stage }),
        InstallerReply::Done
    );
    for name in later {
        assert!(!staged.join(&name).exists(), "{name}");
    }
}

#[test]
fn a_judged_file_is_never_handed_out_again() {
    let machine = Machine::simulated().started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let stage_again = InstallerRequest::Stage {
        stage,
        keep: 0,
        size: None,
    };
    assert_eq!(refused(machine.ask(&stage_again)), Cause::Policy);
    machine.ask(&InstallerRequest::Discard { stage });
    machine.stage(stage);
}

#[test]
fn a_stage_goes_on_after_the_bytes_that_are_kept() {
    let machine = Machine::simulated().started();
    let stage = machine.stage_id();
    machine.stage(stage).write_all(b"0123456789").unwrap();
    for (keep, kept) in [(u64::MAX, 10), (7, 7), (100, 7), (0, 0)] {
        let (reply, file) = machine
            .wharfd()
            .ask_for_descriptor(&InstallerRequest::Stage {
                stage,
                keep,
                size: None,
            });
        drop(file);
        assert!(
            matches!(reply, InstallerReply::Staged { kept: k, .. } if k == kept),
            "keep {keep}: {reply:?}"
        );
    }
}

#[test]
fn more_than_the_quota_is_refused_before_it_is_written() {
    let mut machine = Machine::simulated();
    machine.policy("[quota]\nbytes = 1000\nfiles = 2\n");
    machine.start();
    let (one, two, three) = (machine.stage_id(), machine.stage_id(), machine.stage_id());
    let ask = |stage, size| {
        machine.ask(&InstallerRequest::Stage {
            stage,
            keep: 0,
            size,
        })
    };
    assert_eq!(refused(ask(one, Some(1001))), Cause::Quota);
    machine.stage(one).write_all(&[0; 900]).unwrap();
    assert!(matches!(
        ask(two, None),
        InstallerReply::Staged { limit: 100, .. }
    ));
    assert_eq!(refused(ask(two, Some(101))), Cause::Quota);
    assert_eq!(refused(ask(three, None)), Cause::Quota);
    machine.stage(two).write_all(&[0; 500]).unwrap();
    assert_eq!(
        refused(machine.ask(&InstallerRequest::Seal {
            stage: two,
            signature: None
        })),
        Cause::Quota
    );
}

#[test]
fn what_is_refused_leaves_no_file() {
    let machine = Machine::simulated().started();
    for _ in 0..2 {
        let stage = machine.stage_id();
        let too_much = InstallerRequest::Stage {
            stage,
            keep: 0,
            size: Some(1 << 60),
        };
        assert_eq!(refused(machine.ask(&too_much)), Cause::Quota);
    }
    let InstallerReply::List { stages, .. } = machine.ask(&InstallerRequest::List) else {
        panic!("no list")
    };
    assert_eq!(stages, []);
}

#[test]
fn a_file_that_somebody_can_still_write_to_is_not_discarded() {
    let machine = Machine::simulated().started();
    let stage = machine.stage_id();
    let writer = machine.stage(stage);
    let discard = InstallerRequest::Discard { stage };
    let reply = machine.ask(&discard);
    assert!(matches!(reply, InstallerReply::NotNow(_)), "{reply:?}");
    drop(writer);
    assert_eq!(machine.ask(&discard), InstallerReply::Done);
}

#[test]
fn what_is_allocated_beyond_the_end_of_a_file_counts() {
    let mut machine = Machine::simulated();
    machine.policy("[quota]\nbytes = 4000000\n");
    machine.start();
    let file = machine.stage(machine.stage_id());
    let beyond = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, beyond, 0, 8_000_000).unwrap();
    let stage = machine.stage_id();
    let next = InstallerRequest::Stage {
        stage,
        keep: 0,
        size: Some(1),
    };
    assert_eq!(refused(machine.ask(&next)), Cause::Quota);
}

#[test]
fn a_file_that_could_not_be_looked_into_is_looked_into_again_and_refused_after_some_times() {
    let mut machine = Machine::simulated();
    let inspect = machine.programs().join("wharf-inspect");
    let sound = inspect.with_file_name("sound");
    std::fs::rename(&inspect, &sound).unwrap();
    place_script("#!/bin/sh\nkill -KILL $$\n", &inspect);
    let program = inspect.with_file_name("wharf-installer");
    machine.start_program(&program, &[]);

    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    let (passing, lasting) = (machine.stage_id(), machine.stage_id());
    let is_put_off = |reply: &InstallerReply| matches!(reply, InstallerReply::NotNow(_));
    for stage in [passing, lasting] {
        let reply = machine.put(stage, &built);
        assert!(is_put_off(&reply), "{reply:?}");
    }
    for time in 2..limits::INSPECTIONS {
        // The count survives a restart of the service.
        machine.installer().kill();
        machine.start_program(&program, &[]);
        let reply = machine.seal(lasting, &built);
        assert!(is_put_off(&reply), "{time}: {reply:?}");
    }
    let InstallerReply::Refused(failure) = machine.seal(lasting, &built) else {
        panic!("it is looked into for ever");
    };
    assert_eq!(failure.cause, Cause::Malformed);
    for words in ["signal 9", "4 times", "the memory and the disk"] {
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    std::fs::rename(sound, inspect).unwrap();
    assert!(matches!(
        machine.seal(passing, &built),
        InstallerReply::Sealed(_)
    ));
}

#[test]
fn refusals_that_nobody_discards_are_bounded() {
    let mut machine = Machine::simulated();
    machine.policy("[quota]\nfiles = 3\n");
    machine.start();
    let stages: Vec<StageId> = (0..6).map(|_| machine.stage_id()).collect();
    for stage in &stages {
        drop(machine.stage(*stage));
        let seal = InstallerRequest::Seal {
            stage: *stage,
            signature: None,
        };
        assert!(matches!(machine.ask(&seal), InstallerReply::Refused(_)));
    }
    drop(machine.stage(machine.stage_id()));
    let staged = machine.root().join("var/lib/wharf-installer/staged");
    let verdicts = std::fs::read_dir(staged).unwrap().flatten();
    let verdicts = verdicts.filter(|entry| entry.path().extension().is_some());
    assert_eq!(verdicts.count(), 3);
}

#[test]
fn a_file_that_is_becoming_a_jobs_is_neither_discarded_nor_staged_anew() {
    let machine = Machine::simulated().started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let lock = machine.root().join("var/lib/wharf-installer/jobs/.lock");
    let mut options = File::options();
    let lock = options.write(true).create(true).truncate(false).open(lock);
    let held = Flock::lock(lock.unwrap(), FlockArg::LockExclusive).unwrap();
    // The install has checked the file, and waits to be recorded.
    let (client, operation) = (machine.wharfd(), machine.operation());
    let install = perform(operation, Step::Install(stage));
    client.send(&encode(&install).unwrap(), &[]);
    wait_until("the install at the journal", || {
        is_waited_for(&held).then_some(())
    });

    let replies = [
        InstallerRequest::Discard { stage },
        InstallerRequest::Stage {
            stage,
            keep: 0,
            size: None,
        },
    ]
    .map(|request| machine.ask(&request));

    drop(held);
    assert_eq!(client.receive().unwrap().0, InstallerReply::Accepted);
    for reply in replies {
        assert!(
            matches!(
                reply,
                InstallerReply::NotNow(_) | InstallerReply::Refused(_)
            ),
            "{reply:?}"
        );
    }
    assert_eq!(machine.outcome(operation).failure, None);
}

/// proc_locks(5): a line with `->` for each who waits.
fn is_waited_for(held: &File) -> bool {
    let inode = format!(":{} ", held.metadata().unwrap().ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let mut waiting = locks.lines().filter(|line| line.contains("->"));
    waiting.any(|line| line.contains(&inode))
}

#[test]
fn what_is_no_longer_as_it_was_judged_is_not_installed() {
    let machine = Machine::simulated().started();
    let gate = machine.gate();
    let first = machine.accepted(&Deb::new("first", "1"));
    let opened = gate.wait();
    let spoil: [(&str, Spoil); 3] = [
        ("other bytes", |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.write_at(b"x", 200).unwrap();
            Box::new(())
        }),
        ("no verdict", |path| {
            std::fs::remove_file(path.with_extension("verdict")).unwrap();
            Box::new(())
        }),
        ("a writer", |path| {
            Box::new(File::options().append(true).open(path).unwrap())
        }),
    ];
    let jobs = spoil.map(|(what, spoil)| {
        let (operation, stage) = machine.accepted(&Deb::new("acme", "1"));
        let path = format!("var/lib/wharf-installer/staged/{stage}");
        (what, operation, spoil(&machine.root().join(path)))
    });
    gate.open(opened);
    assert_eq!(machine.outcome(first.0).failure, None);
    for (what, operation, _kept) in &jobs {
        let failure = machine.outcome(*operation).failure;
        let cause = failure.map(|failure| failure.cause);
        assert_eq!(cause, Some(Cause::WrongDigest), "{what}");
    }
    assert_eq!(machine.effects(), ["install first 1"]);
}
