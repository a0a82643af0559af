//! The memory that a secret leaves behind.

use std::io::{self, Read};

use wharf_fault::freed;
use wharf_secret::Secret;

const PASSWORD: &[u8] = b"correct horse battery staple";

/// A source that gives one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn a_dropped_secret_leaves_no_copy_in_freed_memory() {
    freed::look_for(vec![PASSWORD]);
    let secret = Secret::new(PASSWORD.to_vec());
    let copy = secret.clone();
    assert_eq!(copy.expose(), PASSWORD);
    let read = Secret::read(Slow(PASSWORD), 1024).unwrap();
    assert_eq!(read, secret);
    let cut = Secret::read(PASSWORD, PASSWORD.len()).unwrap();
    drop((secret, copy, read, cut));
    assert_eq!(freed::found(), 0);

    drop(PASSWORD.to_vec());
    assert_eq!(freed::found(), 1, "a copy that is not wiped is not found");
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", Secret::new(b"hunter2".to_vec()));
    assert_eq!(shown, "Secret(…)");
}

#[test]
fn a_source_is_read_up_to_the_limit() {
    let read = |most| Secret::read(&b"0123456789"[..], most).unwrap();
    assert_eq!(read(4).expose(), b"0123");
    assert_eq!(read(10).expose(), b"0123456789");
    assert_eq!(read(1024).expose(), b"0123456789");
}
