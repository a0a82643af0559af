//! Through the raw job socket as user wharfd: whatever is asked, nothing is installed or removed that policy does not
//! allow, each gets its refusal, and the next honest client is answered.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{libc, sys::socket as sys};
use wharf_frames::{
    Cause, MAX_FRAME, StageId, encode,
    installer::{JobStatus, PROTOCOL, Reply, Request},
};

use crate::machine::{Client, Deb, Machine, Signer, as_user, name, refused};

const HELLO: Request = Request::Hello { protocol: PROTOCOL };

fn is_answered(machine: &Machine) {
    match machine.ask(&HELLO) {
        Reply::Hello {
            protocol: PROTOCOL,
            backend,
            ..
        } if backend.as_str() == "simulated" => {}
        other => panic!("the next honest client got {other:?}"),
    }
}

fn started() -> Machine {
    let mut machine = Machine::simulated();
    machine.start();
    machine
}

#[test]
fn a_signed_package_is_sealed_installed_and_removed() {
    let machine = started();
    let (stage, package) = machine.sealed(&Deb::new("acme", "1.0-1"));
    assert_eq!(package.name, name("acme"));
    assert_eq!(
        package.signer.unwrap().as_str(),
        machine.keys.fingerprint(Signer::Vendor)
    );

    let outcome = machine.run(&Request::Install {
        operation: machine.operation(),
        stage,
    });
    assert_eq!(outcome.failure, None);
    assert_eq!(machine.version("acme").as_deref(), Some("1.0-1"));
    assert_eq!(machine.ask(&Request::Discard { stage }), Reply::Done);

    let outcome = machine.run(&Request::Remove {
        operation: machine.operation(),
        package: name("acme"),
    });
    assert_eq!(outcome.failure, None);
    assert_eq!(machine.effects(), ["install acme 1.0-1", "remove acme"]);
}

#[test]
fn units_are_activated_and_deactivated() {
    let machine = started();
    machine.install(&Deb::new("acme", "1"));
    for active in [true, true, false, false] {
        let (operation, package) = (machine.operation(), name("acme"));
        let request = match active {
            true => Request::Activate { operation, package },
            false => Request::Deactivate { operation, package },
        };
        let outcome = machine.run(&request);
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.device.map(|device| device.active), Some(active));
    }
    assert_eq!(
        machine.effects(),
        ["install acme 1", "activate acme", "deactivate acme"]
    );
}

#[test]
fn what_is_not_signed_by_whom_policy_allows_is_refused_for_good() {
    let mut machine = Machine::simulated();
    machine.keys.trust(Signer::VendorRsa, &machine.root());
    let rsa = machine.keys.fingerprint(Signer::VendorRsa);
    machine.policy(&format!(
        "[[key]]\nfingerprint = \"{rsa}\"\npackages = [\"acme-*\"]\n"
    ));
    machine.start();
    let other_bytes = machine.build(&Deb::new("acme-lamp", "2"), Some(Signer::Vendor));
    let mut wrong = machine.build(&Deb::new("acme-lamp", "1"), None);
    wrong.signature = other_bytes.signature;
    let foreign = Deb::new("acme-lamp", "1").architecture("s390x");
    for (what, built, cause) in [
        (
            "unsigned",
            machine.build(&Deb::new("acme-lamp", "3"), None),
            Cause::Unsigned,
        ),
        (
            "untrusted",
            machine.build(&Deb::new("acme-lamp", "4"), Some(Signer::Stranger)),
            Cause::UntrustedSigner,
        ),
        (
            "another product's",
            machine.build(&Deb::new("bulb", "1"), Some(Signer::VendorRsa)),
            Cause::OutOfScope,
        ),
        ("another file's signature", wrong, Cause::BadSignature),
        (
            "another architecture",
            machine.build(&foreign, Some(Signer::Vendor)),
            Cause::WrongArchitecture,
        ),
    ] {
        let stage = machine.stage_id();
        assert_eq!(refused(machine.put(stage, &built)), cause, "{what}");
        assert_eq!(
            refused(machine.seal(stage, &built)),
            cause,
            "{what}, asked again"
        );
        let install = Request::Install {
            operation: machine.operation(),
            stage,
        };
        assert_eq!(refused(machine.ask(&install)), cause, "{what}, installed");
        assert_eq!(machine.ask(&Request::Discard { stage }), Reply::Done);
    }
    assert_eq!(machine.effects(), [""; 0]);
    is_answered(&machine);
}

#[test]
fn an_older_version_is_refused_also_after_removal() {
    let machine = started();
    let (old, _) = machine.sealed(&Deb::new("acme", "1.9"));
    machine.install(&Deb::new("acme", "1.10"));
    let replay = || Request::Install {
        operation: machine.operation(),
        stage: old,
    };
    assert_eq!(refused(machine.ask(&replay())), Cause::Downgrade);
    machine.run(&Request::Remove {
        operation: machine.operation(),
        package: name("acme"),
    });
    assert_eq!(refused(machine.ask(&replay())), Cause::Downgrade);
    assert_eq!(machine.effects(), ["install acme 1.10", "remove acme"]);
}

#[test]
fn an_older_signature_of_the_same_version_is_refused() {
    let machine = started();
    let (stages, built) = (
        [machine.stage_id(), machine.stage_id()],
        ["20250601T000000", "20250701T000000"].map(|time| {
            let mut built = machine.build(
                &Deb::new("acme", "1").file("/usr/share/acme/at", time),
                None,
            );
            let signature = machine
                .keys
                .sign_beside_at(Signer::Vendor, &built.path, time);
            built.signature = Some(std::fs::read(signature).unwrap());
            let kept = machine.packages.join(time);
            std::fs::rename(&built.path, &kept).unwrap();
            built.path = kept;
            built
        }),
    );
    for (stage, built) in stages.iter().zip(&built) {
        assert!(matches!(machine.put(*stage, built), Reply::Sealed(_)));
    }
    let install = |stage: StageId| Request::Install {
        operation: machine.operation(),
        stage,
    };
    assert_eq!(machine.run(&install(stages[1])).failure, None);
    assert_eq!(refused(machine.ask(&install(stages[0]))), Cause::Downgrade);
    assert_eq!(
        machine.run(&install(stages[1])).failure,
        None,
        "the same signature again"
    );
}

#[test]
fn a_downgrade_that_policy_allows_is_done() {
    let mut machine = Machine::simulated();
    machine.policy("allow-downgrade = [\"ac*\"]\n");
    machine.start();
    machine.install(&Deb::new("acme", "2"));
    assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
}

#[test]
fn a_file_that_somebody_can_still_write_to_is_not_sealed() {
    let machine = started();
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    let bytes = std::fs::read(&built.path).unwrap();
    let keepers: [(&str, fn(File) -> Box<dyn std::any::Any>); 3] = [
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
            matches!(machine.seal(stage, &built), Reply::NotNow(_)),
            "{what}"
        );
        let again = machine.ask(&Request::Stage {
            stage,
            keep: u64::MAX,
            size: None,
        });
        assert!(
            matches!(again, Reply::NotNow(_)),
            "{what}: a second writer: {again:?}"
        );
        drop(kept);
        assert!(
            matches!(machine.seal(stage, &built), Reply::Sealed(_)),
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
    let machine = started();
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
fn old_files_go_and_those_of_open_jobs_stay() {
    let mut machine = Machine::simulated();
    machine.policy("[quota]\ndays = 3\n");
    machine.start();
    let age = |stage: StageId, days: u64| {
        let path = machine
            .root()
            .join(format!("var/lib/wharf-installer/staged/{stage}"));
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86400);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    let [old, young] = [machine.stage_id(), machine.stage_id()];
    drop((machine.stage(old), machine.stage(young)));
    age(old, 4);
    age(young, 2);
    let next = machine.stage_id();
    drop(machine.stage(next));
    let Reply::List { stages, .. } = machine.ask(&Request::List) else {
        panic!("no list")
    };
    let mut left: Vec<StageId> = stages.iter().map(|entry| entry.stage).collect();
    left.sort();
    assert_eq!(left, [young, next]);
}

#[test]
fn clients_that_never_take_their_answers_keep_nobody_waiting() {
    let machine = started();
    let stuck: Vec<Client> = (0..4).map(|_| machine.wharfd()).collect();
    for client in &stuck {
        fill(client);
    }
    is_answered(&machine);
}

/// Asks until neither questions nor answers find room any more.
fn fill(client: &Client) {
    client.never_wait();
    let bytes = encode(&HELLO).unwrap();
    while client.try_send(&bytes, &[]).is_ok() {}
}

#[test]
fn a_configuration_that_is_wrong_or_incomplete_ends_the_service_with_a_word_about_it() {
    let check = |machine: &Machine, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wharf-installer"));
        let output = command
            .arg("--root")
            .arg(machine.root())
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let machine = Machine::simulated();
    assert_eq!(
        check(&machine, &["--check-config"]),
        (Some(0), String::new())
    );
    machine.policy("allow-unsingned = true\n");
    for arguments in [&["--check-config"][..], &[]] {
        let (code, error) = check(&machine, arguments);
        assert_eq!(code, Some(78), "{error}");
        for word in [
            "etc/wharfd/installer.toml, line 2",
            "allow-unsingned",
            "expected one of",
        ] {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
    }
    let machine = Machine::simulated();
    std::fs::write(machine.root().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    let (code, error) = check(&machine, &[]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no line for the user 'wharfd'"), "{error}");
}

#[test]
fn an_unsigned_package_is_installed_only_where_policy_says_so_and_each_start_tells_it() {
    let mut machine = Machine::simulated();
    machine.policy("allow-unsigned = true\n");
    machine.start();
    machine.installer().errors().wait_for("allow-unsigned");
    let stage = machine.stage_id();
    let built = machine.build(&Deb::new("acme", "1"), None);
    assert!(
        matches!(machine.put(stage, &built), Reply::Sealed(package) if package.signer.is_none())
    );
    let outcome = machine.run(&Request::Install {
        operation: machine.operation(),
        stage,
    });
    assert_eq!(outcome.failure, None);
}

#[test]
fn a_judged_file_is_never_handed_out_again() {
    let machine = started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let stage_again = Request::Stage {
        stage,
        keep: 0,
        size: None,
    };
    assert_eq!(refused(machine.ask(&stage_again)), Cause::Policy);
    machine.ask(&Request::Discard { stage });
    machine.stage(stage);
}

#[test]
fn a_stage_goes_on_after_the_bytes_that_are_kept() {
    let machine = started();
    let stage = machine.stage_id();
    machine.stage(stage).write_all(b"0123456789").unwrap();
    for (keep, kept) in [(u64::MAX, 10), (7, 7), (100, 7), (0, 0)] {
        let (reply, file) = machine.wharfd().ask_for_descriptor(&Request::Stage {
            stage,
            keep,
            size: None,
        });
        drop(file);
        assert!(
            matches!(reply, Reply::Staged { kept: k, .. } if k == kept),
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
        machine.ask(&Request::Stage {
            stage,
            keep: 0,
            size,
        })
    };
    assert_eq!(refused(ask(one, Some(1001))), Cause::Quota);
    machine.stage(one).write_all(&[0; 900]).unwrap();
    assert!(matches!(ask(two, None), Reply::Staged { limit: 100, .. }));
    assert_eq!(refused(ask(two, Some(101))), Cause::Quota);
    assert_eq!(refused(ask(three, None)), Cause::Quota);
    machine.stage(two).write_all(&[0; 500]).unwrap();
    assert_eq!(
        refused(machine.ask(&Request::Seal {
            stage: two,
            signature: None
        })),
        Cause::Quota
    );
}

#[test]
fn descriptors_that_come_with_a_question_are_closed_and_the_question_refused() {
    let machine = started();
    let folder = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    let directory = File::open(folder.path()).unwrap();
    let fifo = File::options()
        .read(true)
        .write(true)
        .open(folder.path().join("fifo"))
        .unwrap();
    let client = machine.wharfd();
    let many = vec![write.as_raw_fd(); 200];
    for descriptors in [
        &[write.as_raw_fd()][..],
        &[directory.as_raw_fd()],
        &[fifo.as_raw_fd(), write.as_raw_fd()],
        &many,
    ] {
        client.send(&encode(&HELLO).unwrap(), descriptors);
        let reply = client.receive().unwrap().0;
        assert!(matches!(reply, Reply::NotUnderstood(_)), "{reply:?}");
    }
    // The service holds no copy of the pipe's end: with ours gone there is no writer left.
    drop(write);
    assert_eq!(File::from(read).read(&mut [0; 1]).unwrap(), 0);
    assert!(
        matches!(client.ask(&HELLO), Reply::Hello { .. }),
        "the same connection goes on"
    );
}

#[test]
fn oversized_and_malformed_frames_are_refused() {
    let machine = started();
    let client = machine.wharfd();
    let mut trailing = encode(&HELLO).unwrap();
    trailing.push(0);
    for bytes in [
        vec![0; MAX_FRAME + 1],
        vec![0xff; MAX_FRAME],
        vec![0xa1],
        vec![0x9f; 4096],
        trailing,
        b"GET / HTTP/1.1".to_vec(),
    ] {
        client.send(&bytes, &[]);
        let reply = client.receive().unwrap().0;
        assert!(
            matches!(reply, Reply::NotUnderstood(_)),
            "{} bytes: {reply:?}",
            bytes.len()
        );
    }
    is_answered(&machine);
}

#[test]
fn only_wharfd_and_root_are_answered() {
    let machine = started();
    assert!(
        Client::connect(&machine.root(), 0)
            .is_ok_and(|root| matches!(root.ask(&HELLO), Reply::Hello { .. }))
    );
    // The socket's mode keeps others out; behind it stands the kernel's word on who connected.
    let socket = machine.root().join("run/wharf-installer.sock");
    assert!(Client::connect(&machine.root(), 65534).is_err());
    std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let nobody = Client::connect(&machine.root(), 65534).unwrap();
    let _ = nobody.try_send(&encode(&HELLO).unwrap(), &[]);
    assert!(nobody.receive().is_none());
    is_answered(&machine);
}

#[test]
fn a_thousand_connections_keep_nobody_from_being_answered() {
    let machine = started();
    let (root, mut idle) = (machine.root(), Vec::new());
    for _ in 0..1000 {
        idle.push(Client::connect(&root, 990).expect("the backlog is taken up"));
    }
    is_answered(&machine);
    drop(idle);
    is_answered(&machine);
}

#[test]
fn a_name_that_is_a_pattern_or_an_option_is_never_a_package() {
    let machine = started();
    machine.install(&Deb::new("hello", "1"));
    for text in [
        "hello+",
        "hell.*",
        ".*",
        "?essential",
        "~nhello",
        "-oDebug::pkgProblemResolver=1",
        "hello:amd64",
        "hello=1",
        "../hello",
        "bash",
    ] {
        let (operation, package) = (machine.operation(), name(text));
        for request in [
            Request::Remove {
                operation,
                package: package.clone(),
            },
            Request::Activate {
                operation,
                package: package.clone(),
            },
            Request::Deactivate {
                operation,
                package: package.clone(),
            },
        ] {
            assert_eq!(refused(machine.ask(&request)), Cause::NotManaged, "{text}");
        }
        assert_eq!(machine.state(text), None, "{text}");
    }
    assert_eq!(machine.effects(), ["install hello 1"]);
}

#[test]
fn what_policy_protects_is_never_removed() {
    let mut machine = Machine::simulated();
    machine.policy("protected = [\"acme-base\"]\n");
    machine.start();
    for package in ["acme-base", "wharfd"] {
        machine.install(&Deb::new(package, "1"));
        let request = Request::Remove {
            operation: machine.operation(),
            package: name(package),
        };
        assert_eq!(refused(machine.ask(&request)), Cause::Plan, "{package}");
    }
}

#[test]
fn an_operation_is_done_once_however_often_it_is_asked() {
    let machine = started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let request = Request::Install {
        operation: machine.operation(),
        stage,
    };
    for _ in 0..3 {
        assert_eq!(machine.run(&request).failure, None);
    }
    machine.ask(&Request::Discard { stage });
    assert_eq!(
        machine.ask(&request),
        Reply::Accepted,
        "also when its file is gone"
    );
    assert_eq!(machine.effects(), ["install acme 1"]);
    let unknown = machine.ask(&Request::Outcome {
        operation: machine.operation(),
    });
    assert_eq!(unknown, Reply::Job(JobStatus::Unknown));
}

#[test]
fn jobs_are_done_one_at_a_time_in_the_order_of_acceptance_and_cancelled_before_anything_is_changed()
{
    let machine = started();
    let wait = machine.tell("wait");
    std::fs::remove_file(&wait).unwrap();
    nix::unistd::mkfifo(&wait, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let install = |package: &str| {
        let (stage, _) = machine.sealed(&Deb::new(package, "1"));
        let request = Request::Install {
            operation: machine.operation(),
            stage,
        };
        assert_eq!(machine.ask(&request), Reply::Accepted);
        let Request::Install { operation, .. } = request else {
            unreachable!()
        };
        (operation, stage)
    };
    let [first, second, third] = ["first", "second", "third"].map(install);
    // The first is at work once somebody can open the FIFO without waiting.
    let mut gate = File::options().write(true).open(&wait).unwrap();
    let cancel = |operation| machine.ask(&Request::Cancel { operation });
    assert_eq!(refused(cancel(first.0)), Cause::Policy, "it is at work");
    assert_eq!(cancel(second.0), Reply::Done);
    assert!(
        matches!(
            machine.ask(&Request::Discard { stage: third.1 }),
            Reply::NotNow(_)
        ),
        "its file is needed"
    );
    std::fs::remove_file(&wait).unwrap();
    gate.write_all(b"x").unwrap();
    drop(gate);
    assert_eq!(machine.outcome(first.0).failure, None);
    assert_eq!(
        machine
            .outcome(second.0)
            .failure
            .map(|failure| failure.cause),
        Some(Cause::Policy)
    );
    assert_eq!(machine.outcome(third.0).failure, None);
    assert_eq!(machine.effects(), ["install first 1", "install third 1"]);
}

#[test]
fn what_the_package_manager_says_becomes_the_outcome() {
    let machine = started();
    for (fault, cause) in [
        ("fail-install", Cause::Script),
        ("locked", Cause::Locked),
        ("held", Cause::Held),
        ("needs", Cause::Dependency),
    ] {
        let file = machine.tell(fault);
        let outcome = machine.install(&Deb::new("acme", "1"));
        assert_eq!(outcome.failure.map(|failure| failure.cause), Some(cause));
        assert_eq!((outcome.device, outcome.attempts), (None, 1));
        std::fs::remove_file(file).unwrap();
    }
}
