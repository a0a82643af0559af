//! The frames of the job socket: each survives its encoding, older and newer programs understand each other, and
//! invalid bytes are rejected.
#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use minicbor::{Decode, Encode};
use proptest::prelude::*;
use wharf_frames::{
    Cause, Failure, MAX_FRAME, OperationId, PackageName, PackageVersion, StageId, decode, encode,
    installer::{Found, Installed, JobStatus, Outcome, Package, Phase, Reply, Request, StageEntry},
};

const STAGE: StageId = StageId::from_bytes([1; 16]);
const OPERATION: OperationId = OperationId::from_bytes([2; 16]);

fn name() -> PackageName {
    PackageName::new("acme").unwrap()
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
    }
}

fn requests() -> Vec<Request> {
    let (stage, operation, package) = (STAGE, OPERATION, name());
    vec![
        Request::Hello { protocol: 1 },
        Request::Stage {
            stage,
            keep: 8,
            size: Some(u64::MAX),
        },
        Request::Stage {
            stage,
            keep: 0,
            size: None,
        },
        Request::Seal {
            stage,
            signature: Some(vec![0; 64 * 1024].into()),
        },
        Request::Discard { stage },
        Request::List,
        Request::Plan { stage },
        Request::Install { operation, stage },
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
        Request::Purge {
            operation,
            package: package.clone(),
        },
        Request::State { package },
        Request::Watch { operation },
        Request::Outcome { operation },
        Request::Cancel { operation },
    ]
}

fn replies() -> Vec<Reply> {
    let failure = Failure::new(Cause::Downgrade, "an older one");
    let package = Package {
        name: name(),
        version: installed().version,
        architecture: "arm64".into(),
        length: 7,
        signer: Some("F".repeat(40).into()),
    };
    let outcome = Outcome {
        failure: Some(failure.clone()),
        device: Some(found()),
        attempts: 2,
        note: Some("done again".into()),
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
        Reply::Hello {
            protocol: 1,
            backend: "apt".into(),
            architecture: "amd64".into(),
        },
        Reply::Staged {
            kept: 0,
            limit: 1 << 40,
        },
        Reply::Sealed(package.clone()),
        Reply::Sealed(Package {
            signer: None,
            ..package
        }),
        Reply::Done,
        Reply::List {
            stages: vec![entry; 32],
            open: vec![OPERATION; 32],
        },
        Reply::Plan {
            installs: vec![installed()],
        },
        Reply::Accepted,
        Reply::State(None),
        Reply::State(Some(found())),
        Reply::Job(JobStatus::Unknown),
        Reply::Job(open(Phase::Queued)),
        Reply::Job(open(Phase::Verifying)),
        Reply::Job(JobStatus::Ended(outcome)),
        Reply::Refused(failure.clone()),
        Reply::NotNow(failure),
        Reply::NotUnderstood("what?".into()),
    ]
}

#[test]
fn each_frame_survives_its_encoding() {
    for request in requests() {
        assert_eq!(
            decode::<Request>(&encode(&request).unwrap()).unwrap(),
            request
        );
    }
    for reply in replies() {
        assert_eq!(decode::<Reply>(&encode(&reply).unwrap()).unwrap(), reply);
    }
}

#[test]
fn a_number_never_gets_a_second_meaning() {
    for (request, bytes) in [
        (Request::Hello { protocol: 1 }, "8200a10001"),
        (Request::List, "8204a0"),
        (
            Request::Install {
                operation: OPERATION,
                stage: STAGE,
            },
            "8206a2005002020202020202020202020202020202015001010101010101010101010101010101",
        ),
        (
            Request::Remove {
                operation: OPERATION,
                package: name(),
            },
            "8207a2005002020202020202020202020202020202016461636d65",
        ),
        (
            Request::Purge {
                operation: OPERATION,
                package: name(),
            },
            "820ea2005002020202020202020202020202020202016461636d65",
        ),
    ] {
        let hex: String = encode(&request)
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, bytes, "{request:?}");
    }
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

#[test]
fn fields_of_a_newer_program_are_passed_over() {
    let newer = Newer::Stage {
        stage: STAGE,
        keep: 3,
        size: None,
        kind: Some("deb".to_owned()),
        nested: Some(vec![vec![1], vec![]]),
    };
    let request = decode::<Request>(&encode(&newer).unwrap()).unwrap();
    assert_eq!(
        request,
        Request::Stage {
            stage: STAGE,
            keep: 3,
            size: None
        }
    );
}

#[test]
fn fields_that_an_older_program_does_not_send_are_absent() {
    let older = encode(&Request::Stage {
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
    assert!(decode::<Request>(&encode(&Newer::Dance).unwrap()).is_err());
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
        encode(&Reply::List {
            stages,
            open: vec![]
        })
        .is_err()
    );
    assert!(decode::<Request>(&vec![0; MAX_FRAME + 1]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Reply>(&bytes);
    }

    #[test]
    fn a_damaged_frame_is_rejected_or_still_valid(at in 0usize..200, byte: u8, which in 0usize..15) {
        let mut bytes = encode(&requests()[which]).unwrap();
        if let Some(damaged) = bytes.get_mut(at) {
            *damaged = byte;
        }
        if let Ok(request) = decode::<Request>(&bytes) {
            prop_assert_eq!(decode::<Request>(&encode(&request).unwrap()).unwrap(), request);
        }
    }

    #[test]
    fn a_truncated_or_extended_frame_is_rejected(cut in 0usize..30, which in 0usize..15) {
        let mut bytes = encode(&requests()[which]).unwrap();
        bytes.push(0);
        prop_assert!(decode::<Request>(&bytes).is_err());
        bytes.truncate(cut.min(bytes.len() - 2));
        prop_assert!(decode::<Request>(&bytes).is_err());
    }
}
