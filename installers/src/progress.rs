//! The progress of a running job, for watchers. It may be lost: the records decide.

use std::fs;

use minicbor::{Decode, Encode};
use wharf_frames::{OperationId, decode, encode, installer::Phase};
use wharf_managers::Progress;
use wharf_root::{Root, durable};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Report {
    #[n(0)]
    phase: Phase,
    #[n(1)]
    percent: Option<u8>,
}

/// Tells how far a job is. That nobody can be told is no reason to stop.
pub(crate) fn write(root: &Root, operation: OperationId, progress: Progress) {
    let report = Report {
        phase: progress.phase,
        percent: progress.percent,
    };
    if let Ok(bytes) = encode(&report) {
        let _ = durable::write_volatile(&root.progress(operation), &bytes);
    }
}

/// What was told last.
pub(crate) fn read(root: &Root, operation: OperationId) -> Option<(Phase, Option<u8>)> {
    let bytes = durable::read(&root.progress(operation)).ok()??;
    let report: Report = decode(&bytes).ok()?;
    Some((report.phase, report.percent))
}

/// The job is over.
pub(crate) fn clear(root: &Root, operation: OperationId) {
    let _ = fs::remove_file(root.progress(operation));
}
