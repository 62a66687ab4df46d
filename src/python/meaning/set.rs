//! Sets of meanings, each kept once, so that comparing and joining them is cheap.

use rustc_hash::FxHashMap;

use super::kind::{Meaning, Why};

/// A set of meanings, by its number in [`Sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Meanings(u32);

impl Meanings {
    /// The set's number.
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The set of a number.
    pub(super) fn of_number(number: u32) -> Self {
        Meanings(number)
    }
}

/// More meanings than this are not told apart.
const MOST: usize = 16;

/// The sets.
#[derive(Debug)]
pub(crate) struct Sets<'a> {
    lists: Vec<Box<[Meaning<'a>]>>,
    numbers: FxHashMap<Box<[Meaning<'a>]>, Meanings>,
}

impl<'a> Sets<'a> {
    /// The empty set: what raises, or never happens.
    pub(crate) const NOTHING: Meanings = Meanings(0);
    /// A set that is too large.
    pub(crate) const TOO_MANY: Meanings = Meanings(1);
    /// What every variable is at first.
    pub(super) const UNBOUND: Meanings = Meanings(2);
    /// A parameter.
    pub(super) const PARAMETER: Meanings = Meanings(3);

    /// The sets that have a number of their own.
    pub(super) fn new() -> Self {
        let mut sets = Sets { lists: Vec::new(), numbers: FxHashMap::default() };
        sets.keep(Box::new([]));
        for meaning in [Meaning::Unknown(Why::TooMany), Meaning::Unbound, Meaning::Unknown(Why::Parameter)] {
            sets.keep(Box::new([meaning]));
        }
        sets
    }

    fn keep(&mut self, list: Box<[Meaning<'a>]>) -> Meanings {
        let number = Meanings(self.lists.len() as u32);
        self.lists.push(list.clone());
        self.numbers.insert(list, number);
        number
    }

    /// The meanings in a set, sorted.
    pub(crate) fn list(&self, meanings: Meanings) -> &[Meaning<'a>] {
        &self.lists[meanings.0 as usize]
    }

    /// Whether a set is the one that stands for all large ones.
    pub(crate) fn is_too_many(&self, meanings: Meanings) -> bool {
        meanings == Self::TOO_MANY
    }

    /// The set of these meanings.
    pub(crate) fn of(&mut self, meanings: &[Meaning<'a>]) -> Meanings {
        // Most sets have one member.
        if let [_] = meanings
            && let Some(&known) = self.numbers.get(meanings)
        {
            return known;
        }
        let mut list = meanings.to_vec();
        list.sort_unstable();
        list.dedup();
        if list.len() > MOST {
            return Self::TOO_MANY;
        }
        match self.numbers.get(list.as_slice()) {
            Some(&known) => known,
            None => self.keep(list.into()),
        }
    }

    /// Everything in both sets.
    pub(crate) fn union(&mut self, one: Meanings, other: Meanings) -> Meanings {
        if one == other || other == Self::NOTHING {
            return one;
        }
        if one == Self::NOTHING {
            return other;
        }
        if one == Self::TOO_MANY || other == Self::TOO_MANY {
            return Self::TOO_MANY;
        }
        let all = [self.list(one), self.list(other)].concat();
        self.of(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_with_numbers_of_their_own_are_what_their_names_say() {
        let mut sets = Sets::new();
        for (named, meanings) in [
            (Sets::NOTHING, &[][..]),
            (Sets::TOO_MANY, &[Meaning::Unknown(Why::TooMany)]),
            (Sets::UNBOUND, &[Meaning::Unbound]),
            (Sets::PARAMETER, &[Meaning::Unknown(Why::Parameter)]),
        ] {
            assert_eq!(sets.of(meanings), named);
            assert_eq!(sets.list(named), meanings);
        }
    }
}
