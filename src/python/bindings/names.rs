//! Names as numbers, with private names mangled.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

/// A name: equal names have equal symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// The names of a module.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    symbols: FxHashMap<Hashed<'a>, Symbol>,
    texts: Vec<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// The symbol of a name written in the body of `class`, or outside classes.
    pub(super) fn symbol(&mut self, name: &'a str, class: Option<&str>) -> Symbol {
        match self.symbols.entry(Hashed::new(mangled(name, class))) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let symbol = Symbol(self.texts.len() as u32);
                self.texts.push(new.key().name.clone());
                *new.insert(symbol)
            }
        }
    }

    /// As [`Names::symbol`], for a name that may not occur.
    pub(super) fn find(&self, name: &str, class: Option<&str>) -> Option<Symbol> {
        self.symbols.get(&Hashed::new(mangled(name, class))).copied()
    }

    /// The name, mangled if it is private.
    pub(super) fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol.0 as usize]
    }
}

/// A name with its hash: a map that grows need not look at a hundred thousand names again.
#[derive(Debug, PartialEq, Eq)]
struct Hashed<'a> {
    hash: u64,
    name: Cow<'a, str>,
}

impl<'a> Hashed<'a> {
    fn new(name: Cow<'a, str>) -> Self {
        let mut hasher = FxHasher::default();
        name.hash(&mut hasher);
        Hashed { hash: hasher.finish(), name }
    }
}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
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
    fn private_names_belong_to_their_class() {
        let mangled = |name, class| mangled(name, class).into_owned();
        assert_eq!(mangled("__a", Some("C")), "_C__a");
        assert_eq!(mangled("__a", Some("__C")), "_C__a");
        assert_eq!(mangled("__a", Some("_")), "__a");
        assert_eq!(mangled("__a__", Some("C")), "__a__");
        assert_eq!(mangled("__a", None), "__a");
    }
}
