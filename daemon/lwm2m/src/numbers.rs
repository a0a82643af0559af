//! Message IDs and Observe numbers, which must stay unique over restarts.

/// The count of numbers in one reservation.
const RESERVED: u32 = 64;

/// A counter of a fixed number of bits. Numbers are reserved in steps, so that the caller does not
/// have to store each one.
pub(crate) struct Numbers {
    /// The bits of a number.
    mask: u32,
    /// The number that was used last.
    last: u32,
    /// The last reserved number. Every number up to it may have been used.
    ceiling: u32,
    unsaved: bool,
    /// The next number, if it does not follow the last one.
    first: Option<u32>,
}

impl Numbers {
    /// Numbers of `bits` bits that start after `start`.
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

    /// Continues after the numbers that an earlier run may have used.
    pub(crate) fn resume(&mut self, ceiling: u32) {
        (self.last, self.ceiling) = (ceiling & self.mask, ceiling & self.mask);
    }

    /// Continues, and takes the first number from a range of `range` numbers that no later number
    /// has. It can therefore be used before the ceiling is stored.
    pub(crate) fn resume_with_first(&mut self, ceiling: u32, first: u32, range: u32) {
        self.resume(ceiling.wrapping_add(range));
        self.first = Some(ceiling.wrapping_add(1).wrapping_add(first % range) & self.mask);
    }

    /// The next number.
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

    /// The number at which the next run has to [resume](Self::resume).
    pub(crate) fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// Whether the caller has to store the ceiling before it uses the last number.
    pub(crate) fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.unsaved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_around_and_every_one_is_reserved() {
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
    fn the_first_number_comes_from_a_range_that_no_later_number_has() {
        for first in [0, 1, 255] {
            let mut numbers = Numbers::new(16, 0);
            numbers.resume_with_first(0xff80, first, 256);
            assert_eq!(numbers.next(), (0xff81 + first) & 0xffff);
            assert!(numbers.take_unsaved());
            assert_eq!(numbers.next(), 0x81);
            assert_eq!(numbers.ceiling(), 0x80 + RESERVED);
        }
    }

    #[test]
    fn the_ceiling_is_unsaved_once_for_each_reservation() {
        let mut numbers = Numbers::new(16, 7);
        let used = 3 * RESERVED + 1;
        let kept = (0..used).filter(|_| {
            numbers.next();
            numbers.take_unsaved()
        });
        assert_eq!(kept.count(), 4);
    }
}
