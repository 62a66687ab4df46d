//! Whether a name that other modules import from a module is certainly one of NIXL's classes.

use rustpython_parser::ast::Stmt;

use super::super::bindings::Bindings;
use super::super::meaning::{Alias, Certainty, Imports, Meaning, Meanings, NixlClass, Resolver};
use super::super::module_getattr::{self, Value, Values};

/// What is tried first where NIXL comes from one of several packages.
const FIRST: &str = "nixl._api";

/// Whether the module gives nothing but this class of NIXL under the name, and None where NIXL is missing. The reason
/// otherwise follows the name.
pub(crate) fn certainty(text: &str, module: &[Stmt], name: &str, class: NixlClass, imports: &dyn Imports) -> Certainty {
    let bindings = Bindings::of(text, module);
    let mut resolver = Resolver::new(&bindings, Some(imports));
    let mut found = Found { class, modules: Vec::new(), or_none: false, doubt: None };
    if let Some(bound) = resolver.module_name(name).or_else(|| resolver.starred_name(name)) {
        found.add_meanings(&mut resolver, bound);
    }
    // Where the name is bound on some ways alone (`if TYPE_CHECKING:`), the function gives it on the others.
    if let Some(given) = module_getattr::values(text, module, name, imports) {
        found.add_values(&given, imports);
    }
    found.certainty()
}

/// What was found of a name.
struct Found {
    class: NixlClass,
    modules: Vec<String>,
    or_none: bool,
    doubt: Option<String>,
}

impl Found {
    fn certainty(mut self) -> Certainty {
        if let Some(doubt) = self.doubt {
            return Certainty::Doubtful(doubt);
        }
        if self.modules.is_empty() {
            return Certainty::Doubtful("is not bound in a way that can be traced".into());
        }
        self.modules.sort_by_key(|module| module != FIRST);
        Certainty::Certain { modules: self.modules, or_none: self.or_none }
    }

    fn doubt(&mut self, why: String) {
        self.doubt.get_or_insert(why);
    }

    fn module(&mut self, module: &str) {
        if !self.modules.iter().any(|known| known == module) {
            self.modules.push(module.to_string());
        }
    }

    fn add_meanings(&mut self, resolver: &mut Resolver, meanings: Meanings) {
        for meaning in resolver.list(meanings).to_vec() {
            if let Some(module) = resolver.module_of(&meaning, self.class) {
                self.module(module);
                continue;
            }
            match meaning {
                Meaning::Unbound => {}
                _ if resolver.raises_when_called(&meaning) => self.or_none = true,
                Meaning::Doubtful(_, why) => self.doubt(format!("may not be it: {}", resolver.text(why))),
                Meaning::Unknown(why) => self.doubt(format!("may be {}", why.words())),
                Meaning::Member(module, name) => {
                    self.doubt(format!("may be `{}` of the module `{}`", resolver.text(name), resolver.text(module)));
                }
                Meaning::Class(class) => {
                    self.doubt(format!("may be that module's class `{}`", resolver.bindings.scope(class).name));
                }
                Meaning::Function(function) => {
                    self.doubt(format!("may be that module's function `{}`", resolver.bindings.scope(function).name));
                }
                _ => self.doubt("may be something else".into()),
            }
        }
    }

    fn add_values(&mut self, values: &Values, imports: &dyn Imports) {
        for value in values.list() {
            match value {
                Value::None => self.or_none = true,
                Value::Member(module, name) => match imported(module, name, imports) {
                    Some(Alias { class, certainty: Certainty::Certain { modules, or_none } })
                        if class == self.class =>
                    {
                        modules.iter().for_each(|module| self.module(module));
                        self.or_none |= or_none;
                    }
                    Some(Alias { certainty: Certainty::Doubtful(why), .. }) => {
                        self.doubt(format!("may not be it: {why}"));
                    }
                    _ => self.doubt(format!("may be `{name}` of the module `{module}`")),
                },
                _ => self.doubt("comes from the module's `__getattr__` in a way that cannot be traced".into()),
            }
        }
    }
}

/// NIXL's class that a module gives under this name: NIXL's own module, or another one of the tree.
fn imported(module: &str, name: &str, imports: &dyn Imports) -> Option<Alias> {
    match NixlClass::of(module, name) {
        Some(class) => {
            let certainty = Certainty::Certain { modules: vec![module.to_string()], or_none: false };
            Some(Alias { class, certainty })
        }
        None => imports.alias(module, name),
    }
}
