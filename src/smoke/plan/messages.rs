//! How a payload is divided into messages.

use std::ops::Range;

/// How a payload is divided into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Messages {
    size: usize,
    each: usize,
}

impl Messages {
    /// Divides `size` bytes into at most `count` messages of equal length; the last may be shorter.
    pub(crate) fn divide(size: usize, count: usize) -> Messages {
        let each = size.div_ceil(count.max(1)).next_multiple_of(8);
        Messages { size, each }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.size.div_ceil(self.each)
    }

    /// Length of the longest.
    pub(crate) fn longest(&self) -> usize {
        self.each.min(self.size)
    }

    /// Where message `index` lies in the payload.
    pub(crate) fn range(&self, index: usize) -> Range<usize> {
        let start = index * self.each;
        start..(start + self.each).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cover_the_payload_without_overlap() {
        for (size, count) in [(1, 1), (1, 4), (7, 2), (8, 4), (10, 4), (4096, 3), (64 << 20, 4), (1_000_003, 1000)] {
            let messages = Messages::divide(size, count);
            assert!(messages.count() <= count, "{size} {count}");
            let mut next = 0;
            for index in 0..messages.count() {
                let range = messages.range(index);
                assert_eq!(range.start, next);
                assert!(!range.is_empty() && range.len() <= messages.longest());
                next = range.end;
            }
            assert_eq!(next, size);
        }
        assert_eq!(Messages::divide(64 << 20, 4).count(), 4);
    }
}
