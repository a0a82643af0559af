//! Bytes that are read by position, and parts of them. The offset of a shared descriptor is never moved.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
};

/// Something whose bytes can be read anywhere: the package's descriptor, or a slice in a test.
pub trait ReadAt {
    /// Reads up to the buffer's length from this position on; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, position)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        self.get(start..).unwrap_or_default().read(buffer)
    }
}

/// A reader of a part. An end of the source within the part is an error, not an end.
#[derive(Debug)]
pub struct Part<'a, S: ?Sized> {
    source: &'a S,
    range: Range<u64>,
}

impl<'a, S: ReadAt + ?Sized> Part<'a, S> {
    /// The part of the source in this range.
    pub fn new(source: &'a S, range: Range<u64>) -> Self {
        Self { source, range }
    }
}

impl<S: ReadAt + ?Sized> Read for Part<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.end.saturating_sub(self.range.start);
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let length = self.source.read_at(buffer, self.range.start)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.range.start += length as u64;
        Ok(length)
    }
}

/// All bytes of a range that is known to be short.
pub(super) fn read_range<S: ReadAt + ?Sized>(source: &S, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Part::new(source, range).read_to_end(&mut bytes)?;
    Ok(bytes)
}
