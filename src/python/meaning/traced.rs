//! How far something was traced.

use super::set::Meanings;

/// How far something was traced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Traced {
    /// Not at all.
    Not,
    /// It is being traced.
    Now,
    /// To the end.
    Done(Meanings),
}

/// The same in four bytes, for what a module has the most of.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFour(u32);

// No set has so large a number: a set takes more bytes than a module has at most.
const NOT: u32 = u32::MAX;
const NOW: u32 = u32::MAX - 1;

impl From<Traced> for InFour {
    fn from(traced: Traced) -> Self {
        InFour(match traced {
            Traced::Not => NOT,
            Traced::Now => NOW,
            Traced::Done(meanings) => meanings.number(),
        })
    }
}

impl From<InFour> for Traced {
    fn from(InFour(number): InFour) -> Self {
        match number {
            NOT => Traced::Not,
            NOW => Traced::Now,
            number => Traced::Done(Meanings::of_number(number)),
        }
    }
}
