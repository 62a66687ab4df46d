//! The variables that a scope knows, by what they are looked up by.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::names::Symbol;

/// How many entries are compared one by one.
const FEW: usize = 8;
/// No variable.
const NONE: u32 = u32::MAX;

/// A scope's variables, which are numbers, by their names.
#[derive(Debug)]
pub(super) enum ScopeVariables {
    /// Of a module, by the name's number: most of a file's names are its own.
    Module(Vec<u32>),
    /// Of another scope.
    Inner(SmallMap<Symbol, u32>),
}

impl ScopeVariables {
    /// The variable of this name.
    pub(super) fn get(&self, name: Symbol) -> Option<u32> {
        match self {
            ScopeVariables::Module(by_number) => by_number.get(name.number()).copied().filter(|it| *it != NONE),
            ScopeVariables::Inner(map) => map.get(name),
        }
    }

    /// Makes a variable that of this name.
    pub(super) fn insert(&mut self, name: Symbol, variable: u32) {
        match self {
            ScopeVariables::Module(by_number) => {
                let length = by_number.len().max(name.number() + 1);
                by_number.resize(length, NONE);
                by_number[name.number()] = variable;
            }
            ScopeVariables::Inner(map) => map.insert(name, variable),
        }
    }
}

/// A map that nearly always has few entries: these need no room of their own.
#[derive(Debug)]
pub(super) enum SmallMap<K, V> {
    Few(SmallVec<[(K, V); 2]>),
    Many(Box<FxHashMap<K, V>>),
}

impl<K: Copy + Eq + Hash, V: Copy> SmallMap<K, V> {
    /// A map without entries.
    pub(super) fn new() -> Self {
        SmallMap::Few(SmallVec::new())
    }

    /// The value of a key.
    pub(super) fn get(&self, key: K) -> Option<V> {
        match self {
            SmallMap::Few(entries) => entries.iter().find(|(known, _)| *known == key).map(|(_, value)| *value),
            SmallMap::Many(map) => map.get(&key).copied(),
        }
    }

    /// Gives a key a value, in place of the one that it had.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self {
            SmallMap::Many(map) => {
                map.insert(key, value);
            }
            SmallMap::Few(entries) => match entries.iter().position(|(known, _)| *known == key) {
                Some(number) => entries[number].1 = value,
                None if entries.len() < FEW => entries.push((key, value)),
                None => *self = SmallMap::Many(Box::new(entries.drain(..).chain([(key, value)]).collect())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_entries_are_found() {
        let mut map = SmallMap::new();
        for round in 0..2 {
            for key in 0..3 * FEW {
                assert_eq!(map.get(key), (round == 1).then_some(2 * key));
                map.insert(key, 2 * key + round);
                assert_eq!(map.get(key), Some(2 * key + round));
                map.insert(key, 2 * key);
            }
        }
        assert_eq!(map.get(3 * FEW), None);
    }

    #[test]
    fn a_module_has_the_names_that_were_given_to_it() {
        let mut names = super::super::names::Names::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| names.symbol(name, None));
        let mut variables = ScopeVariables::Module(Vec::new());
        variables.insert(b, 7);
        assert_eq!([a, b, c].map(|name| variables.get(name)), [None, Some(7), None]);
        variables.insert(a, 8);
        variables.insert(b, 9);
        assert_eq!([a, b, c].map(|name| variables.get(name)), [Some(8), Some(9), None]);
    }
}
