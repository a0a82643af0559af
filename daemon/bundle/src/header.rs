//! The headers of the tar around a bundle (POSIX ustar). They have one form: a regular file with a name of at most 100
//! bytes, no link, no prefix, and no extension of any tar. Two readers therefore cannot read a bundle in two ways.

use crate::{MANIFEST, error::ManifestError, names::FileName};

/// The length of a header, and the unit of contents.
pub const BLOCK: usize = 512;

/// The most zeros behind the last file: two blocks, and what tar adds for its record.
pub const MAX_END: u64 = 64 * 1024;

/// The longest content: eleven octal digits.
pub const MAX_LENGTH: u64 = 0o77_777_777_777;

/// A file in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleHeader {
    /// Its name.
    pub name: String,
    /// The length of its content.
    pub length: u64,
}

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const NUMBERS: std::ops::Range<usize> = 108..124;
const LENGTH: std::ops::Range<usize> = 124..136;
const TIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const DEVICE: std::ops::Range<usize> = 329..345;
const REST: std::ops::Range<usize> = 345..512;

const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";

impl BundleHeader {
    /// The header of the manifest.
    pub fn of_manifest(length: u64) -> Self {
        Self {
            name: MANIFEST.to_owned(),
            length,
        }
    }

    /// The header of a package.
    pub fn of_file(name: &FileName, length: u64) -> Self {
        Self {
            name: name.to_string(),
            length,
        }
    }

    /// The block of this header. It says nothing of the owner or the time of the file.
    pub fn to_block(&self) -> Result<[u8; BLOCK], ManifestError> {
        if self.length > MAX_LENGTH || self.name.len() > NAME.len() {
            let why = format!("{} does not fit into a bundle: it is too long", self.name);
            return Err(ManifestError::new(why));
        }
        let mut block = [0; BLOCK];
        put(&mut block, NAME, self.name.as_bytes());
        put(&mut block, MODE, b"0000644\0");
        put(&mut block, NUMBERS, b"0000000\x000000000\0");
        put(
            &mut block,
            LENGTH,
            format!("{:011o}\0", self.length).as_bytes(),
        );
        put(&mut block, TIME, b"00000000000\0");
        put(&mut block, KIND..KIND + 1, b"0");
        put(&mut block, MAGIC, USTAR);
        let checksum = checksum(&block);
        put(
            &mut block,
            CHECKSUM,
            format!("{checksum:06o}\0 ").as_bytes(),
        );
        Ok(block)
    }

    /// Reads a block. None is the first of the two blocks of zeros at the end.
    pub fn from_block(block: &[u8; BLOCK]) -> Result<Option<Self>, ManifestError> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let wrong = |why: &str| Err(ManifestError::new(why));
        let magic = &block[MAGIC];
        if magic != USTAR && magic != GNU {
            return wrong("it has an entry that is no header of tar (POSIX ustar, or GNU)");
        }
        if octal(&block[CHECKSUM]) != Some(u64::from(checksum(block))) {
            return wrong("it has a header with a wrong checksum");
        }
        let name = field(&block[NAME])
            .ok_or_else(|| ManifestError::new("it has an entry with bytes behind its name"))?;
        let name = str::from_utf8(name)
            .map(ToOwned::to_owned)
            .map_err(|_| ManifestError::new("it has an entry whose name is not UTF-8"))?;
        let is_file = block[KIND] == b'0' && block[LINK].iter().all(|&byte| byte == 0);
        if !is_file {
            return Err(ManifestError::new(format!(
                "its {name:?} is no regular file: it is {}",
                kind(block[KIND])
            )));
        }
        let has_device = block[DEVICE]
            .iter()
            .any(|byte| !matches!(byte, 0 | b'0' | b' '));
        if has_device || block[REST].iter().any(|&byte| byte != 0) {
            return Err(ManifestError::new(format!(
                "the header of its {name:?} has a device, a prefix or an extension of tar"
            )));
        }
        match octal(&block[LENGTH]) {
            Some(length) => Ok(Some(Self { name, length })),
            None => Err(ManifestError::new(format!(
                "the length of its {name:?} is no number"
            ))),
        }
    }

    /// Zeros behind the content, up to the next block.
    pub const fn padding(&self) -> u64 {
        self.length.next_multiple_of(BLOCK as u64) - self.length
    }
}

fn put(block: &mut [u8; BLOCK], range: std::ops::Range<usize>, bytes: &[u8]) {
    let place = block.get_mut(range).unwrap_or_default();
    for (place, byte) in place.iter_mut().zip(bytes) {
        *place = *byte;
    }
}

/// The bytes before the first zero, if only zeros follow.
fn field(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let (content, rest) = bytes.split_at(end);
    rest.iter().all(|&byte| byte == 0).then_some(content)
}

/// An octal number, then spaces and zeros. The form of GNU for longer numbers is none.
fn octal(bytes: &[u8]) -> Option<u64> {
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, 0 | b' '))
        .unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(end);
    let is_one = !digits.is_empty() && rest.iter().all(|byte| matches!(byte, 0 | b' '));
    let digits = str::from_utf8(digits).ok().filter(|_| is_one)?;
    let plain = digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    plain.then(|| u64::from_str_radix(digits, 8).ok()).flatten()
}

/// The sum of all bytes, with spaces in the place of the checksum.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte }))
        .sum()
}

fn kind(byte: u8) -> String {
    match byte {
        b'0' => "one with the target of a link".to_owned(),
        b'1' => "a hard link".to_owned(),
        b'2' => "a symbolic link".to_owned(),
        b'3' | b'4' => "a device".to_owned(),
        b'5' => "a folder".to_owned(),
        b'6' => "a FIFO".to_owned(),
        b'g' | b'x' => "a header of pax: build the bundle with tar --format=ustar".to_owned(),
        b'L' | b'K' => "a long name of GNU tar: give the file a shorter one".to_owned(),
        b'S' => "a sparse file".to_owned(),
        other => format!("of the type {:?}", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(name: &str, length: u64) -> BundleHeader {
        BundleHeader {
            name: name.to_owned(),
            length,
        }
    }

    #[test]
    fn a_header_that_was_written_is_read() {
        let longest = "a".repeat(FileName::MAX);
        for header in [
            BundleHeader::of_manifest(7),
            header("core.deb", 0),
            header(&longest, MAX_LENGTH),
        ] {
            let block = header.to_block().unwrap();
            assert_eq!(BundleHeader::from_block(&block).unwrap(), Some(header));
        }
        assert_eq!(BundleHeader::from_block(&[0; BLOCK]).unwrap(), None);
        assert!(header("core.deb", MAX_LENGTH + 1).to_block().is_err());
        assert!(header(&"a".repeat(101), 0).to_block().is_err());
    }

    #[test]
    fn the_content_ends_at_a_block() {
        for (length, padding) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(header("a", length).padding(), padding, "{length}");
        }
    }

    /// Each changed byte has a right checksum.
    #[test]
    fn a_header_has_one_form() {
        let sound = header("core.deb", 7).to_block().unwrap();
        for (what, at, byte) in [
            ("a byte behind the name", 10, b'x'),
            ("a length of GNU", LENGTH.start, 0x80),
            ("no length", LENGTH.start, b' '),
            ("a length that is not octal", LENGTH.start, b'8'),
            ("a link", LINK.start, b'x'),
            ("a folder", KIND, b'5'),
            ("an old tar", KIND, 0),
            ("another magic", MAGIC.start, b'U'),
            ("a device", DEVICE.start, b'1'),
            ("a prefix", REST.start, b'x'),
            ("an extension", REST.end - 1, 1),
        ] {
            let mut block = sound;
            block[at] = byte;
            let checksum = checksum(&block);
            put(
                &mut block,
                CHECKSUM,
                format!("{checksum:06o}\0 ").as_bytes(),
            );
            assert!(BundleHeader::from_block(&block).is_err(), "{what}");
        }
    }

    proptest! {
        /// Besides the checksum, only what no reader uses may differ: mode, owner and time.
        #[test]
        fn a_changed_byte_is_refused_by_its_checksum(at in 0..BLOCK, change in 1..=255_u8) {
            let mut block = header("core.deb", 7).to_block().unwrap();
            block[at] ^= change;
            let read = BundleHeader::from_block(&block);
            prop_assert!(CHECKSUM.contains(&at) || read.is_err(), "{:?}", read);
        }

        #[test]
        fn no_block_is_too_strange_to_be_refused(bytes: Vec<u8>) {
            let mut block = [0; BLOCK];
            put(&mut block, 0..bytes.len().min(BLOCK), &bytes);
            let _ = BundleHeader::from_block(&block);
        }
    }
}
