//! The content of an archive: one stream, which ends where the archive ends. Otherwise the boundary between two
//! archives could be moved, which a signature inside may not cover.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use super::{Archive, Compression};
use crate::part::{Part, ReadAt};

/// The most memory for the window of a stream: that of `xz -9` and of `zstd --ultra` as packages are built with.
const MAX_WINDOW: u32 = 72 * 1024 * 1024;

/// Hands the unpacked bytes on, in the order they come, until the archive's end or an error of either side.
pub(crate) fn unpack<S: ReadAt + ?Sized>(
    file: &S,
    archive: &Archive,
    each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    unpacked(file, archive, |content| pass_on(content, each))
}

/// Hands the unpacked content to a reader, and skips the rest that it does not read.
pub(crate) fn unpacked<S: ReadAt + ?Sized>(
    file: &S,
    archive: &Archive,
    read: impl FnOnce(&mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let part = Part::new(file, archive.range.clone());
    let mut packed = BufReader::with_capacity(64 * 1024, part);
    let to_end = |content: &mut dyn Read| {
        read(content)?;
        pass_on(content, |_| Ok(()))
    };
    match archive.compression {
        Compression::None => to_end(&mut packed),
        Compression::Gzip => to_end(&mut GzDecoder::new(&mut packed)),
        Compression::Xz => to_end(&mut XzReader::new_mem_limit(
            &mut packed,
            false,
            MAX_WINDOW / 1024,
        )),
        Compression::Zstd => {
            let window = u64::from(MAX_WINDOW);
            let decoder = StreamingDecoder::new_with_max_window_size(&mut packed, window);
            to_end(&mut decoder.map_err(io::Error::other)?)
        }
    }?;
    match packed.fill_buf()? {
        [] => Ok(()),
        _ => Err(io::Error::other("bytes follow the end of the stream")),
    }
}

/// Reads until the end.
pub(crate) fn pass_on(
    mut unpacked: impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = unpacked.read(&mut buffer)?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(()),
            Some(bytes) => each(bytes)?,
        }
    }
}
