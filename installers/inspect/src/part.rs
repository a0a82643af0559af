//! Bytes that are read by position, and parts of them. The offset of a shared descriptor is never moved.

use std::{
    io::{self, Read},
    ops::Range,
    vec,
};

use wharf_frames::{Cause, Failure};

/// Content that can be read at any offset: the package's descriptor, or a slice in a test.
pub trait ReadAt {
    /// Reads up to the buffer's length from this position on; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        self.get(start..).unwrap_or_default().read(buffer)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        (**self).read_at(buffer, position)
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

/// A reader of several parts, one after the other.
#[derive(Debug)]
pub struct Parts<'a, S: ?Sized> {
    source: &'a S,
    current: Part<'a, S>,
    left: vec::IntoIter<Range<u64>>,
}

impl<'a, S: ReadAt + ?Sized> Parts<'a, S> {
    /// The parts of the source in these ranges.
    pub fn new(source: &'a S, ranges: Vec<Range<u64>>) -> Self {
        Self {
            source,
            current: Part::new(source, 0..0),
            left: ranges.into_iter(),
        }
    }
}

impl<S: ReadAt + ?Sized> Read for Parts<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.current.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.left.next() {
                Some(range) => self.current = Part::new(self.source, range),
                None => return Ok(0),
            }
        }
    }
}

/// All bytes of a range that is known to be short.
pub(crate) fn read_range<S: ReadAt + ?Sized>(source: &S, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Part::new(source, range).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The failure to read a package. It is not a verdict on the package.
pub(crate) fn unreadable(error: &io::Error) -> Failure {
    let detail = format!("the package cannot be read: {error}");
    Failure::new(Cause::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_one_after_the_other_and_none_beyond_the_end() {
        let source = &b"0123456789"[..];
        let read = |ranges: Vec<Range<u64>>| {
            let mut bytes = Vec::new();
            let read = Parts::new(source, ranges).read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|error| error.kind())
        };
        assert_eq!(read(vec![]), Ok(vec![]));
        assert_eq!(read(vec![7..9, 3..3, 0..2]), Ok(b"7801".to_vec()));
        assert_eq!(read(vec![0..2, 9..11]), Err(io::ErrorKind::UnexpectedEof));
    }
}
