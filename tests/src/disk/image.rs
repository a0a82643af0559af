//! A disk's content: a base file that is never written, and blocks over it. A power cut leaves the content at some
//! position of a log of writes and flushes. This copies no image.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::chance::Chance;

const BLOCK: usize = 4096;
/// A disk writes a sector whole or not at all.
pub const SECTOR: usize = 512;

/// A disk's content. A clone shares all blocks with its original.
#[derive(Debug, Clone)]
pub struct Image {
    base: PathBuf,
    size: u64,
    blocks: HashMap<u64, Arc<[u8; BLOCK]>>,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub enum LogEntry {
    /// Data for this byte offset.
    Write(u64, Arc<[u8]>),
    /// All data written before survive a power cut.
    Flush,
}

/// The fate of the writes after the last flush. A disk may have written any of them, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unflushed {
    /// All are kept.
    Kept,
    /// None is kept.
    Dropped,
    /// Some are kept.
    Some,
    /// Some sectors of each are kept. The superblock alone is kept whole or dropped: ext4 writes it in place, and
    /// mounts no torn one.
    Torn,
}

impl Image {
    /// An image with the content of this file.
    ///
    /// # Panics
    ///
    /// If the file cannot be read.
    pub fn of(base: &Path) -> Self {
        let metadata = base.metadata();
        let metadata = metadata.unwrap_or_else(|error| panic!("no image {base:?}: {error}"));
        Self {
            base: base.to_owned(),
            size: metadata.len(),
            blocks: HashMap::new(),
        }
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The image that a power cut leaves after this log.
    #[must_use]
    pub fn after(&self, log: &[LogEntry], unflushed: Unflushed, chance: &mut Chance) -> Self {
        let mut image = self.clone();
        let is_flush = |entry: &LogEntry| matches!(entry, LogEntry::Flush);
        let flushed = log.iter().rposition(is_flush).map_or(0, |last| last + 1);
        for (position, entry) in log.iter().enumerate() {
            let LogEntry::Write(offset, data) = entry else {
                continue;
            };
            let fate = match position < flushed {
                true => Unflushed::Kept,
                false => unflushed,
            };
            image.write_some(*offset, data, fate, chance);
        }
        image
    }

    fn write_some(&mut self, offset: u64, data: &[u8], fate: Unflushed, chance: &mut Chance) {
        match fate {
            Unflushed::Dropped => {}
            Unflushed::Kept => self.write(offset, data),
            Unflushed::Some if chance.toss() => self.write(offset, data),
            Unflushed::Some => {}
            Unflushed::Torn if offset < BLOCK as u64 => {
                self.write_some(offset, data, Unflushed::Some, chance);
            }
            Unflushed::Torn => {
                for (index, sector) in data.chunks(SECTOR).enumerate() {
                    if chance.toss() {
                        self.write(offset + (index * SECTOR) as u64, sector);
                    }
                }
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut written = 0;
        while written < data.len() {
            let (block, within) = place(offset + written as u64);
            let length = (BLOCK - within).min(data.len() - written);
            let part = &data[written..written + length];
            if let Ok(whole) = <&[u8; BLOCK]>::try_from(part) {
                self.blocks.insert(block, Arc::new(*whole));
            } else {
                let base = File::open(&self.base).expect("the base of an image");
                let mut content = self.block(block, &base);
                content[within..within + length].copy_from_slice(part);
                self.blocks.insert(block, Arc::new(content));
            }
            written += length;
        }
    }

    pub(super) fn read(&self, offset: u64, size: usize, base: &File) -> Vec<u8> {
        let mut data = Vec::with_capacity(size);
        while data.len() < size {
            let (block, within) = place(offset + data.len() as u64);
            let length = (BLOCK - within).min(size - data.len());
            let content = self.block(block, base);
            data.extend(&content[within..within + length]);
        }
        data
    }

    fn block(&self, block: u64, base: &File) -> [u8; BLOCK] {
        if let Some(content) = self.blocks.get(&block) {
            return **content;
        }
        let mut content = [0; BLOCK];
        base.read_exact_at(&mut content, block * BLOCK as u64)
            .unwrap_or_else(|error| panic!("{:?}: block {block}: {error}", self.base));
        content
    }
}

fn place(offset: u64) -> (u64, usize) {
    let within = offset % BLOCK as u64;
    (offset / BLOCK as u64, within as usize)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::folder::Folder;

    const SEEDS: std::ops::Range<u64> = 0..64;

    /// Three blocks of zeros.
    fn zeros() -> (Folder, Image) {
        let folder = Folder::new();
        let base = folder.join("base");
        fs::write(&base, [0; 3 * BLOCK]).unwrap();
        (folder, Image::of(&base))
    }

    /// The content after a power cut.
    fn content(zeros: &Image, log: &[LogEntry], unflushed: Unflushed, seed: u64) -> Vec<u8> {
        let image = zeros.after(log, unflushed, &mut Chance(seed));
        image.read(0, 3 * BLOCK, &File::open(image.base()).unwrap())
    }

    /// Each block has its own number; no flush follows the last two.
    fn one_flushed_and_two_not() -> [LogEntry; 4] {
        let write = |number: u8| {
            let offset = u64::from(number - 1) * BLOCK as u64;
            LogEntry::Write(offset, [number; BLOCK].as_slice().into())
        };
        [write(1), LogEntry::Flush, write(2), write(3)]
    }

    /// One byte of each block, whose bytes are all the same.
    fn blocks(content: &[u8]) -> Vec<u8> {
        let blocks = content.chunks(BLOCK);
        let blocks = blocks.inspect(|block| assert_eq!(**block, [block[0]; BLOCK]));
        blocks.map(|block| block[0]).collect()
    }

    #[test]
    fn all_unflushed_writes_are_kept_or_all_are_dropped() {
        let (_folder, zeros) = zeros();
        let log = one_flushed_and_two_not();
        for seed in SEEDS {
            assert_eq!(
                blocks(&content(&zeros, &log, Unflushed::Kept, seed)),
                [1, 2, 3]
            );
            assert_eq!(
                blocks(&content(&zeros, &log, Unflushed::Dropped, seed)),
                [1, 0, 0]
            );
        }
    }

    #[test]
    fn any_choice_of_the_unflushed_writes_may_be_kept() {
        let (_folder, zeros) = zeros();
        let log = one_flushed_and_two_not();
        let found = SEEDS.map(|seed| blocks(&content(&zeros, &log, Unflushed::Some, seed)));
        let all = [[1, 0, 0], [1, 0, 3], [1, 2, 0], [1, 2, 3]].map(Vec::from);
        assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(all));
    }

    #[test]
    fn a_torn_write_has_some_of_its_sectors_and_each_of_them_whole() {
        let (_folder, zeros) = zeros();
        let log = one_flushed_and_two_not();
        let mut torn = BTreeSet::new();
        for seed in SEEDS {
            let content = content(&zeros, &log, Unflushed::Torn, seed);
            assert_eq!(content[..BLOCK], [1; BLOCK], "flushed, with seed {seed}");
            for (number, block) in content.chunks(BLOCK).enumerate().skip(1) {
                let sectors: Vec<_> = block.chunks(SECTOR).collect();
                let written = [number as u8 + 1; SECTOR];
                let is_whole = |sector: &&[u8]| **sector == [0; SECTOR] || **sector == written;
                assert!(sectors.iter().all(is_whole), "seed {seed}");
                if sectors.windows(2).any(|pair| pair[0] != pair[1]) {
                    torn.insert(number);
                }
            }
        }
        assert_eq!(torn, BTreeSet::from([1, 2]));
    }

    #[test]
    fn a_write_that_begins_in_the_first_block_is_never_torn() {
        let (_folder, zeros) = zeros();
        let mut found = BTreeSet::new();
        for (seed, offset) in SEEDS.flat_map(|seed| [(seed, 0), (seed, 1024), (seed, 4095)]) {
            let log = [LogEntry::Write(offset, [7; 2 * SECTOR].as_slice().into())];
            let content = content(&zeros, &log, Unflushed::Torn, seed);
            found.insert(content.iter().filter(|byte| **byte == 7).count());
        }
        assert_eq!(found, BTreeSet::from([0, 2 * SECTOR]));
    }
}
