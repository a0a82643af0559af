//! How often the bytes of a package are written until it is DELIVERED.

use std::fs;

use wharf_tests::package::Package;

use crate::{figure::Figure, story::Story, trace::Trace};

const SIZE: usize = 50_000_000;
const WRITES: &str = "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,splice";

/// All that wharfd, wharf-installer and what they start write below the root, the database included.
pub(crate) fn measure(story: &mut Story) {
    let file = story.publish(&Package::new("download", "1.0-1").padding(SIZE));
    let (daemon, installer) = (story.gateway.daemon().id(), story.gateway.installer().id());
    let trace = Trace::attach(&[daemon, installer], WRITES);
    story.order(&file);
    story.wait_for_state("3");
    let root = story.gateway.path();
    let calls = trace.end().into_iter().flatten();
    let written: u64 = calls
        .filter(|call| call.file.starts_with(&root))
        .map(|call| call.result)
        .sum();
    let size = fs::metadata(&file).expect("the package").len();
    Figure {
        name: "bytes written for each byte of a package of 50 MB",
        aim: Some(1.0),
        measured: written as f64 / size as f64,
        unit: "",
        beside: "curl -o, then dpkg -i: 1".to_owned(),
    }
    .tell();
    story.uninstall("");
}
