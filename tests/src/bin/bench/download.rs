//! The number of bytes written for each byte of a package until it is DELIVERED.

use std::{fs, path::Path};

use wharf_tests::package::Package;

use crate::{
    figure::Figure,
    story::Story,
    trace::{Call, Strace, trace},
};

const SIZE: usize = 50_000_000;
const WRITES: &str = "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,splice";

/// Counts all writes below the root of wharfd, wharf-installer and their children, the database included.
pub(crate) fn measure(story: &mut Story) {
    let file = story.publish(&Package::new("download", "1.0-1").padding(SIZE));
    let (daemon, installer) = (story.gateway.daemon().id(), story.gateway.installer().id());
    let following = Strace::attach(&[daemon, installer], WRITES);
    story.order(&file);
    story.wait_for_state("3");
    let own = written_below(&story.gateway.path(), following.end());
    let copy = story.folder.join("copy");
    let other = written_below(&copy, trace(&story.curl(&file, &copy), WRITES));
    let size = fs::metadata(&file).expect("the package").len() as f64;
    Figure {
        name: "bytes written for each byte of a package of 50 MB",
        aim: Some(1.0),
        measured: own / size,
        unit: "",
        beside: format!("curl {:.2}", other / size),
    }
    .tell();
    story.uninstall("");
}

fn written_below(folder: &Path, threads: Vec<Vec<Call>>) -> f64 {
    let calls = threads.into_iter().flatten();
    let written = calls.filter(|call| call.file.starts_with(folder));
    written.map(|call| call.result as f64).sum()
}
