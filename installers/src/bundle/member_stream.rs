//! The packages of a bundle as wharf-inspect hands them over: the length of each in 8 bytes, big endian, and then its bytes.

use super::members::{MemberFile, MemberFiles};
use crate::not_done::NotDone;

/// Writes the stream to the files of the packages.
#[derive(Debug)]
pub(crate) struct MemberStream<'m> {
    members: &'m mut MemberFiles,
    /// The bytes of a length that is not complete.
    head: Vec<u8>,
    /// Bytes of the package that are yet to come; none between two packages.
    left: Option<u64>,
    ended: Vec<MemberFile>,
}

/// The length of the length of a package.
const HEAD: usize = size_of::<u64>();

impl<'m> MemberStream<'m> {
    /// The stream into these files.
    pub(crate) const fn into(members: &'m mut MemberFiles) -> Self {
        Self {
            members,
            head: Vec::new(),
            left: None,
            ended: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<(), NotDone> {
        while !bytes.is_empty() {
            bytes = match self.left {
                None => self.begin(bytes)?,
                Some(left) => self.write(bytes, left)?,
            };
        }
        Ok(())
    }

    /// Reads on in the length of the next package. Returns the bytes after it.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], NotDone> {
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(missing);
        self.head.extend_from_slice(head);
        if let Ok(length) = <[u8; HEAD]>::try_from(self.head.as_slice()) {
            let length = u64::from_be_bytes(length);
            self.members.begin(length)?;
            self.head.clear();
            self.left = Some(length);
            self.end_if_complete()?;
        }
        Ok(rest)
    }

    fn write<'b>(&mut self, bytes: &'b [u8], left: u64) -> Result<&'b [u8], NotDone> {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (content, rest) = bytes.split_at(length);
        self.members.append(content)?;
        self.left = Some(left.saturating_sub(length as u64));
        self.end_if_complete()?;
        Ok(rest)
    }

    fn end_if_complete(&mut self) -> Result<(), NotDone> {
        if self.left == Some(0) {
            self.ended.push(self.members.end()?);
            self.left = None;
        }
        Ok(())
    }

    /// The packages; none if the stream ends within one.
    pub(crate) fn finish(self) -> Option<Vec<MemberFile>> {
        (self.left.is_none() && self.head.is_empty()).then_some(self.ended)
    }
}

#[cfg(test)]
mod tests {
    use std::io::read_to_string;

    use super::*;

    fn stream(packages: &[&str]) -> Vec<u8> {
        let package = |text: &&str| {
            let length = (text.len() as u64).to_be_bytes();
            length
                .iter()
                .copied()
                .chain(text.bytes())
                .collect::<Vec<_>>()
        };
        packages.iter().flat_map(package).collect()
    }

    #[test]
    fn the_packages_are_the_same_however_the_stream_is_cut() {
        let texts = ["acme", "", "lamp of many bytes"];
        let bytes = stream(&texts);
        for size in 1..=bytes.len() {
            let folder = tempfile::tempdir().unwrap();
            let mut members = MemberFiles::of(folder.path().join("stage"), 100);
            let mut stream = MemberStream::into(&mut members);
            for piece in bytes.chunks(size) {
                stream.append(piece).unwrap();
            }
            let got = stream.finish().unwrap();
            let got: Vec<_> = got
                .into_iter()
                .map(|it| read_to_string(it.file).unwrap())
                .collect();
            assert_eq!(got, texts, "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_package_has_none() {
        let bytes = stream(&["acme", "lamp"]);
        for length in 0..bytes.len() {
            let folder = tempfile::tempdir().unwrap();
            let mut members = MemberFiles::of(folder.path().join("stage"), 100);
            let mut stream = MemberStream::into(&mut members);
            stream.append(&bytes[..length]).unwrap();
            let ended = stream.finish().map(|ended| ended.len());
            let expected = match length {
                0 => Some(0),
                12 => Some(1),
                _ => None,
            };
            assert_eq!(ended, expected, "{length}");
        }
    }
}
