//! The payload, unpacked: a cpio archive (cpio(5), "newc"), or the stripped form that rpm has for files of 4 GiB and for
//! packages of version 6. There an entry has only the number of its file in the header.

use std::io::{self, Read};

const NEWC: &[u8; 6] = b"070701";
const STRIPPED: &[u8; 6] = b"07070X";

/// The entry that ends an archive of either form.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The longest name, as rpm has it.
const MAX_NAME: u32 = 4096;

/// Headers and contents begin at multiples of this.
const BLOCK: u64 = 4;

/// The places of the fields in the header of "newc" that are read. All fields are hexadecimal.
const FIELDS: usize = 13;
const FILE_SIZE: usize = 6;
const NAME_SIZE: usize = 11;

/// An entry of the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// By its name, with the size of its content.
    Named(Vec<u8>, u64),
    /// By its number in the header.
    Numbered(u32),
}

/// A reader of an archive. Between two calls of [`Cpio::next`] it reads the content of an entry.
pub(super) struct Cpio<'a> {
    archive: &'a mut dyn Read,
    position: u64,
}

impl<'a> Cpio<'a> {
    pub(super) fn new(archive: &'a mut dyn Read) -> Self {
        let position = 0;
        Self { archive, position }
    }

    /// The next entry, if all content of the one before was read.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        self.pad()?;
        match &self.take::<6>()? {
            NEWC => self.named(),
            STRIPPED => {
                let [number] = self.fields()?;
                self.pad()?;
                Ok(Some(Entry::Numbered(number)))
            }
            _ => Err(unsound("something that is no entry is in it")),
        }
    }

    /// The end of the archive: at most zeros follow the last entry.
    pub(super) fn end(mut self) -> io::Result<()> {
        let mut rest = [0; 512];
        loop {
            match self.read(&mut rest)? {
                0 => return Ok(()),
                length if rest.iter().take(length).all(|&byte| byte == 0) => {}
                _ => return Err(unsound("bytes follow its last entry")),
            }
        }
    }

    /// The number of bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    fn named(&mut self) -> io::Result<Option<Entry>> {
        let fields: [u32; FIELDS] = self.fields()?;
        let [size, length] = [FILE_SIZE, NAME_SIZE].map(|at| fields.get(at).copied().unwrap_or(0));
        if !(1..=MAX_NAME).contains(&length) {
            return Err(unsound(
                "an entry without a name, or with a long one, is in it",
            ));
        }
        let mut name = vec![0; length as usize];
        self.read_exact(&mut name)?;
        self.pad()?;
        match name.pop() {
            Some(0) if name == TRAILER => Ok(None),
            Some(0) if !name.contains(&0) => Ok(Some(Entry::Named(name, size.into()))),
            _ => Err(unsound("the name of an entry does not end where it should")),
        }
    }

    fn fields<const N: usize>(&mut self) -> io::Result<[u32; N]> {
        let mut fields = [0; N];
        for field in &mut fields {
            for digit in self.take::<8>()? {
                let digit = char::from(digit).to_digit(16);
                let digit = digit.ok_or_else(|| unsound("the header of an entry is no number"))?;
                *field = *field << 4 | digit;
            }
        }
        Ok(fields)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Zeros up to the next block.
    fn pad(&mut self) -> io::Result<()> {
        while !self.position.is_multiple_of(BLOCK) {
            if self.take()? != [0] {
                return Err(unsound("the padding of an entry is not zeros"));
            }
        }
        Ok(())
    }
}

impl Read for Cpio<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.archive.read(buffer)?;
        self.position += length as u64;
        Ok(length)
    }
}

pub(super) fn unsound(why: &'static str) -> io::Error {
    io::Error::other(why)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An entry of "newc" without padding at its end.
    pub(in crate::format::rpm) fn newc(name: &str, content: &[u8]) -> Vec<u8> {
        let mut fields = [0; FIELDS];
        fields[FILE_SIZE] = content.len();
        fields[NAME_SIZE] = name.len() + 1;
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        let mut entry = [NEWC, fields.as_bytes(), name.as_bytes(), &[0]].concat();
        entry.resize(entry.len().next_multiple_of(4), 0);
        [&entry, content].concat()
    }

    pub(in crate::format::rpm) fn stripped(number: u32, content: &[u8]) -> Vec<u8> {
        [
            STRIPPED,
            format!("{number:08X}").as_bytes(),
            &[0, 0],
            content,
        ]
        .concat()
    }

    /// The archive of these entries.
    pub(in crate::format::rpm) fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut archive = Vec::new();
        for entry in entries {
            archive.resize(archive.len().next_multiple_of(4), 0);
            archive.extend(entry);
        }
        archive
    }

    /// The entries with their contents; a numbered one has one byte.
    fn read(mut bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
        let mut cpio = Cpio::new(&mut bytes);
        let mut entries = Vec::new();
        while let Some(entry) = cpio.next()? {
            let size = match &entry {
                Entry::Named(_, size) => *size as usize,
                Entry::Numbered(_) => 1,
            };
            let mut content = vec![0; size];
            cpio.read_exact(&mut content)?;
            entries.push((entry, content));
        }
        cpio.end()?;
        Ok(entries)
    }

    #[test]
    fn entries_of_both_forms_are_read() {
        let bytes = archive(&[
            newc("./a", b"12345"),
            newc("./bb", b""),
            stripped(0xab, b"x"),
            newc("TRAILER!!!", b""),
        ]);
        let entries = read(&bytes).unwrap();
        let expected = vec![
            (Entry::Named(b"./a".into(), 5), b"12345".to_vec()),
            (Entry::Named(b"./bb".into(), 0), vec![]),
            (Entry::Numbered(0xab), b"x".to_vec()),
        ];
        assert_eq!(entries, expected);
        read(&[&bytes[..], &[0; 512]].concat()).unwrap();
    }

    #[test]
    fn an_archive_that_is_cut_or_goes_on_is_an_error() {
        let bytes = archive(&[
            newc("./a", b"12345"),
            stripped(1, b"x"),
            newc("TRAILER!!!", b""),
        ]);
        let name_end = bytes.len() - 1;
        for length in 0..name_end {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err());
        assert!(read(&[&bytes[..], &[0; 600], b"x"].concat()).is_err());
    }

    #[test]
    fn a_strange_entry_is_an_error() {
        let sound = newc("./a", b"1");
        let changed = |at: usize, byte| {
            let mut changed = sound.clone();
            changed[at] = byte;
            changed
        };
        let name_size = 6 + NAME_SIZE * 8;
        for (what, entry) in [
            ("another magic", changed(5, b'2')),
            ("a sign in a number", changed(6, b'+')),
            ("a space in a number", changed(20, b' ')),
            ("a digit that is none", changed(20, b'g')),
            ("no name", changed(name_size + 7, b'0')),
            ("a long name", changed(name_size + 4, b'2')),
            ("a shorter name", changed(name_size + 7, b'3')),
            ("a zero in the name", changed(112, 0)),
            ("a name without end", changed(113, b'x')),
            (
                "padding that is not zeros",
                changed(115, 1).into_iter().chain([0]).collect(),
            ),
        ] {
            let bytes = archive(&[entry, newc("TRAILER!!!", b"")]);
            assert!(read(&bytes).is_err(), "{what}");
        }
        let mut padded = archive(&[stripped(1, b"x"), newc("TRAILER!!!", b"")]);
        padded[14] = 1;
        assert!(read(&padded).is_err());
    }
}
