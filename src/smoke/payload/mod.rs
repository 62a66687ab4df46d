//! The payload, generated from a seed and compared in place.
//!
//! Word `i` of a stream is a hash of the stream's key and `i`, so every position can be generated and checked on its own: a
//! flipped byte, a misplaced block and an earlier message's bytes all differ from the expected ones. Before a transfer, every
//! byte of its sink differs from the expected one, so each that does not arrive is wrong. That holds for a read without
//! anything being put into its sink: what is read differs in every byte from what was written from there.

mod vectors;
mod words;

use crate::threads;
use words::{STEP, mask_at, word_at};

/// The part of a transfer that a stream belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The small messages.
    Small,
    /// The large message with this index that the initiator writes.
    Write(usize),
    /// The large message with this index that the initiator reads. It never had these bytes, so that only a read brings them,
    /// and each of them differs from the one that it has written from the same place.
    Read(usize),
}

/// One message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    key: u64,
    mask: Option<Mask>,
}

/// What changes every byte of a message: a key of its own, so that the one does not follow from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    /// The bytes in a message's place before it is written.
    Poison,
    /// The bytes that are read from its place afterwards.
    Read,
}

/// How received bytes differ from the expected ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Offset of the first wrong byte.
    pub offset: usize,
    /// The byte that belongs there.
    pub expected: u8,
    /// The byte that is there.
    pub found: u8,
    /// Number of wrong bytes.
    pub wrong: usize,
    /// Number of wrong bytes that are what the receiver had there before. Before a read, the target had the same ones.
    pub untouched: usize,
}

/// Bytes compared at a time: few enough for the first-level cache, many enough to make the test after each block cheap.
const BLOCK: usize = 4096;
/// Bytes after which the caller is told how far a long message has come: whole blocks.
const PIECE: usize = BLOCKS * BLOCK;
const BLOCKS: usize = 4096;
/// Blocks that are worth a thread: starting one takes as long as comparing some of them.
const WORTH_A_THREAD: usize = 256;

impl Stream {
    /// The stream of one part of the transfer with this seed.
    pub(crate) fn new(seed: u64, part: Part) -> Stream {
        let (label, mask) = match part {
            Part::Small => (0, None),
            Part::Write(index) => (1 + index as u64, None),
            Part::Read(index) => (1 + index as u64, Some(Mask::Read)),
        };
        Stream { key: mix(mix(seed ^ STEP).wrapping_add(label.wrapping_mul(STEP))), mask }
    }

    /// What is in a message's place before it arrives: bytes of which every one is wrong, and from which the stream does not
    /// follow.
    pub(crate) fn before(self) -> Stream {
        let mask = match self.mask {
            None => Some(Mask::Poison),
            Some(_) => None,
        };
        Stream { mask, ..self }
    }

    /// Writes the stream's bytes; `written` gets their number, piece by piece.
    pub(crate) fn fill_counted(self, bytes: &mut [u8], written: &mut dyn FnMut(usize)) {
        for (piece, bytes) in bytes.chunks_mut(PIECE).enumerate() {
            self.fill_from(bytes, first_word(piece * BLOCKS));
            written(bytes.len());
        }
    }

    /// Compares every byte; None where all are correct.
    pub(crate) fn mismatch(self, bytes: &[u8]) -> Option<Mismatch> {
        self.mismatch_counted(bytes, &mut |_| {})
    }

    /// Compares every byte; None where all are correct. `compared` gets the number of correct ones, piece by piece.
    pub(crate) fn mismatch_counted(self, bytes: &[u8], compared: &mut dyn FnMut(usize)) -> Option<Mismatch> {
        for (piece, part) in bytes.chunks(PIECE).enumerate() {
            let first = piece * BLOCKS;
            let share = share(part.len());
            let wrong = threads::side_by_side(part.chunks(share * BLOCK).enumerate(), |(number, bytes)| {
                let first = first + number * share;
                let mut blocks = bytes.chunks(BLOCK).enumerate();
                let wrong = blocks.position(|(block, bytes)| !self.is_right(bytes, first_word(first + block)));
                wrong.map(|block| first + block)
            });
            if let Some(block) = wrong.into_iter().flatten().next() {
                return self.describe(bytes, block * BLOCK);
            }
            compared(part.len());
        }
        None
    }

    /// Compares every byte of what was written, and makes the correct ones those to read: block by block, while the processor
    /// has them in its cache. None where all were correct; else those from the first wrong block on stay. `right` gets the
    /// number of correct ones, piece by piece.
    pub(crate) fn offer(self, bytes: &mut [u8], right: &mut dyn FnMut(usize)) -> Option<Mismatch> {
        for start in (0..bytes.len()).step_by(PIECE) {
            let part = start..bytes.len().min(start + PIECE);
            let first = start / BLOCK;
            let share = share(part.len());
            let shares = |number| first + number * share;
            let piece = bytes[part.clone()].chunks_mut(share * BLOCK).enumerate();
            let wrong = threads::side_by_side(piece, |(number, bytes)| self.offer_until_wrong(bytes, shares(number)));
            if let Some(at) = wrong.iter().position(Option::is_some) {
                // The threads for later shares have not waited for this one.
                for (number, bytes) in bytes[part].chunks_mut(share * BLOCK).enumerate().skip(at + 1) {
                    let blocks = wrong[number].map_or(usize::MAX, |block| block - shares(number));
                    bytes
                        .chunks_mut(BLOCK)
                        .take(blocks)
                        .enumerate()
                        .for_each(|(block, bytes)| self.exchange(bytes, shares(number) + block));
                }
                return wrong[at].and_then(|block| self.describe(bytes, block * BLOCK));
            }
            right(part.len());
        }
        None
    }

    /// Returns the first wrong block, from which on nothing is changed; the first block has this index.
    fn offer_until_wrong(self, bytes: &mut [u8], first: usize) -> Option<usize> {
        for (block, bytes) in (first..).zip(bytes.chunks_mut(BLOCK)) {
            if !self.is_right(bytes, first_word(block)) {
                return Some(block);
            }
            self.exchange(bytes, block);
        }
        None
    }

    /// Makes a block of what was written one of what is read, and the other way round.
    fn exchange(self, bytes: &mut [u8], block: usize) {
        let (first, key) = (first_word(block), Mask::Read.key(self.key));
        let done = vectors::mask(bytes, key, first.wrapping_mul(STEP));
        change(&mut bytes[done..], first + (done / 8) as u64, |found, position| found ^ mask_at(key, position));
    }

    fn fill_from(self, bytes: &mut [u8], first: u64) {
        // Whether there is a mask is asked once, not for each word.
        match self.mask_key() {
            None => change(bytes, first, |_, position| word_at(self.key, position)),
            Some(mask) => change(bytes, first, |_, position| word_at(self.key, position) ^ mask_at(mask, position)),
        }
    }

    fn is_right(self, block: &[u8], first: u64) -> bool {
        let mask = self.mask_key();
        let done = vectors::right(block, (self.key, mask), first.wrapping_mul(STEP));
        let Some(rest) = done.map(|done| &block[done..]) else { return false };
        let first = first + ((block.len() - rest.len()) / 8) as u64;
        match mask {
            None => is_filled_with(rest, first, |position| word_at(self.key, position)),
            Some(mask) => is_filled_with(rest, first, |position| word_at(self.key, position) ^ mask_at(mask, position)),
        }
    }

    fn mask_key(self) -> Option<u64> {
        self.mask.map(|mask| mask.key(self.key))
    }

    /// Counts the wrong bytes, from the first wrong block on.
    fn describe(self, bytes: &[u8], from: usize) -> Option<Mismatch> {
        let mut mismatch: Option<Mismatch> = None;
        for (offset, &found) in bytes.iter().enumerate().skip(from) {
            let byte = |stream: Stream| stream.word((offset / 8) as u64).to_le_bytes()[offset % 8];
            let expected = byte(self);
            if found == expected {
                continue;
            }
            let mismatch = mismatch.get_or_insert(Mismatch { offset, expected, found, wrong: 0, untouched: 0 });
            mismatch.wrong += 1;
            mismatch.untouched += usize::from(found == byte(self.before()));
        }
        mismatch
    }

    fn word(self, index: u64) -> u64 {
        let position = index.wrapping_mul(STEP);
        self.mask_key().map_or(0, |mask| mask_at(mask, position)) ^ word_at(self.key, position)
    }
}

impl Mask {
    /// The key of each is that of the message, changed.
    fn key(self, message: u64) -> u64 {
        message
            ^ match self {
                Mask::Poison => 0x5851_f42d_4c95_7f2d,
                Mask::Read => 0xd1b5_4a32_d192_ed03,
            }
    }
}

/// Replaces words from the one with this index on; `word` gets each one, and its index times [`STEP`].
#[inline(always)]
fn change(bytes: &mut [u8], first: u64, word: impl Fn(u64, u64) -> u64) {
    let mut position = first.wrapping_mul(STEP);
    let (words, rest) = bytes.as_chunks_mut();
    for bytes in words {
        *bytes = word(u64::from_le_bytes(*bytes), position).to_le_bytes();
        position = position.wrapping_add(STEP);
    }
    let length = rest.len();
    let mut last = [0; 8];
    last[..length].copy_from_slice(rest);
    rest.copy_from_slice(&word(u64::from_le_bytes(last), position).to_le_bytes()[..length]);
}

/// Compares words in the same way.
#[inline(always)]
fn is_filled_with(bytes: &[u8], first: u64, word: impl Fn(u64) -> u64) -> bool {
    let mut position = first.wrapping_mul(STEP);
    let mut differences = 0u64;
    let (words, rest) = bytes.as_chunks();
    for bytes in words {
        differences |= u64::from_le_bytes(*bytes) ^ word(position);
        position = position.wrapping_add(STEP);
    }
    differences == 0 && rest == &word(position).to_le_bytes()[..rest.len()]
}

/// How many blocks of a piece of this length one thread takes.
fn share(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK).div_ceil(threads()).max(WORTH_A_THREAD)
}

/// How many threads compare: all processors but one, since the library's progress threads poll meanwhile. With two processors,
/// a second thread would wait for one, some 4 ms. The tests meet several on every machine.
fn threads() -> usize {
    if cfg!(test) { 3 } else { threads::processors().saturating_sub(1).max(1) }
}

/// The index of a block's first word.
fn first_word(block: usize) -> u64 {
    (block * (BLOCK / 8)) as u64
}

/// The finalizer of splitmix64: each bit of the argument changes half of the result's bits.
#[inline(always)]
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(stream: Stream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.fill_counted(&mut bytes, &mut |_| {});
        bytes
    }

    fn filled(part: Part, length: usize) -> Vec<u8> {
        bytes_of(Stream::new(7, part), length)
    }

    #[test]
    fn a_filled_message_compares_equal_at_every_length() {
        for length in [0, 1, 7, 8, 9, 4095, 4096, 4097, 10_000] {
            assert_eq!(Stream::new(7, Part::Write(0)).mismatch(&filled(Part::Write(0), length)), None, "{length}");
        }
    }

    #[test]
    fn a_long_message_is_counted_piece_by_piece() {
        let stream = Stream::new(7, Part::Write(0));
        let mut bytes = vec![0; 2 * PIECE + 100];
        let (mut written, mut compared) = (Vec::new(), Vec::new());
        stream.fill_counted(&mut bytes, &mut |count| written.push(count));
        assert_eq!(stream.mismatch_counted(&bytes, &mut |count| compared.push(count)), None);
        assert_eq!((&written, &compared), (&vec![PIECE, PIECE, 100], &vec![PIECE, PIECE, 100]));
        bytes[PIECE + 5000] ^= 1;
        compared.clear();
        let mismatch = stream.mismatch_counted(&bytes, &mut |count| compared.push(count)).expect("caught");
        assert_eq!((mismatch.offset, mismatch.wrong, compared), (PIECE + 5000, 1, vec![PIECE]));
    }

    #[test]
    fn what_was_written_becomes_what_is_read_and_wrong_bytes_stay() {
        let (written, read) = (Stream::new(7, Part::Write(0)), Stream::new(7, Part::Read(0)));
        for length in [0, 1, 4095, 4096, 4097, PIECE + 100] {
            let mut bytes = filled(Part::Write(0), length);
            let mut right = 0;
            assert_eq!(written.offer(&mut bytes, &mut |count| right += count), None, "{length}");
            assert_eq!((read.mismatch(&bytes), right), (None, length), "{length}");
        }
        for (length, wrong) in
            [(3 * BLOCK, &[BLOCK + 9][..]), (PIECE + 100, &[BLOCK + 9, PIECE / 2 + 5 * BLOCK, PIECE - 9])]
        {
            let mut bytes = filled(Part::Write(0), length);
            wrong.iter().for_each(|offset| bytes[*offset] ^= 1);
            let as_it_was = bytes.clone();
            let mismatch = written.offer(&mut bytes, &mut |_| {}).expect("caught");
            assert_eq!((mismatch.offset, mismatch.wrong), (BLOCK + 9, wrong.len()));
            assert!(bytes[BLOCK..] == as_it_was[BLOCK..], "what follows stays");
        }
    }

    #[test]
    fn any_flipped_byte_is_caught_and_located() {
        let mut bytes = filled(Part::Write(3), 9001);
        for offset in 0..bytes.len() {
            let right = bytes[offset];
            bytes[offset] ^= 1 << (offset % 8);
            let mismatch = Stream::new(7, Part::Write(3)).mismatch(&bytes).expect("caught");
            assert_eq!((mismatch.offset, mismatch.expected, mismatch.wrong), (offset, right, 1));
            bytes[offset] = right;
        }
    }

    #[test]
    fn other_messages_shifts_and_stale_bytes_are_caught() {
        let stream = Stream::new(7, Part::Write(1));
        assert!(stream.mismatch(&filled(Part::Write(0), 64)).is_some());
        assert!(stream.mismatch(&filled(Part::Read(1), 64)).is_some());
        let mut shifted = filled(Part::Write(1), 8192 + 8);
        shifted.drain(..8);
        assert!(stream.mismatch(&shifted).is_some());
        let mut swapped = filled(Part::Write(1), 8192);
        let (front, back) = swapped.split_at_mut(4096);
        front.swap_with_slice(back);
        assert!(stream.mismatch(&swapped).is_some());
        assert!(Stream::new(8, Part::Write(1)).mismatch(&filled(Part::Write(1), 64)).is_some());
    }

    #[test]
    fn a_single_byte_that_never_arrived_is_caught() {
        for part in [Part::Write(0), Part::Read(0)] {
            let stream = Stream::new(7, part);
            let mut bytes = filled(part, 5000);
            let before = bytes_of(stream.before(), 5000);
            for offset in 0..bytes.len() {
                let right = std::mem::replace(&mut bytes[offset], before[offset]);
                let mismatch = stream.mismatch(&bytes).expect("caught");
                assert_eq!((mismatch.offset, mismatch.wrong, mismatch.untouched), (offset, 1, 1));
                bytes[offset] = right;
            }
        }
    }

    #[test]
    fn a_message_differs_at_every_byte_from_what_is_in_its_place_before() {
        for (length, part) in
            [1, 8, 4096, 9001].into_iter().flat_map(|length| [(length, Part::Write(2)), (length, Part::Read(2))])
        {
            let bytes = filled(part, length);
            let before = bytes_of(Stream::new(7, part).before(), length);
            let complement: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            assert!(length < 8 || before != complement, "the bytes must not follow from it");
            assert!(bytes.iter().zip(&before).all(|(byte, before)| byte != before), "{length} {part:?}");
        }
    }

    #[test]
    fn what_is_read_is_new_to_both_sides() {
        let [read, written] = [Part::Read(1), Part::Write(1)].map(|part| filled(part, 80_000));
        let poison = bytes_of(Stream::new(7, Part::Write(1)).before(), 80_000);
        let differ = |one: &[u8], other: &[u8]| {
            one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0).all(|(one, other)| one != other)
        };
        assert!(differ(&read, &written) && differ(&read, &poison) && differ(&written, &poison));
    }

    #[test]
    fn vectors_and_words_agree() {
        for part in [Part::Write(3), Part::Read(3)] {
            let stream = Stream::new(7, part);
            let mut bytes = [0; 1000];
            stream.fill_counted(&mut bytes, &mut |_| {});
            let keys = (stream.key, stream.mask.map(|mask| mask.key(stream.key)));
            let whole = vectors::right(&bytes, keys, 0).expect("right");
            assert!([0, bytes.len() / 32 * 32].contains(&whole));
            for offset in 0..whole {
                bytes[offset] ^= 128;
                assert_eq!(vectors::right(&bytes, keys, 0), None, "{offset}");
                bytes[offset] ^= 128;
            }
        }
        let (written, read) = (Stream::new(7, Part::Write(3)), Stream::new(7, Part::Read(3)));
        let (mut bytes, mut expected) = ([0; 1000], [0; 1000]);
        written.fill_counted(&mut bytes, &mut |_| {});
        read.fill_counted(&mut expected, &mut |_| {});
        let whole = vectors::mask(&mut bytes, Mask::Read.key(written.key), 0);
        assert_eq!(bytes[..whole], expected[..whole]);
    }
}
