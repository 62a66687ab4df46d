//! Offsets into a file: one type for its decoded text, one for its bytes, so that neither passes for the other.

use std::borrow::Borrow;
use std::ops::{Add, Index, Range, RangeFrom};

/// An offset in a file's decoded text, in bytes of its UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TextOffset(pub usize);

/// An offset in a file as it is stored, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ByteOffset(pub usize);

impl Add<usize> for TextOffset {
    type Output = Self;

    fn add(self, length: usize) -> Self {
        TextOffset(self.0 + length)
    }
}

/// A kind of offset, and what it points into.
pub(crate) trait Offset: Copy + Ord {
    /// `str` or `[u8]`.
    type Slice: ?Sized + Index<Range<usize>, Output = Self::Slice> + Index<RangeFrom<usize>, Output = Self::Slice>;
    /// `String` or `Vec<u8>`.
    type Owned: Borrow<Self::Slice> + AsRef<[u8]>;

    /// The plain number.
    fn index(self) -> usize;

    /// The pieces, joined.
    fn concat(pieces: &[&Self::Slice]) -> Self::Owned;
}

impl Offset for TextOffset {
    type Slice = str;
    type Owned = String;

    fn index(self) -> usize {
        self.0
    }

    fn concat(pieces: &[&str]) -> String {
        pieces.concat()
    }
}

impl Offset for ByteOffset {
    type Slice = [u8];
    type Owned = Vec<u8>;

    fn index(self) -> usize {
        self.0
    }

    fn concat(pieces: &[&[u8]]) -> Vec<u8> {
        pieces.concat()
    }
}
