//! The places of the cuts: at each flush and between flushes, with each fate of the writes that no flush followed.

use std::fmt::{self, Display, Formatter};

use wharf_tests::{
    chance::Chance,
    disk::{Image, LogEntry, Unflushed},
};

use crate::{recording::Recording, story::STORIES};

/// One cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Which of [`STORIES`].
    pub(crate) story: usize,
    /// Among all cuts of its story.
    pub(crate) number: usize,
    /// The number of log entries before it.
    pub(crate) position: usize,
    unflushed: Unflushed,
    seed: u64,
}

/// `count` cuts of each story, chosen by the seed.
pub(crate) fn chosen(recording: &Recording, seed: u64, count: usize) -> Vec<Cut> {
    let mut chance = Chance(seed);
    let mut cuts = Vec::new();
    for story in 0..STORIES.len() {
        let mut of_it = of_story(recording, story, seed);
        while of_it.len() > count {
            of_it.swap_remove(chance.below(of_it.len() as u64) as usize);
        }
        of_it.sort_by_key(|cut| cut.number);
        cuts.extend(of_it);
    }
    cuts
}

/// Every cut.
pub(crate) fn all(recording: &Recording, seed: u64) -> Vec<Cut> {
    let stories = 0..STORIES.len();
    stories
        .flat_map(|story| of_story(recording, story, seed))
        .collect()
}

/// Cuts before a flush, with each fate of the writes since the flush before it; and cuts after each write and each flush,
/// with all writes kept.
fn of_story(recording: &Recording, story: usize, seed: u64) -> Vec<Cut> {
    let mut places = Vec::new();
    let range = recording.stories[story].clone();
    let mut unflushed = 0;
    for position in range.clone() {
        if !matches!(recording.log[position], LogEntry::Flush) {
            unflushed += 1;
            places.push((position + 1, Unflushed::Kept));
            continue;
        }
        if unflushed > 0 {
            let fates = [Unflushed::Dropped, Unflushed::Some, Unflushed::Torn];
            places.extend(fates.map(|fate| (position, fate)));
        }
        places.push((position + 1, Unflushed::Kept));
        unflushed = 0;
    }
    let cuts = places.into_iter().enumerate();
    cuts.map(|(number, (position, unflushed))| Cut {
        story,
        number,
        position,
        unflushed,
        seed,
    })
    .collect()
}

impl Cut {
    pub(crate) fn name(&self) -> &'static str {
        STORIES[self.story].name
    }

    /// The disk after the cut.
    pub(crate) fn image(&self, recording: &Recording) -> Image {
        self.image_over(&recording.base, &recording.log)
    }

    /// The disk after the cut, with a log that began on this image.
    pub(crate) fn image_over(&self, base: &Image, log: &[LogEntry]) -> Image {
        let log = &log[..self.position];
        base.after(log, self.unflushed, &mut self.chance())
    }

    /// Another cut, at a random place in the log of the boot after this one.
    pub(crate) fn again(&self, log: &[LogEntry]) -> Self {
        let mut chance = self.chance();
        let position = chance.below(log.len() as u64 + 1) as usize;
        let fates = [
            Unflushed::Kept,
            Unflushed::Dropped,
            Unflushed::Some,
            Unflushed::Torn,
        ];
        Self {
            position,
            unflushed: fates[chance.below(4) as usize],
            ..*self
        }
    }

    fn chance(&self) -> Chance {
        let own = (self.story << 32 | self.number) as u64;
        Chance(self.seed ^ own.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Its place in the log, and the fate of the writes that were not flushed.
    pub(crate) fn when(&self) -> String {
        let Self {
            position,
            unflushed,
            ..
        } = self;
        format!("after {position} writes and flushes, unflushed: {unflushed:?}")
    }
}

impl Display for Cut {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (name, number, seed) = (self.name(), self.number, self.seed);
        write!(
            out,
            "STORY={name} CUT={number} SEED={seed} ({})",
            self.when()
        )
    }
}
