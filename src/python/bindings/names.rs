//! Names as numbers, with private names mangled.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxHasher;

/// A name: equal names have equal symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

impl Symbol {
    /// A file's names are numbered from 0, in the order in which they were first asked for.
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }
}

/// The names of a module.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    /// A table of numbers stays small where there are a hundred thousand names.
    symbols: HashTable<Symbol>,
    names: Vec<Name<'a>>,
}

/// A name with its hash: a table that grows need not look at its letters again.
#[derive(Debug)]
struct Name<'a> {
    hash: u64,
    text: Cow<'a, str>,
}

impl<'a> Names<'a> {
    /// Room for about as many names as a text of this length has: a table that grows is filled again.
    pub(super) fn for_text(length: usize) -> Self {
        const BYTES_FOR_EACH: usize = 128;
        Names { symbols: HashTable::with_capacity(length / BYTES_FOR_EACH), names: Vec::new() }
    }

    /// The symbol of a name written in the body of `class`, or outside classes.
    pub(super) fn symbol(&mut self, name: &'a str, class: Option<&str>) -> Symbol {
        let text = mangled(name, class);
        let (hash, names) = (hash(&text), &mut self.names);
        let is_name = |symbol: &Symbol| {
            let known = &names[symbol.number()];
            known.hash == hash && known.text == text
        };
        match self.symbols.entry(hash, is_name, |symbol| names[symbol.number()].hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let symbol = Symbol(names.len() as u32);
                new.insert(symbol);
                names.push(Name { hash, text });
                symbol
            }
        }
    }

    /// As [`Names::symbol`], for the names of a module's own level one after another, as its statements bind them: most
    /// have a number that is not far behind the last one's, and need not be looked for.
    pub(super) fn next_symbol(&mut self, name: &'a str, last: &mut Symbol) -> Symbol {
        let next = Symbol(last.0 + 1);
        // It is the same place in the tree.
        let is_next = |known: &Name| std::ptr::eq(known.text.as_ptr(), name.as_ptr()) && known.text.len() == name.len();
        let found = if self.names.get(next.number()).is_some_and(is_next) { next } else { self.symbol(name, None) };
        *last = found.max(*last);
        found
    }

    /// As [`Names::symbol`], for a name that may not occur.
    pub(super) fn find(&self, name: &str, class: Option<&str>) -> Option<Symbol> {
        let text = mangled(name, class);
        let is_name = |symbol: &Symbol| self.names[symbol.number()].text == text;
        self.symbols.find(hash(&text), is_name).copied()
    }

    /// The name, mangled if it is private.
    pub(super) fn text(&self, symbol: Symbol) -> &str {
        &self.names[symbol.number()].text
    }
}

fn hash(name: &str) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one(name)
}

/// Source: the Python language reference, "Private name mangling".
fn mangled<'n>(name: &'n str, class: Option<&str>) -> Cow<'n, str> {
    let class = class.map(|class| class.trim_start_matches('_')).filter(|class| !class.is_empty());
    match class {
        Some(class) if name.starts_with("__") && !name.ends_with("__") => format!("_{class}{name}").into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_however_it_is_asked_for() {
        let text = "a b c a d b";
        let words: Vec<&str> = text.split(' ').collect();
        let mut names = Names::default();
        let symbols: Vec<Symbol> = words.iter().map(|word| names.symbol(word, None)).collect();
        assert_eq!(symbols.iter().map(|symbol| symbol.number()).collect::<Vec<_>>(), [0, 1, 2, 0, 3, 1]);
        for words in [words.clone(), "b d a c c".split(' ').collect()] {
            let mut last = Symbol::default();
            for word in words {
                assert_eq!(Some(names.next_symbol(word, &mut last)), names.find(word, None), "{word}");
            }
        }
    }

    #[test]
    fn private_names_belong_to_their_class() {
        let mangled = |name, class| mangled(name, class).into_owned();
        assert_eq!(mangled("__a", Some("C")), "_C__a");
        assert_eq!(mangled("__a", Some("__C")), "_C__a");
        assert_eq!(mangled("__a", Some("_")), "__a");
        assert_eq!(mangled("__a__", Some("C")), "__a__");
        assert_eq!(mangled("__a", None), "__a");
    }
}
