//! The frames of the job socket: each survives its encoding, older and newer programs understand each other, and
//! invalid bytes are rejected.
#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use minicbor::{Decode, Encode};
use proptest::prelude::*;
use wharf_frames::{
    Action, Cause, Failure, MAX_FRAME, OperationId, PackageName, PackageVersion, StageId, Step,
    Text, Transaction, decode, encode,
    installer::{
        Component, Dependency, Found, FoundComponent, InstallerReply, InstallerRequest, JobPhase,
        JobStatus, MAX_COMPONENTS, Outcome, SealedPackage, StageEntry,
    },
};

const STAGE: StageId = StageId::from_bytes([1; 16]);
const OPERATION: OperationId = OperationId::from_bytes([2; 16]);

fn name() -> PackageName {
    PackageName::new("acme").unwrap()
}

/// A found package of the first release.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Installed {
    #[n(0)]
    name: PackageName,
    #[n(1)]
    version: PackageVersion,
    #[n(2)]
    active: bool,
}

fn installed() -> Installed {
    Installed {
        name: name(),
        version: PackageVersion::new("1:2-3").unwrap(),
        active: true,
    }
}

fn found() -> Found {
    Found {
        name: name(),
        version: installed().version,
        active: true,
        damage: Some("half-configured".into()),
        managed: true,
        no_services: true,
        skipped: Some("systemd skipped acme.service".into()),
        components: vec![],
    }
}

/// A bundle of two packages as its file names it.
fn sealed_bundle() -> SealedPackage {
    let component = |name: &str| Component {
        name: PackageName::new(name).unwrap(),
        version: installed().version,
    };
    SealedPackage {
        name: name(),
        version: installed().version,
        architecture: "arm64".into(),
        length: 7,
        signer: None,
        components: vec![component("a"), component("b")],
    }
}

/// The same bundle on a device.
fn found_bundle() -> Found {
    let component = |name: &str| {
        FoundComponent::from(Found {
            name: PackageName::new(name).unwrap(),
            ..found()
        })
    };
    Found {
        damage: None,
        skipped: None,
        components: vec![component("a"), component("b")],
        ..found()
    }
}

fn requests() -> Vec<InstallerRequest> {
    let (stage, operation, package) = (STAGE, OPERATION, name());
    vec![
        InstallerRequest::Hello { protocol: 1 },
        InstallerRequest::Stage {
            stage,
            keep: 8,
            size: Some(u64::MAX),
        },
        InstallerRequest::Stage {
            stage,
            keep: 0,
            size: None,
        },
        InstallerRequest::Seal {
            stage,
            signature: Some(vec![0; 64 * 1024].into()),
        },
        InstallerRequest::Discard { stage },
        InstallerRequest::List,
        InstallerRequest::State { package },
        InstallerRequest::Watch { operation },
        InstallerRequest::Cancel { operation },
        perform(steps()),
        perform(vec![]),
        perform(vec![Step::Install(stage)]),
        perform(vec![on(Action::Uninstall)]),
        perform(vec![on(Action::Purge)]),
        perform(vec![on(Action::Activate)]),
        perform(vec![on(Action::Deactivate)]),
        perform(vec![on(Action::Back)]),
    ]
}

fn perform(steps: Vec<Step>) -> InstallerRequest {
    InstallerRequest::Perform {
        operation: OPERATION,
        transaction: Transaction { steps },
    }
}

fn on(action: Action) -> Step {
    Step::on(action, name()).unwrap()
}

/// A step of each action, in the order of [`Action::ALL`].
fn steps() -> Vec<Step> {
    let steps = Action::ALL.map(|action| match action {
        Action::Install => Step::Install(STAGE),
        other => on(other),
    });
    steps.into()
}

fn replies() -> Vec<InstallerReply> {
    let failure = Failure::new(Cause::Downgrade, "an older one");
    let package = SealedPackage {
        name: name(),
        version: installed().version,
        architecture: "arm64".into(),
        length: 7,
        signer: Some("F".repeat(40).into()),
        components: vec![],
    };
    let outcome = Outcome {
        failure: Some(failure.clone()),
        device: Some(found()),
        attempts: 2,
        note: Some("done again".into()),
        dependencies: vec![Dependency {
            name: PackageName::new("libfoo").unwrap(),
            version: PackageVersion::new("2.0-1").unwrap(),
        }],
        refreshed: true,
        unused: vec![PackageName::new("libbar").unwrap()],
    };
    let entry = StageEntry {
        stage: STAGE,
        length: 1,
        sealed: true,
    };
    let open = |phase| JobStatus::Open {
        phase,
        percent: Some(40),
    };
    vec![
        InstallerReply::Hello {
            protocol: 1,
            package_manager: "apt".into(),
            architecture: "amd64".into(),
            database: Some("/var/lib/dpkg/status".into()),
        },
        InstallerReply::Staged {
            kept: 0,
            limit: 1 << 40,
        },
        InstallerReply::Sealed(package.clone()),
        InstallerReply::Sealed(SealedPackage {
            signer: None,
            ..package
        }),
        InstallerReply::Sealed(sealed_bundle()),
        InstallerReply::Done,
        InstallerReply::List {
            stages: vec![entry; 32],
            open: vec![OPERATION; 32],
        },
        InstallerReply::Accepted,
        InstallerReply::State(None),
        InstallerReply::State(Some(found())),
        InstallerReply::State(Some(found_bundle())),
        InstallerReply::Job(JobStatus::Unknown),
        InstallerReply::Job(open(JobPhase::Queued)),
        InstallerReply::Job(open(JobPhase::Verifying)),
        InstallerReply::Job(open(JobPhase::Watching)),
        InstallerReply::Job(open(JobPhase::Returning)),
        InstallerReply::Job(JobStatus::Ended(Box::new(outcome))),
        InstallerReply::Refused(failure.clone()),
        InstallerReply::NotNow(failure),
        InstallerReply::NotUnderstood("what?".into()),
    ]
}

#[test]
fn each_frame_survives_its_encoding() {
    for request in requests() {
        assert_eq!(
            decode::<InstallerRequest>(&encode(&request).unwrap()).unwrap(),
            request
        );
    }
    for reply in replies() {
        assert_eq!(
            decode::<InstallerReply>(&encode(&reply).unwrap()).unwrap(),
            reply
        );
    }
}

#[test]
fn a_number_never_gets_a_second_meaning() {
    for (request, bytes) in [
        (InstallerRequest::Hello { protocol: 1 }, "8200a10001"),
        (InstallerRequest::List, "8204a0"),
        (
            perform(vec![Step::Install(STAGE)]),
            "820fa200500202020202020202020202020202020201a100818200a1005001010101010101010101010101010101",
        ),
        (
            perform(vec![on(Action::Uninstall)]),
            "820fa200500202020202020202020202020202020201a100818201a1006461636d65",
        ),
        (
            perform(vec![on(Action::Purge)]),
            "820fa200500202020202020202020202020202020201a100818202a1006461636d65",
        ),
        (
            perform(vec![on(Action::Activate)]),
            "820fa200500202020202020202020202020202020201a100818203a1006461636d65",
        ),
        (
            perform(vec![on(Action::Deactivate)]),
            "820fa200500202020202020202020202020202020201a100818204a1006461636d65",
        ),
        (
            perform(vec![on(Action::Back)]),
            "820fa200500202020202020202020202020202020201a100818205a1006461636d65",
        ),
    ] {
        assert_eq!(hex(&encode(&request).unwrap()), bytes, "{request:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

/// Bytes of the release before transactions, which upgrades itself by an Install.
#[test]
fn each_action_that_an_older_wharfd_asks_for_is_a_transaction_of_one_step() {
    for (step, bytes) in [
        (
            Step::Install(STAGE),
            "8206a2005002020202020202020202020202020202015001010101010101010101010101010101",
        ),
        (
            on(Action::Uninstall),
            "8207a2005002020202020202020202020202020202016461636d65",
        ),
        (
            on(Action::Activate),
            "8208a2005002020202020202020202020202020202016461636d65",
        ),
        (
            on(Action::Deactivate),
            "8209a2005002020202020202020202020202020202016461636d65",
        ),
        (
            on(Action::Purge),
            "820ea2005002020202020202020202020202020202016461636d65",
        ),
    ] {
        let request = InstallerRequest::read(&from_hex(bytes)).unwrap();
        assert_eq!(request, perform(vec![step]), "{bytes}");
    }
    for request in requests() {
        let bytes = encode(&request).unwrap();
        assert_eq!(InstallerRequest::read(&bytes).unwrap(), request);
    }
}

#[test]
fn a_step_has_the_target_that_its_action_needs() {
    for (action, step) in Action::ALL.into_iter().zip(steps()) {
        assert_eq!(Action::parse(action.as_str()), Some(action));
        assert_eq!(step.action(), action);
        let installs = action == Action::Install;
        assert_eq!(step.file(), installs.then_some(&STAGE));
        assert_eq!(step.package().is_some(), !installs);
        assert_eq!(Step::on(action, name()), (!installs).then_some(step));
    }
}

/// The end of a job, as releases before dependencies read it.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct OlderOutcome {
    #[n(0)]
    failure: Option<Failure>,
    #[n(1)]
    device: Option<Found>,
    #[n(2)]
    attempts: u32,
    #[n(3)]
    note: Option<Text>,
}

#[test]
fn an_outcome_of_a_release_before_dependencies_has_none_and_that_release_reads_ours() {
    // The frame, then the outcome.
    let head = "8208a1008202a100";
    let older = "a300a200183d01646f6f7073020203646e6f7465";
    let newer =
        "a500a200183d01646f6f707302020481a200666c6962666f6f0165322e302d3105f50681666c6962626172";
    let ended = |outcome: &str| {
        let frame = from_hex(&[head, outcome].concat());
        match decode::<InstallerReply>(&frame).unwrap() {
            InstallerReply::Job(JobStatus::Ended(outcome)) => (frame, *outcome),
            other => panic!("another frame: {other:?}"),
        }
    };
    let failure = || Some(Failure::new(Cause::Script, "oops"));
    let without = Outcome {
        failure: failure(),
        attempts: 2,
        note: Some("note".into()),
        ..Outcome::default()
    };
    assert_eq!(ended(older).1, without);

    let with = Outcome {
        note: None,
        dependencies: vec![Dependency {
            name: PackageName::new("libfoo").unwrap(),
            version: PackageVersion::new("2.0-1").unwrap(),
        }],
        refreshed: true,
        unused: vec![PackageName::new("libbar").unwrap()],
        ..without
    };
    let (frame, outcome) = ended(newer);
    assert_eq!(outcome, with);
    let reply = InstallerReply::Job(JobStatus::Ended(Box::new(outcome)));
    assert_eq!(
        hex(&encode(&reply).unwrap()),
        hex(&frame),
        "and it is sent like that"
    );
    let read = OlderOutcome {
        failure: failure(),
        device: None,
        attempts: 2,
        note: None,
    };
    assert_eq!(decode::<OlderOutcome>(&from_hex(newer)).unwrap(), read);
}

/// The frames of a later release.
#[derive(Encode, Decode)]
#[cbor(map)]
enum Newer {
    #[n(1)]
    Stage {
        #[n(0)]
        stage: StageId,
        #[n(1)]
        keep: u64,
        #[n(2)]
        size: Option<u64>,
        #[n(3)]
        kind: Option<String>,
        #[n(40)]
        nested: Option<Vec<Vec<u64>>>,
    },
    #[n(99)]
    Dance,
}

/// As installers of before name no file of the package manager.
#[test]
fn the_hello_of_an_older_installer_names_no_database() {
    let older = [
        &[0x82, 0x00, 0xa3, 0x00, 0x01, 0x01, 0x63][..],
        b"apt\x02\x65amd64",
    ]
    .concat();
    let hello = InstallerReply::Hello {
        protocol: 1,
        package_manager: "apt".into(),
        architecture: "amd64".into(),
        database: None,
    };
    assert_eq!(decode::<InstallerReply>(&older).unwrap(), hello);
    assert_eq!(encode(&hello).unwrap(), older, "and it is sent like that");
}

#[test]
fn fields_of_a_newer_program_are_passed_over() {
    let newer = Newer::Stage {
        stage: STAGE,
        keep: 3,
        size: None,
        kind: Some("deb".to_owned()),
        nested: Some(vec![vec![1], vec![]]),
    };
    let request = decode::<InstallerRequest>(&encode(&newer).unwrap()).unwrap();
    assert_eq!(
        request,
        InstallerRequest::Stage {
            stage: STAGE,
            keep: 3,
            size: None
        }
    );
}

#[test]
fn fields_that_an_older_program_does_not_send_are_absent() {
    let older = encode(&InstallerRequest::Stage {
        stage: STAGE,
        keep: 3,
        size: None,
    })
    .unwrap();
    let Newer::Stage {
        kind, nested, keep, ..
    } = decode(&older).unwrap()
    else {
        panic!("another frame");
    };
    assert_eq!((keep, kind, nested), (3, None, None));
}

#[test]
fn missing_fields_of_an_older_program_mean_undamaged_with_services_and_unmanaged() {
    let older = encode(&installed()).unwrap();
    let expected = Found {
        damage: None,
        managed: false,
        no_services: false,
        skipped: None,
        ..found()
    };
    assert_eq!(decode::<Found>(&older).unwrap(), expected);
    assert_eq!(
        decode::<Installed>(&encode(&found()).unwrap()).unwrap(),
        installed()
    );
}

/// A package as releases before bundles send and read it.
#[test]
fn a_plain_package_has_the_bytes_that_it_had_before_bundles() {
    let sealed = SealedPackage {
        components: vec![],
        ..sealed_bundle()
    };
    let plain = Found {
        components: vec![],
        ..found_bundle()
    };
    let older = [
        (
            "8202a100a4006461636d650165313a322d33026561726d36340307",
            InstallerReply::Sealed(sealed),
        ),
        (
            "8207a100a5006461636d650165313a322d3302f504f505f5",
            InstallerReply::State(Some(plain)),
        ),
    ];
    for (bytes, reply) in older {
        assert_eq!(hex(&encode(&reply).unwrap()), bytes, "{reply:?}");
        let read = decode::<InstallerReply>(&from_hex(bytes)).unwrap();
        assert_eq!(read, reply, "{bytes}");
    }
}

#[test]
fn a_release_before_bundles_reads_a_bundle_as_a_package() {
    let newer = [
        (
            "a5006461636d650165313a322d33026561726d3634030705\
             82a20061610165313a322d33a20061620165313a322d33",
            encode(&sealed_bundle()).unwrap(),
        ),
        (
            "a6006461636d650165313a322d3302f504f505f507\
             82a50061610165313a322d3302f5036f68616c662d636f6e6669677572656404f5\
             a50061620165313a322d3302f5036f68616c662d636f6e6669677572656404f5",
            encode(&found_bundle()).unwrap(),
        ),
    ];
    for (bytes, frame) in newer {
        assert_eq!(hex(&frame), bytes);
    }
    let found = encode(&found_bundle()).unwrap();
    assert_eq!(decode::<Installed>(&found).unwrap(), installed());
}

#[test]
fn more_components_than_a_bundle_may_have_are_refused() {
    let bundle = |number| {
        let mut bundle = found_bundle();
        let one = bundle.components.remove(0);
        bundle.components = vec![one; number];
        bundle
    };
    for (number, expected) in [(MAX_COMPONENTS, true), (MAX_COMPONENTS + 1, false)] {
        let bytes = encode(&bundle(number)).unwrap();
        let read = decode::<Found>(&bytes);
        assert_eq!(read.is_ok(), expected, "{number} components: {read:?}");
    }
}

#[test]
fn a_found_package_is_shown_with_its_damage() {
    assert_eq!(found().to_string(), "acme 1:2-3 (half-configured)");
    let whole = Found {
        damage: None,
        ..found()
    };
    assert_eq!(whole.to_string(), "acme 1:2-3");
}

#[test]
fn an_unknown_request_of_a_newer_program_is_rejected() {
    assert!(InstallerRequest::read(&encode(&Newer::Dance).unwrap()).is_err());
}

#[test]
fn a_frame_over_the_limit_is_neither_sent_nor_accepted() {
    let stages = vec![
        StageEntry {
            stage: STAGE,
            length: u64::MAX,
            sealed: false
        };
        10_000
    ];
    assert!(
        encode(&InstallerReply::List {
            stages,
            open: vec![]
        })
        .is_err()
    );
    assert!(decode::<InstallerRequest>(&vec![0; MAX_FRAME + 1]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
        let _ = InstallerRequest::read(&bytes);
        let _ = decode::<InstallerReply>(&bytes);
    }

    #[test]
    fn a_damaged_frame_is_rejected_or_still_valid(at in 0usize..200, byte: u8, which in 0usize..15) {
        let mut bytes = encode(&requests()[which]).unwrap();
        if let Some(damaged) = bytes.get_mut(at) {
            *damaged = byte;
        }
        if let Ok(request) = decode::<InstallerRequest>(&bytes) {
            prop_assert_eq!(decode::<InstallerRequest>(&encode(&request).unwrap()).unwrap(), request);
        }
    }

    #[test]
    fn a_truncated_or_extended_frame_is_rejected(cut in 0usize..30, which in 0usize..15) {
        let mut bytes = encode(&requests()[which]).unwrap();
        bytes.push(0);
        prop_assert!(decode::<InstallerRequest>(&bytes).is_err());
        bytes.truncate(cut.min(bytes.len() - 2));
        prop_assert!(decode::<InstallerRequest>(&bytes).is_err());
    }
}
