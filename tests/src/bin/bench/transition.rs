//! The time until a transition is on the disk and the server has its answer.

use wharf_tests::package::Package;

use crate::{
    figure::Figure,
    story::Story,
    trace::{Call, Strace},
};

/// INITIAL to DOWNLOAD STARTED: from the Write to its answer.
pub(crate) fn measure(story: &mut Story) {
    let file = story.publish(&Package::new("transition", "1.0-1"));
    let daemon = story.gateway.daemon().id();
    story.write_credentials();
    let trace = Strace::attach(&[daemon], "sendto,fsync,fdatasync");
    story.write_uri(&file);
    let fsyncs: usize = trace
        .end()
        .iter()
        .map(|thread| until_answered(thread))
        .sum();
    Figure {
        name: "fsyncs of one transition",
        aim: Some(1.0),
        measured: fsyncs as f64,
        unit: "",
        beside: "SQLite needs one for a commit".to_owned(),
    }
    .tell();
    story.wait_for_state("3");
    story.uninstall("");
}

fn until_answered(calls: &[Call]) -> usize {
    let answer = calls.iter().position(|call| call.name == "sendto");
    answer.unwrap_or(calls.len())
}
