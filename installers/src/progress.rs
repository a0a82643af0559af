//! The progress of a running job, for watchers. It may be lost: the records decide.

use std::fs;

use minicbor::{Decode, Encode};
use wharf_frames::{OperationId, decode, encode, installer::JobPhase};
use wharf_managers::Progress;
use wharf_root::{Root, durable};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Report {
    #[n(0)]
    phase: JobPhase,
    #[n(1)]
    percent: Option<u8>,
}

/// Reports the progress of a job. A report that cannot be written is dropped, and the job continues.
pub(crate) fn write(root: &Root, operation: OperationId, progress: Progress) {
    let report = Report {
        phase: progress.phase,
        percent: progress.percent,
    };
    if let Ok(bytes) = encode(&report) {
        let _ = durable::write_volatile(&root.progress(operation), &bytes);
    }
}

/// The last report.
pub(crate) fn read(root: &Root, operation: OperationId) -> Option<(JobPhase, Option<u8>)> {
    let bytes = durable::read(&root.progress(operation)).ok()??;
    let report: Report = decode(&bytes).ok()?;
    Some((report.phase, report.percent))
}

/// Removes the report of a job that has ended.
pub(crate) fn clear(root: &Root, operation: OperationId) {
    let _ = fs::remove_file(root.progress(operation));
}
