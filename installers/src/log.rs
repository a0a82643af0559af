//! What the journal is told of jobs, each line with the fields by which it is found.

use std::fmt;

use wharf_frames::Failure;
use wharf_journal::message;

use crate::journal::{Job, Order};

/// A job is done.
pub(crate) fn done(job: &Job) {
    tracing::info!(
        MESSAGE_ID = message::JOB_DONE,
        WHARF_PACKAGE = job.order.package().as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: done",
        Ordered(&job.order)
    );
}

/// A job failed.
pub(crate) fn failed(job: &Job, failure: &Failure) {
    tracing::warn!(
        MESSAGE_ID = message::JOB_FAILED,
        WHARF_PACKAGE = job.order.package().as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: {failure}",
        Ordered(&job.order)
    );
}

/// An attempt at a job was interrupted, and another one takes up what it left.
pub(crate) fn repairs(job: &Job, what: fmt::Arguments<'_>) {
    tracing::warn!(
        MESSAGE_ID = message::JOB_REPAIRS,
        WHARF_PACKAGE = job.order.package().as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: attempt {}: {what}",
        Ordered(&job.order),
        job.attempts.len()
    );
}

/// An order as a person says it: `install hello 1.0-1`.
struct Ordered<'a>(&'a Order);

impl fmt::Display for Ordered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Order::Install { judged, .. } => {
                let package = &judged.package;
                write!(f, "install {} {}", package.name, package.version)
            }
            Order::Remove(name) => write!(f, "remove {name}"),
            Order::Activate(name) => write!(f, "activate {name}"),
            Order::Deactivate(name) => write!(f, "deactivate {name}"),
        }
    }
}
