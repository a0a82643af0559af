//! Numbers that no two messages may have, whichever run of the program sends them.

/// So many are reserved at once.
const RESERVED: u32 = 64;

/// Numbers that follow each other, of so many bits. They are reserved in steps, so that not each has to be kept.
pub(crate) struct Numbers {
    /// All bits that they have.
    mask: u32,
    /// The one that was used last.
    last: u32,
    /// The last one that is reserved: every number up to it may have been used.
    ceiling: u32,
    unsaved: bool,
    /// The one to use next, apart from those that follow.
    first: Option<u32>,
}

impl Numbers {
    /// Of `bits` bits, from `start` on.
    pub(crate) fn new(bits: u32, start: u32) -> Self {
        let mask = u32::MAX >> (u32::BITS - bits);
        Self {
            mask,
            last: start & mask,
            ceiling: start & mask,
            unsaved: false,
            first: None,
        }
    }

    /// Goes on after those that an earlier run may have used.
    pub(crate) fn resume(&mut self, ceiling: u32) {
        (self.last, self.ceiling) = (ceiling & self.mask, ceiling & self.mask);
    }

    /// The same, where the first one may be used before the ceiling is kept: it is one of a range of their own.
    pub(crate) fn resume_apart(&mut self, ceiling: u32, first: u32, range: u32) {
        self.resume(ceiling.wrapping_add(range));
        self.first = Some(ceiling.wrapping_add(1).wrapping_add(first % range) & self.mask);
    }

    /// One that was not used for as long as there are others.
    pub(crate) fn next(&mut self) -> u32 {
        if self.last == self.ceiling {
            self.ceiling = self.ceiling.wrapping_add(RESERVED) & self.mask;
            self.unsaved = true;
        }
        if let Some(first) = self.first.take() {
            return first;
        }
        self.last = self.last.wrapping_add(1) & self.mask;
        self.last
    }

    /// What an earlier run's successor has to [resume](Self::resume) at.
    pub(crate) fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// Whether the ceiling is to be kept, before the number is used that was given last.
    pub(crate) fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.unsaved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_last_number_is_the_first_and_every_one_is_reserved() {
        let mut numbers = Numbers::new(16, 0xff80);
        for expected in (0xff81..=0xffff).chain(0..1000) {
            let number = numbers.next();
            assert_eq!(number, expected);
            let ahead = numbers.ceiling().wrapping_sub(number) & 0xffff;
            assert!(
                ahead < RESERVED,
                "{number:#x} below {:#x}",
                numbers.ceiling()
            );
        }
    }

    #[test]
    fn a_first_number_apart_is_none_of_those_that_follow_in_this_run_or_the_next() {
        for first in [0, 1, 255] {
            let mut numbers = Numbers::new(16, 0);
            numbers.resume_apart(0xff80, first, 256);
            assert_eq!(numbers.next(), (0xff81 + first) & 0xffff);
            assert!(numbers.take_unsaved());
            assert_eq!(numbers.next(), 0x81);
            assert_eq!(numbers.ceiling(), 0x80 + RESERVED);
        }
    }

    #[test]
    fn a_ceiling_is_to_be_kept_once_for_each_reservation() {
        let mut numbers = Numbers::new(16, 7);
        let used = 3 * RESERVED + 1;
        let kept = (0..used).filter(|_| {
            numbers.next();
            numbers.take_unsaved()
        });
        assert_eq!(kept.count(), 4);
    }
}
