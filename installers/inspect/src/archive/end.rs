//! Checks the end of a packed stream by its framing alone. xz and zstd give the length of each piece, so a package of
//! any size is checked in milliseconds, while unpacking takes seconds. A decoder obeys each length that is read here.
//! One that reads the same bytes in another way fails.

use std::io;

use super::{
    Archive, Compression,
    unpack::{MAX_WINDOW, TOO_WIDE, unpack},
};
use crate::part::{ReadAt, read_range};

/// Whether the archive is one stream that ends where the archive ends, with windows that [`unpack`] accepts. gzip has no
/// lengths, so it is unpacked.
pub(crate) fn check<S: ReadAt + ?Sized>(file: &S, archive: &Archive) -> io::Result<()> {
    let mut walk = Walk {
        file,
        position: archive.range.start,
        end: archive.range.end,
    };
    match archive.compression {
        Compression::None => return Ok(()),
        Compression::Gzip => return unpack(file, archive, |_| Ok(())),
        Compression::Xz => walk.xz()?,
        Compression::Zstd => walk.zstd()?,
    }
    match walk.position == walk.end {
        true => Ok(()),
        false => Err(unsound("bytes follow the end of the stream")),
    }
}

struct Walk<'a, S: ?Sized> {
    file: &'a S,
    position: u64,
    end: u64,
}

impl<S: ReadAt + ?Sized> Walk<'_, S> {
    /// The .xz file format, 1.1.0: header, blocks, index, footer.
    fn xz(&mut self) -> io::Result<()> {
        let [_, _, _, _, _, _, flags, check, ..] = self.take::<12>()?;
        if flags != 0 || check > 0x0f {
            return Err(unsound("an xz header of an unknown kind"));
        }
        let check = match check {
            0 => 0,
            known => 4 << ((known - 1) / 3),
        };
        loop {
            let start = self.position;
            match self.take::<1>()? {
                [0] => return self.xz_index(start),
                [size] => self.xz_block_header(u64::from(size) * 4 + 3)?,
            }
            self.lzma2()?;
            self.pad(start)?;
            self.pass(check)?;
        }
    }

    /// The rest of the header of a block. Its last filter is LZMA2, which has one property: the size of its dictionary.
    fn xz_block_header(&mut self, length: u64) -> io::Result<()> {
        let end = self.position.saturating_add(length);
        let [flags] = self.take()?;
        for size in [0x40, 0x80] {
            if flags & size != 0 {
                self.multibyte()?;
            }
        }
        for _ in 0..flags & 0x03 {
            self.multibyte()?;
            let properties = self.multibyte()?;
            self.pass(properties)?;
        }
        let [filter, properties, size] = self.take()?;
        match end.checked_sub(self.position) {
            Some(rest) if [filter, properties] == [0x21, 1] && size <= 40 => self.pass(rest)?,
            _ => return Err(unsound("an xz block of an unknown kind")),
        }
        check_window((2 | u64::from(size & 1)) << (size / 2 + 11))
    }

    /// The chunks of LZMA2, which is the last filter of every block.
    fn lzma2(&mut self) -> io::Result<()> {
        loop {
            match self.take::<1>()? {
                [0] => return Ok(()),
                [1 | 2] => {
                    let size = u16::from_be_bytes(self.take()?);
                    self.pass(u64::from(size) + 1)?;
                }
                [control @ 0x80..=0xff] => {
                    let [_, _, high, low] = self.take()?;
                    let properties = u64::from(control >= 0xc0);
                    self.pass(properties + u64::from(u16::from_be_bytes([high, low])) + 1)?;
                }
                _ => return Err(unsound("an LZMA2 chunk of an unknown kind")),
            }
        }
    }

    fn xz_index(&mut self, start: u64) -> io::Result<()> {
        let records = self.multibyte()?;
        for _ in 0..records {
            self.multibyte()?;
            self.multibyte()?;
        }
        self.pad(start)?;
        self.pass(4)?;
        match self.take::<12>()? {
            [.., b'Y', b'Z'] => Ok(()),
            _ => Err(unsound("an xz stream without its footer")),
        }
    }

    fn multibyte(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(unsound("a number in the xz index is too long"))
    }

    /// RFC 8878 3.1.1: one frame, its blocks, its checksum.
    fn zstd(&mut self) -> io::Result<()> {
        let [.., descriptor] = self.take::<5>()?;
        if descriptor & 0x08 != 0 {
            return Err(unsound("a zstd frame of an unknown kind"));
        }
        let single_segment = descriptor & 0x20 != 0;
        if !single_segment {
            let [window] = self.take()?;
            // The exponent, and how many eighths come on top.
            check_window((u64::from(8 | window & 7) << (window >> 3)) << 7)?;
        }
        let dictionary = match descriptor & 0x03 {
            3 => 4,
            length => u64::from(length),
        };
        self.pass(dictionary)?;
        let content_size = match descriptor >> 6 {
            0 => u64::from(single_segment),
            power => 1 << power,
        };
        let start = self.position;
        self.pass(content_size)?;
        if single_segment {
            let size = read_range(self.file, start..self.position)?;
            let size = size
                .iter()
                .rev()
                .fold(0, |size, &byte| size << 8 | u64::from(byte));
            check_window(size)?;
        }
        loop {
            let [low, middle, high] = self.take()?;
            let header = u32::from_le_bytes([low, middle, high, 0]);
            self.pass(match (header >> 1) & 3 {
                0 | 2 => u64::from(header >> 3),
                1 => 1,
                _ => return Err(unsound("a zstd block of an unknown kind")),
            })?;
            if header & 1 != 0 {
                break;
            }
        }
        self.pass(if descriptor & 0x04 != 0 { 4 } else { 0 })
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let start = self.position;
        self.pass(N as u64)?;
        let bytes = read_range(self.file, start..self.position)?;
        bytes
            .try_into()
            .map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    fn pass(&mut self, length: u64) -> io::Result<()> {
        self.position = self.position.saturating_add(length);
        match self.position > self.end {
            true => Err(unsound("the stream continues after the end of its member")),
            false => Ok(()),
        }
    }

    /// Skips padding up to a multiple of four bytes from `start`.
    fn pad(&mut self, start: u64) -> io::Result<()> {
        let length = self.position - start;
        self.pass(length.next_multiple_of(4) - length)
    }
}

fn check_window(size: u64) -> io::Result<()> {
    match size > MAX_WINDOW {
        true => Err(unsound(TOO_WIDE)),
        false => Ok(()),
    }
}

fn unsound(why: &'static str) -> io::Error {
    io::Error::other(why)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        ops::Range,
        process::{Command, Stdio},
        thread,
    };

    use super::*;

    fn packed(command: &str, content: &[u8]) -> Vec<u8> {
        let mut shell = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        let content = content.to_vec();
        let writer = thread::spawn(move || input.write_all(&content).unwrap());
        let output = shell.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "{command}");
        output.stdout
    }

    fn contents() -> [Vec<u8>; 4] {
        let mixed = |length: u64| {
            let noise = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8;
            (0..length)
                .map(|i| if i % 100_000 < 70_000 { noise(i) } else { b'x' })
                .collect()
        };
        [vec![], b"x".to_vec(), vec![0; 500_000], mixed(500_001)]
    }

    fn check_slice(bytes: &[u8], range: Range<u64>, compression: Compression) -> io::Result<()> {
        check(bytes, &Archive { range, compression })
    }

    #[test]
    fn finds_the_end_of_whatever_xz_and_zstd_write() {
        for (compression, command) in [
            (Compression::Xz, "xz -0"),
            (Compression::Xz, "xz -9e"),
            (Compression::Xz, "xz --check=none"),
            (Compression::Xz, "xz --check=crc32"),
            (Compression::Xz, "xz --check=sha256"),
            (Compression::Xz, "xz -T4 --block-size=100000"),
            (Compression::Xz, "xz --x86 --lzma2=preset=1"),
            (Compression::Zstd, "zstd -1"),
            (Compression::Zstd, "zstd --ultra -22"),
            (Compression::Zstd, "zstd --no-check"),
            (Compression::Zstd, "zstd -T4"),
            (Compression::Gzip, "gzip"),
        ] {
            for content in contents() {
                let bytes = packed(command, &content);
                let length = bytes.len() as u64;
                let told = format!("{command} of {} bytes", content.len());
                check_slice(&bytes, 0..length, compression).expect(&told);
                for rest in [vec![0; 4], b"x".to_vec(), bytes.clone()] {
                    let longer = [&bytes[..], &rest[..]].concat();
                    let range = 0..longer.len() as u64;
                    check_slice(&longer, range, compression).expect_err(&told);
                    // The same bytes, after the end of the member and before its start.
                    let beside = [&rest[..], &longer[..]].concat();
                    let range = rest.len() as u64..rest.len() as u64 + length;
                    check_slice(&beside, range, compression).expect(&told);
                }
                check_slice(&bytes, 0..length - 1, compression).expect_err(&told);
            }
        }
    }

    #[test]
    fn windows_of_more_than_128_mib_are_refused() {
        for (compression, command, is_refused) in [
            (Compression::Xz, "xz --lzma2=preset=0,dict=96MiB", false),
            (Compression::Xz, "xz --lzma2=preset=0,dict=128MiB", false),
            (Compression::Xz, "xz --lzma2=preset=0,dict=192MiB", true),
            (
                Compression::Xz,
                "xz --delta --x86 --lzma2=preset=0,dict=192MiB",
                true,
            ),
            (Compression::Zstd, "zstd --long=27", false),
            (Compression::Zstd, "zstd --long=28", true),
        ] {
            for content in &contents()[1..] {
                let bytes = packed(command, content);
                let checked = check_slice(&bytes, 0..bytes.len() as u64, compression);
                let refused = checked.err().map(|error| error.to_string());
                assert_eq!(
                    refused.as_deref(),
                    is_refused.then_some(TOO_WIDE),
                    "{command}"
                );
            }
        }
    }

    /// Of these zstd writes none: a part of a window, and a content that is its own window.
    #[test]
    fn a_window_of_zstd_is_read_as_rfc_8878_says() {
        let last_block = &[1, 0, 0][..];
        for (header, is_refused) in [
            (&[0x00, 16 << 3 | 7][..], false),
            (&[0x00, 17 << 3], false),
            (&[0x00, 17 << 3 | 1], true),
            (&[0x00, 0xff], true),
            (&[0xa0, 0, 0, 0, 8], false),
            (&[0xa0, 1, 0, 0, 8], true),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80], true),
        ] {
            let bytes = [super::super::ZSTD, header, last_block].concat();
            let checked = check_slice(&bytes, 0..bytes.len() as u64, Compression::Zstd);
            let refused = checked.err().map(|error| error.to_string());
            assert_eq!(
                refused.as_deref(),
                is_refused.then_some(TOO_WIDE),
                "{header:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
            for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
                let _ = check_slice(&bytes, 0..bytes.len() as u64, compression);
            }
        }
    }
}
