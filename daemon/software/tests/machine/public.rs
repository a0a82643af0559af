//! The text that everybody reads in place of a Status Reason.

use wharf_software::{
    Instance, InstanceRecord, PackageUri, ReasonCode, UpdateState, instance::Software,
};

use crate::cells::{built, cells, delivered, ended_with, installed, pulling};
use wharf_software::{UpdateResult, record::StoredProgress};

const SECRET: &str = "hunter2";

/// The same, with a secret in every text and in the path and query of the URI.
fn with_secrets(cell: &Instance) -> Option<Instance> {
    let record = InstanceRecord::from(cell);
    let damaged = |software| Software {
        damage: Some(SECRET.into()),
        ..software
    };
    let uri = format!("https://origin.example:8443/{SECRET}/nginx.deb?{SECRET}#{SECRET}");
    let record = InstanceRecord {
        note: Some(SECRET.into()),
        in_place: record.in_place.clone().map(damaged),
        in_place_note: cell.in_place().map(|_| SECRET.into()),
        package_uri: record
            .package_uri
            .as_ref()
            .map(|_| PackageUri::parse(uri.as_bytes()).unwrap()),
        ..record
    };
    Instance::try_from(record).ok()
}

#[test]
fn no_word_from_outside_is_in_what_everybody_reads() {
    let mut told = Vec::new();
    for cell in cells() {
        let public = cell.public_reason();
        assert_eq!(public.code, cell.status_reason().code);
        let Some(instance) = with_secrets(&cell) else {
            continue; // this state has no words from outside
        };
        let public = instance.public_reason().to_string();
        assert!(!public.contains(SECRET), "{public}");
        if instance.status_reason().to_string().contains(SECRET) {
            told.push(instance.update_state());
        }
    }
    told.dedup();
    for state in UpdateState::ALL {
        assert!(told.contains(&state), "no secret is told in {state:?}");
    }
}

#[test]
fn everybody_reads_what_is_done_and_why_it_failed_in_the_words_of_the_result() {
    let failed = UpdateResult::InstallationFailure;
    for (record, expected) in [
        (
            pulling(StoredProgress::Queued),
            "10: waiting to download nginx.deb from https://origin.example",
        ),
        (
            pulling(StoredProgress::Receiving),
            "30: downloading nginx.deb from https://origin.example",
        ),
        (
            ended_with(failed, "postinst: no license", delivered()),
            "60: nginx 2.0 is not installed: the installation failed",
        ),
        (installed(false), "40: nginx 1.0 is installed"),
    ] {
        assert_eq!(built(record).public_reason().to_string(), expected);
    }
}

#[test]
fn the_number_of_a_status_reason_is_read_back() {
    for code in ReasonCode::ALL {
        assert_eq!(ReasonCode::of(&format!("{}: x", code.value())), Some(code));
    }
    for none in ["", "10", "11: x", "x: 10: y", ": x", "256: x", "10 : x"] {
        assert_eq!(ReasonCode::of(none), None, "{none:?}");
    }
}
