//! Through the raw job socket as user wharfd: policy limits every installation and removal, each invalid request is
//! refused, and the next honest client is answered.

use std::{fs::File, io::Read, os::fd::AsRawFd};

use wharf_frames::{
    Cause, MAX_FRAME, Step, Transaction, encode,
    installer::{InstallerReply, InstallerRequest, PROTOCOL},
};

use crate::machine::{Client, Deb, Machine, Signer, name, perform, refused};

const HELLO: InstallerRequest = InstallerRequest::Hello { protocol: PROTOCOL };

fn is_answered(machine: &Machine) {
    match machine.ask(&HELLO) {
        InstallerReply::Hello {
            protocol: PROTOCOL,
            package_manager,
            ..
        } if package_manager.as_str() == "simulated" => {}
        other => panic!("the next honest client got {other:?}"),
    }
}

#[test]
fn what_is_not_signed_by_whom_policy_allows_is_refused_for_good() {
    let mut machine = Machine::simulated();
    machine
        .keys
        .add_to_keyring(Signer::VendorRsa, &machine.root());
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
        let install = perform(machine.operation(), Step::Install(stage));
        assert_eq!(refused(machine.ask(&install)), cause, "{what}, installed");
        assert_eq!(
            machine.ask(&InstallerRequest::Discard { stage }),
            InstallerReply::Done
        );
    }
    assert_eq!(machine.effects(), [""; 0]);
    is_answered(&machine);
}

#[test]
fn clients_that_never_take_their_answers_keep_nobody_waiting() {
    let machine = Machine::simulated().started();
    let stuck: Vec<Client> = (0..4).map(|_| machine.wharfd()).collect();
    for client in &stuck {
        fill(client);
    }
    is_answered(&machine);
}

/// Asks until the buffers for questions and answers are full.
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
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(words).unwrap())
    };
    let machine = Machine::simulated();
    let policy = machine.root().join("etc/wharfd/installer.toml");
    let policy = policy.display();
    let (code, sound) = check(&machine, &["--check-config"]);
    assert_eq!(code, Some(0), "{sound}");
    assert!(
        sound.starts_with(&format!("{policy} is sound\n")),
        "{sound}"
    );
    let (code, usage) = check(&machine, &["--help"]);
    assert_eq!(code, Some(0), "{usage}");
    assert!(usage.starts_with("Usage: wharf-installer"), "{usage}");
    let (code, unknown) = check(&machine, &["--rot"]);
    assert_eq!(code, Some(64), "{unknown}");
    assert!(
        unknown.contains("'--rot'") && unknown.contains(&usage),
        "{unknown}"
    );
    let version = format!("wharf-installer {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(check(&machine, &["--version"]), (Some(0), version));
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
fn descriptors_that_come_with_a_question_are_closed_and_the_question_refused() {
    let machine = Machine::simulated().started();
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
        assert!(
            matches!(reply, InstallerReply::NotUnderstood(_)),
            "{reply:?}"
        );
    }
    // The service holds no copy of the pipe's end: after ours is closed, no writer is left.
    drop(write);
    assert_eq!(File::from(read).read(&mut [0; 1]).unwrap(), 0);
    assert!(
        matches!(client.ask(&HELLO), InstallerReply::Hello { .. }),
        "the same connection goes on"
    );
}

#[test]
fn oversized_and_malformed_frames_are_refused() {
    let machine = Machine::simulated().started();
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
            matches!(reply, InstallerReply::NotUnderstood(_)),
            "{} bytes: {reply:?}",
            bytes.len()
        );
    }
    is_answered(&machine);
}

#[test]
fn only_wharfd_and_root_are_answered() {
    let machine = Machine::simulated().started();
    assert!(
        Client::connect(&machine.root(), 0)
            .is_ok_and(|root| matches!(root.ask(&HELLO), InstallerReply::Hello { .. }))
    );
    // The socket's mode keeps others out. Behind it, the service also checks the peer's user as the kernel reports it.
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
    let machine = Machine::simulated().started();
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
    let machine = Machine::simulated().started();
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
            perform(operation, Step::Uninstall(package.clone())),
            perform(operation, Step::Activate(package.clone())),
            perform(operation, Step::Deactivate(package.clone())),
        ] {
            assert_eq!(refused(machine.ask(&request)), Cause::NotManaged, "{text}");
        }
        assert_eq!(machine.state(text), None, "{text}");
    }
    assert_eq!(machine.effects(), ["install hello 1"]);
}

/// An upgrade of wharfd replaces its programs one by one: an older wharfd has a request for each action.
#[test]
fn the_jobs_of_an_older_wharfd_are_done() {
    let machine = Machine::simulated().started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let older = |number: u8, target: Vec<u8>| {
        let operation = machine.operation();
        let head = vec![0x82, number, 0xa2, 0];
        let client = machine.wharfd();
        client.send(
            &[head, encode(&operation).unwrap(), vec![1], target].concat(),
            &[],
        );
        let (reply, _) = client.receive().unwrap();
        (reply, operation)
    };
    let acme = || encode(&name("acme")).unwrap();
    for (number, target) in [
        (6, encode(&stage).unwrap()),
        (8, acme()),
        (9, acme()),
        (7, acme()),
    ] {
        let (reply, operation) = older(number, target);
        assert_eq!(reply, InstallerReply::Accepted, "{number}");
        assert_eq!(machine.outcome(operation).failure, None, "{number}");
    }
    let (reply, _) = older(14, acme());
    assert_eq!(refused(reply), Cause::Policy);
    assert_eq!(
        machine.effects(),
        [
            "install acme 1",
            "activate acme",
            "deactivate acme",
            "remove acme"
        ]
    );
}

#[test]
fn a_transaction_is_one_step_or_an_install_with_the_activation_of_its_package() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    let activate = || Step::Activate(name("acme"));
    let (stage, _) = machine.sealed(&Deb::new("acme", "2"));
    let install = || Step::Install(stage);
    let of_another = Step::Activate(name("lamp"));
    for (steps, why) in [
        (vec![], "0 steps"),
        (vec![activate(), activate()], "2 steps"),
        (vec![activate(), install()], "2 steps"),
        (vec![install(), install()], "2 steps"),
        (vec![install(), activate(), activate()], "3 steps"),
        (
            vec![install(), of_another],
            "the file has acme, and lamp is to be activated",
        ),
    ] {
        let request = InstallerRequest::Perform {
            operation: machine.operation(),
            transaction: Transaction { steps },
        };
        let InstallerReply::Refused(failure) = machine.ask(&request) else {
            panic!("not refused: {request:?}");
        };
        assert_eq!(failure.cause, Cause::Policy);
        assert!(failure.to_string().contains(why), "{failure}");
    }
    assert_eq!(machine.effects(), ["install acme 1"]);
}
