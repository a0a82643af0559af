//! Records as release 0.1 and later ones wrote them, byte for byte: every later release reads them. These are never
//! changed; a new form is added beside them.

use std::fs;

use wharf_frames::{
    Cause, Failure, OperationId, PackageName, PackageVersion, StageId, Step,
    installer::{Dependency, Found, InstallerReply, InstallerRequest, Outcome, SealedPackage},
};

use crate::machine::{Machine, perform, place_script, refused};

/// Of acme 3.0-1, signed.
const SEALED: &str = "a20001018200a100a300a5006461636d650165332e302d310263616c6c031902e8\
    047828423746414635383142454542363446433139453145413531414445413837314541353431414543\
    4401582043ddceff5c3fb9395a41f48a9a69ebbb6993208f7ed9fd6c80ff4c0ec5ab405f021a6b016e0d";

/// Of acme 1.0-1, not signed.
const SEALED_UNSIGNED: &str = "a20001018200a100a300a4006461636d650165312e302d310263616c6c031902e8\
    015820b72177483e069b0a12d2caca3d4700698e8b7d09aee72c2cccb01e13fd98d8ed0200";

const REFUSED: &str = "a20001018201a100a2001601785b7369676e6564206279203432444436304336303644\
    41423845373734424241393737343734443244323544433337323346312c2077686f7365206365727469666963617465\
    206973206e6f7420696e20746865206b657972696e67";

/// Inspected three times without success.
const UNDECIDED: &str = "a20001018202a10003";

/// Of acme 2.0-1.
const LEDGER: &str = "a500010165322e302d31027828423746414635383142454542363446433139453145413531\
    4144454138373145413534314145434\
    4031a6b016e0d0458205b1cd4508093326001e291c9ac75d9febb0c2be5e3371e6a0f1bb728bb5f0074";

/// An install of acme 3.0-1 over 2.0-1 that failed.
const ENDED: &str = "a700010150060606060606060606060606060606060202038200a20050040404040404040404\
    0404040404040401a300a5006461636d650165332e302d310263616c6c031902e804782842374641463538314245454236\
    344643313945314541353141444541383731454135343141454344015820\
    43ddceff5c3fb9395a41f48a9a69ebbb6993208f7ed9fd6c80ff4c0ec5ab405f021a6b016e0d048204a100a300a200183d\
    017773696d756c617465643a206661696c2d696e7374616c6c01a3006461636d650165322e302d3102f402010581a20078\
    2432383434643838332d663134662d343730322d383536642d3039306265356664343732660119602706a3006461636d65\
    0165322e302d3102f4";

/// Queued jobs for acme. The removal comes last.
const REMOVE: &str =
    "a6000101500a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0207038201a1006461636d65048200a00580";
const ACTIVATE: &str =
    "a6000101500b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0205038202a1006461636d65048200a00580";
const DEACTIVATE: &str =
    "a6000101500c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0206038203a1006461636d65048200a00580";

/// An install of acme 3.0-1 that brought libfoo 2.0-1 after new lists, of the first release with dependencies.
const ENDED_WITH_DEPENDENCIES: &str = "ab000201500d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0204\
    048204a100a402010481a200666c6962666f6f0165322e302d3105f50681666c6962626172058007f4\
    09818200a100a200500404040404040404040404040404040401a300a5006461636d650165332e302d310263616c6c031902e8\
    047828423746414635383142454542363446433139453145413531414445413837314541353431414543\
    44015820\
    43ddceff5c3fb9395a41f48a9a69ebbb6993208f7ed9fd6c80ff4c0ec5ab405f021a6b016e0d\
    0a800b81a200666c6962666f6f0165322e302d310cf50d80";

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn stage(number: u8) -> StageId {
    StageId::from_bytes([number; 16])
}

fn operation(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

fn acme(version: &str) -> Found {
    Found {
        name: PackageName::new("acme").unwrap(),
        version: PackageVersion::new(version).unwrap(),
        active: false,
        damage: None,
        managed: false,
        no_services: false,
        skipped: None,
        components: Vec::new(),
    }
}

/// wharf-installer with these records, and a wharf-inspect that fails on any file.
fn machine() -> Machine {
    let mut machine = Machine::simulated();
    machine.policy("allow-unsigned = true\n");
    let write = |path: &str, bytes: &[u8]| {
        let path = machine.root().join("var/lib").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for (number, verdict) in [
        (3, SEALED_UNSIGNED),
        (4, SEALED),
        (5, REFUSED),
        (1, UNDECIDED),
    ] {
        let path = format!("wharf-installer/staged/{}", stage(number));
        write(&format!("{path}.verdict"), &bytes(verdict));
        if verdict != REFUSED {
            write(&path, b"");
        }
    }
    for (number, job) in [
        (6, ENDED),
        (10, REMOVE),
        (11, ACTIVATE),
        (12, DEACTIVATE),
        (13, ENDED_WITH_DEPENDENCIES),
    ] {
        let path = format!("wharf-installer/jobs/{}", operation(number));
        write(&path, &bytes(job));
    }
    write("wharf-installer/ledger/acme", &bytes(LEDGER));
    write("wharf-simulated/acme_version", b"2.0-1");
    let programs = machine.programs();
    place_script(
        "#!/bin/sh\nkill -KILL $$\n",
        &programs.join("wharf-inspect"),
    );
    machine.start_program(&programs.join("wharf-installer"), &[]);
    machine
}

#[test]
fn verdicts_of_release_0_1_are_read() {
    let machine = machine();
    let seal = |number| {
        machine.ask(&InstallerRequest::Seal {
            stage: stage(number),
            signature: None,
        })
    };
    let package = |version: &str, signer: Option<&str>| {
        let Found { name, version, .. } = acme(version);
        InstallerReply::Sealed(SealedPackage {
            name,
            version,
            architecture: "all".into(),
            length: 744,
            signer: signer.map(Into::into),
            components: Vec::new(),
        })
    };
    let signer = "B7FAF581BEEB64FC19E1EA51ADEA871EA541AECD";
    assert_eq!(seal(3), package("1.0-1", None));
    assert_eq!(seal(4), package("3.0-1", Some(signer)));
    let why = "signed by 42DD60C606DAB8E774BBA977474D2D25DC3723F1, whose certificate is not in the keyring";
    let refusal = Failure::new(Cause::UntrustedSigner, why);
    assert_eq!(seal(5), InstallerReply::Refused(refusal));
    match seal(1) {
        InstallerReply::Refused(failure) => {
            assert!(failure.to_string().contains("4 times"), "{failure}")
        }
        other => panic!("three times and once more: {other:?}"),
    }
}

#[test]
fn the_ledger_of_release_0_1_is_read() {
    let machine = machine();
    let older = perform(operation(20), Step::Install(stage(3)));
    assert_eq!(refused(machine.ask(&older)), Cause::Downgrade);
}

#[test]
fn jobs_of_release_0_1_are_told_and_done() {
    let machine = machine();
    let outcome = Outcome {
        failure: Some(Failure::new(Cause::Script, "simulated: fail-install")),
        device: Some(acme("2.0-1")),
        attempts: 1,
        ..Outcome::default()
    };
    assert_eq!(machine.outcome(operation(6)), outcome);
    machine.outcome(operation(10));
    assert_eq!(
        machine.effects(),
        ["activate acme", "deactivate acme", "remove acme"]
    );
}

#[test]
fn the_dependencies_of_a_recorded_job_are_told() {
    let machine = machine();
    let operation = operation(13);
    let outcome = Outcome {
        attempts: 1,
        dependencies: vec![Dependency {
            name: PackageName::new("libfoo").unwrap(),
            version: PackageVersion::new("2.0-1").unwrap(),
        }],
        refreshed: true,
        unused: vec![PackageName::new("libbar").unwrap()],
        ..Outcome::default()
    };
    assert_eq!(machine.outcome(operation), outcome);
}
