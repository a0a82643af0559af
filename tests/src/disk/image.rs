//! A disk's content: a base file that is never written, and blocks over it. A power cut leaves the content at some place
//! of a log of writes and flushes. No image is copied for that.

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
pub enum Entry {
    /// Data for this byte offset.
    Write(u64, Arc<[u8]>),
    /// All data written before survive a power cut.
    Flush,
}

/// The fate of the writes that no flush followed. A disk may have written any of them, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unflushed {
    /// All are there.
    Kept,
    /// None is.
    Dropped,
    /// Some are.
    Some,
    /// Of each some sectors are. The superblock alone is there whole or not at all: ext4 writes it in place, and mounts
    /// no torn one.
    Torn,
}

impl Image {
    /// The content of this file.
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
    pub fn after(&self, log: &[Entry], unflushed: Unflushed, chance: &mut Chance) -> Self {
        let mut image = self.clone();
        let is_flush = |entry: &Entry| matches!(entry, Entry::Flush);
        let flushed = log.iter().rposition(is_flush).map_or(0, |last| last + 1);
        for (position, entry) in log.iter().enumerate() {
            let Entry::Write(offset, data) = entry else {
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
