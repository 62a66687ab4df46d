//! Names as numbers, with private names mangled.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

/// A name: equal names have equal symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// The names of a module.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    symbols: FxHashMap<Cow<'a, str>, Symbol>,
    texts: Vec<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// The symbol of a name written in the body of `class`, or outside classes.
    pub(super) fn symbol(&mut self, name: &'a str, class: Option<&str>) -> Symbol {
        let name = mangled(name, class);
        if let Some(&symbol) = self.symbols.get(name.as_ref()) {
            return symbol;
        }
        let symbol = Symbol(self.texts.len() as u32);
        self.texts.push(name.clone());
        self.symbols.insert(name, symbol);
        symbol
    }

    /// As [`Names::symbol`], for a name that may not occur.
    pub(super) fn find(&self, name: &str, class: Option<&str>) -> Option<Symbol> {
        self.symbols.get(mangled(name, class).as_ref()).copied()
    }

    /// The name, mangled if it is private.
    pub(super) fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol.0 as usize]
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
