//! Logs to the journal if standard error is connected to it (JOURNAL_STREAM, systemd.exec(5)). A program on a terminal
//! logs there instead.

use std::{env, fs::File, io, os::fd::AsFd, os::unix::fs::MetadataExt};

use tracing_journald::{Layer, Priority, PriorityMappings};

/// The layer that writes to the journal, if standard error is connected to it.
pub(crate) fn layer(program: &str) -> Option<Layer> {
    if !is_at_standard_error() {
        return None;
    }
    let layer = tracing_journald::layer().ok()?;
    let layer = layer.with_field_prefix(None);
    let layer = layer.with_syslog_identifier(program.to_owned());
    Some(layer.with_priority_mappings(PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    }))
}

fn is_at_standard_error() -> bool {
    let stream = env::var("JOURNAL_STREAM").ok();
    let standard_error = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let file = standard_error.and_then(|file| file.metadata());
    stream.is_some_and(|stream| file.is_ok_and(|file| is(&stream, file.dev(), file.ino())))
}

/// Whether the journal stream `DEVICE:INODE` is this file.
fn is(stream: &str, device: u64, inode: u64) -> bool {
    stream == format!("{device}:{inode}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_recognised_by_device_and_inode() {
        assert!(is("8:91234", 8, 91234));
        for other in ["8:9123", "9:91234", "8", "", ":", "8:91234:1"] {
            assert!(!is(other, 8, 91234), "{other}");
        }
    }
}
