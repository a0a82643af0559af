//! The content of an archive: one stream, which ends where the archive ends. Otherwise the boundary between two
//! archives could be moved, which a signature inside may not cover.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{StreamingDecoder, errors::FrameDecoderError};

use super::{Archive, Compression};
use crate::part::{Part, ReadAt};

/// The widest window of a stream, which is called dictionary in xz: that of `zstd --ultra -22`, and the limit of zstd's own
/// decoder, which package managers use. The limit of memory in `sandbox.rs` has room for it.
pub(super) const MAX_WINDOW: u64 = 128 * 1024 * 1024;

/// The memory of the decoder of xz in KiB: its dictionary and its buffers.
const XZ_MEMORY: u32 = 129 * 1024;

/// The reason to refuse a wider window.
pub(super) const TOO_WIDE: &str =
    "it has a window (of xz: a dictionary) of more than 128 MiB: build it with a smaller one";

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
    stream(&mut packed, archive.compression, read)
}

/// As [`unpacked`], for an archive that is all that this reader has.
pub(crate) fn stream(
    mut packed: &mut dyn BufRead,
    compression: Compression,
    read: impl FnOnce(&mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let to_end = |content: &mut dyn Read| {
        read(content)?;
        pass_on(content, |_| Ok(()))
    };
    match compression {
        Compression::None => to_end(&mut packed),
        Compression::Gzip => to_end(&mut GzDecoder::new(&mut packed)),
        Compression::Xz => {
            let mut decoder = XzReader::new_mem_limit(&mut packed, false, XZ_MEMORY);
            to_end(&mut decoder).map_err(|error| match error.kind() {
                io::ErrorKind::OutOfMemory => io::Error::other(TOO_WIDE),
                _ => error,
            })
        }
        Compression::Zstd => {
            let decoder = StreamingDecoder::new_with_max_window_size(&mut packed, MAX_WINDOW);
            let decoder = decoder.map_err(|error| match error {
                FrameDecoderError::WindowSizeTooBig { .. } => io::Error::other(TOO_WIDE),
                _ => io::Error::other(error),
            });
            to_end(&mut decoder?)
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
