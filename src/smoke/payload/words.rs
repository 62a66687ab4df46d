//! The words of a stream: each follows from a key and its position.
#![forbid(unsafe_code)]

/// The increment of splitmix64: odd, from the golden ratio.
pub(super) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// A bit in each byte of a mask, so that it leaves none as it is.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;

/// The word of a stream at a position, an index times [`STEP`].
#[inline(always)]
pub(super) fn word_at(key: u64, position: u64) -> u64 {
    scramble(key.wrapping_add(position))
}

/// The word of a mask at a position.
#[inline(always)]
pub(super) fn mask_at(key: u64, position: u64) -> u64 {
    word_at(key, position) | ONES
}

/// One round of xorshift64. It is a bijection, so all words of a message differ; it has no multiplication and does not need the
/// previous word, so that vectors do the same.
#[inline(always)]
fn scramble(mut word: u64) -> u64 {
    word ^= word << 13;
    word ^= word >> 7;
    word ^ (word << 17)
}
