//! The payload, generated from a seed and compared in place.
//!
//! Word `i` of a stream is a hash of the stream's key and `i`, so every position can be generated and checked on its own: a
//! flipped byte, a misplaced block and an earlier message's bytes all differ from the expected ones. Before a transfer, every
//! byte of its sink differs from the expected one, so each that does not arrive is wrong.

/// The part of a transfer that a stream belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The small messages.
    Small,
    /// The large message with this index that the initiator writes.
    Write(usize),
    /// The large message with this index that the initiator reads. It never had these bytes, so that only a read brings them.
    Read(usize),
}

/// One message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    key: u64,
    is_poison: bool,
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
    /// Number of wrong bytes that still are what the receiver had there: they never arrived.
    pub untouched: usize,
}

/// The increment of splitmix64: odd, from the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// A second key, for the poison.
const OTHER: u64 = 0x5851_f42d_4c95_7f2d;
/// A bit in each byte, so that no byte of the poison is right.
const ONES: u64 = 0x0101_0101_0101_0101;
/// Bytes compared at a time: few enough for the first-level cache, many enough to make the test after each block cheap.
const BLOCK: usize = 4096;
/// Bytes after which the caller is told how far a long message has come: whole blocks.
const PIECE: usize = 16 << 20;

impl Stream {
    /// The stream of one part of the transfer with this seed.
    pub(crate) fn new(seed: u64, part: Part) -> Stream {
        let label = match part {
            Part::Small => 0,
            Part::Write(index) => 1 + index as u64,
            Part::Read(index) => !(index as u64),
        };
        Stream { key: mix(mix(seed ^ STEP).wrapping_add(label.wrapping_mul(STEP))), is_poison: false }
    }

    /// Bytes of which every one differs from the stream's, and from which the stream does not follow: what a sink holds before
    /// a transfer.
    pub(crate) fn poison(self) -> Stream {
        Stream { is_poison: true, ..self }
    }

    /// Writes the stream's bytes.
    pub(crate) fn fill(self, bytes: &mut [u8]) {
        self.fill_counted(bytes, &mut |_| {});
    }

    /// Writes the stream's bytes; `written` gets their number, piece by piece.
    pub(crate) fn fill_counted(self, bytes: &mut [u8], written: &mut dyn FnMut(usize)) {
        for (piece, bytes) in bytes.chunks_mut(PIECE).enumerate() {
            self.fill_from(bytes, first_word(piece * (PIECE / BLOCK)));
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
            let first = piece * (PIECE / BLOCK);
            let mut blocks = part.chunks(BLOCK).enumerate();
            if let Some(wrong) = blocks.position(|(block, bytes)| !self.is_right(bytes, first_word(first + block))) {
                return self.describe(bytes, (first + wrong) * BLOCK);
            }
            compared(part.len());
        }
        None
    }

    /// Compares every byte, and puts `next`'s bytes in the place of the correct ones: block by block, while the processor has
    /// them in its cache. None where all were correct; else those from the first wrong block on stay. `right` gets the number
    /// of correct ones, piece by piece.
    pub(crate) fn replace(self, bytes: &mut [u8], next: Stream, right: &mut dyn FnMut(usize)) -> Option<Mismatch> {
        let mut done = 0;
        for block in 0..bytes.len().div_ceil(BLOCK) {
            let range = block * BLOCK..bytes.len().min((block + 1) * BLOCK);
            if !self.is_right(&bytes[range.clone()], first_word(block)) {
                return self.describe(bytes, range.start);
            }
            next.fill_from(&mut bytes[range.clone()], first_word(block));
            if range.end - done >= PIECE || range.end == bytes.len() {
                right(range.end - done);
                done = range.end;
            }
        }
        None
    }

    fn fill_from(self, bytes: &mut [u8], first: u64) {
        // The kind of the stream is asked for once, not for each word.
        if self.is_poison {
            fill_with(bytes, first, |position| self.poison_at(position));
        } else {
            fill_with(bytes, first, |position| self.word_at(position));
        }
    }

    fn is_right(self, block: &[u8], first: u64) -> bool {
        if self.is_poison {
            is_filled_with(block, first, |position| self.poison_at(position))
        } else {
            is_filled_with(block, first, |position| self.word_at(position))
        }
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
            mismatch.untouched += usize::from(found == byte(self.poison()));
        }
        mismatch
    }

    fn word(self, index: u64) -> u64 {
        let position = index.wrapping_mul(STEP);
        if self.is_poison { self.poison_at(position) } else { self.word_at(position) }
    }

    #[inline(always)]
    fn word_at(self, position: u64) -> u64 {
        scramble(self.key.wrapping_add(position))
    }

    #[inline(always)]
    fn poison_at(self, position: u64) -> u64 {
        self.word_at(position) ^ (scramble((self.key ^ OTHER).wrapping_add(position)) | ONES)
    }
}

/// Writes words from the one with this index on; `word` gets each one's index times [`STEP`].
#[inline(always)]
fn fill_with(bytes: &mut [u8], first: u64, word: impl Fn(u64) -> u64) {
    let mut position = first.wrapping_mul(STEP);
    let (words, rest) = bytes.as_chunks_mut();
    for bytes in words {
        *bytes = word(position).to_le_bytes();
        position = position.wrapping_add(STEP);
    }
    let length = rest.len();
    rest.copy_from_slice(&word(position).to_le_bytes()[..length]);
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

/// The index of a block's first word.
fn first_word(block: usize) -> u64 {
    (block * (BLOCK / 8)) as u64
}

/// One round of xorshift64. It is a bijection, so all words of a message differ; without a multiplication and without the
/// previous word, the compiler vectorizes the loop.
#[inline(always)]
fn scramble(mut word: u64) -> u64 {
    word ^= word << 13;
    word ^= word >> 7;
    word ^ (word << 17)
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

    fn filled(part: Part, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Stream::new(7, part).fill(&mut bytes);
        bytes
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
    fn what_is_right_is_replaced_and_the_rest_stays() {
        let (stream, next) = (Stream::new(7, Part::Write(0)), Stream::new(7, Part::Read(0)));
        for length in [0, 1, 4095, 4096, 4097, PIECE + 100] {
            let mut bytes = filled(Part::Write(0), length);
            let mut right = 0;
            assert_eq!(stream.replace(&mut bytes, next, &mut |count| right += count), None, "{length}");
            assert_eq!((next.mismatch(&bytes), right), (None, length), "{length}");
        }
        let mut bytes = filled(Part::Write(0), 3 * BLOCK);
        bytes[BLOCK + 9] ^= 1;
        let as_it_was = bytes.clone();
        let mismatch = stream.replace(&mut bytes, next, &mut |_| {}).expect("caught");
        assert_eq!((mismatch.offset, mismatch.wrong), (BLOCK + 9, 1));
        assert_eq!(bytes[BLOCK..], as_it_was[BLOCK..]);
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
        let stream = Stream::new(7, Part::Write(0));
        let mut bytes = filled(Part::Write(0), 5000);
        let mut poison = vec![0; 5000];
        stream.poison().fill(&mut poison);
        for offset in 0..bytes.len() {
            let right = std::mem::replace(&mut bytes[offset], poison[offset]);
            let mismatch = stream.mismatch(&bytes).expect("caught");
            assert_eq!((mismatch.offset, mismatch.wrong, mismatch.untouched), (offset, 1, 1));
            bytes[offset] = right;
        }
    }

    #[test]
    fn the_poison_differs_at_every_byte() {
        for length in [1, 8, 4096, 9001] {
            let bytes = filled(Part::Write(2), length);
            let mut poison = vec![0; length];
            Stream::new(7, Part::Write(2)).poison().fill(&mut poison);
            let complement: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            assert!(length < 8 || poison != complement, "the bytes must not follow from it");
            assert!(bytes.iter().zip(&poison).all(|(byte, poison)| byte != poison), "{length}");
        }
    }
}
