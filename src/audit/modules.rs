//! The modules of a tree by their dotted names, and the classes of NIXL that other modules can import from them.

use std::path::{Component, Path};

use rustc_hash::FxHashMap;

use crate::python::agent_call::survey::Export;
use crate::python::meaning::{Alias, Imports, NixlClass};

/// A module's name: its path below the root, with dots. `vllm/distributed/nixl_utils.py` is
/// `vllm.distributed.nixl_utils`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModuleName {
    dotted: String,
    /// Whether it is a package: `__init__.py`.
    is_package: bool,
}

impl ModuleName {
    /// The module that a file below a root is.
    pub(super) fn of(path: &Path) -> Self {
        let mut parts: Vec<String> = path
            .with_extension("")
            .components()
            .filter_map(|part| match part {
                // A dot in a folder's name (`src-1.2`) is none between modules.
                Component::Normal(name) => Some(name.to_string_lossy().replace('.', "\u{b7}")),
                _ => None,
            })
            .collect();
        let is_package = parts.last().is_some_and(|last| last == "__init__");
        if is_package {
            parts.pop();
        }
        ModuleName { dotted: parts.join("."), is_package }
    }

    /// Its name.
    pub(super) fn dotted(&self) -> &str {
        &self.dotted
    }

    fn last(&self) -> &str {
        self.dotted.rsplit('.').next().unwrap_or_default()
    }

    /// The full name of what a relative import in this module means.
    pub(super) fn absolute(&self, level: u32, module: &str) -> String {
        let mut package = self.dotted.as_str();
        let up = level as usize - usize::from(self.is_package && level > 0);
        for _ in 0..up {
            package = package.rsplit_once('.').map_or("", |(package, _)| package);
        }
        [package, module].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }
}

/// A name that was not known to be exported.
#[derive(Clone, Debug)]
pub(super) struct NewExport {
    /// The name.
    pub(super) name: String,
    /// The last part of its module's.
    pub(super) module: String,
    /// Whether that is a package, which `from . import name` does not write out.
    pub(super) of_package: bool,
}

/// What all modules export.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// By the name, the modules that export it.
    exports: FxHashMap<String, Vec<(String, NixlClass)>>,
}

impl Modules {
    /// Adds what a module exports; returns what was not known yet.
    pub(super) fn add(&mut self, module: &ModuleName, exports: Vec<Export>) -> Vec<NewExport> {
        let mut new = Vec::new();
        for Export { name, class } in exports {
            let entry = (module.dotted.clone(), class);
            let known = self.exports.entry(name.clone()).or_default();
            if !known.contains(&entry) {
                known.push(entry);
                new.push(NewExport { name, module: module.last().to_string(), of_package: module.is_package });
            }
        }
        new
    }

    /// All names that modules bind NIXL's classes to.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, NixlClass)> {
        self.exports.iter().flat_map(|(name, modules)| modules.iter().map(move |(_, class)| (name.as_str(), *class)))
    }

    /// What `importer` knows of the others.
    pub(super) fn seen_from<'m>(&'m self, importer: &'m ModuleName) -> Seen<'m> {
        Seen { modules: self, importer }
    }
}

/// The modules as one of them sees them.
pub(super) struct Seen<'m> {
    modules: &'m Modules,
    importer: &'m ModuleName,
}

impl Imports for Seen<'_> {
    fn absolute(&self, level: u32, module: &str) -> String {
        self.importer.absolute(level, module)
    }

    fn alias(&self, module: &str, name: &str) -> Option<Alias> {
        let candidates = self.modules.exports.get(name)?.iter().filter(|(known, _)| is_called(known, module));
        let nearest = candidates.max_by_key(|(known, _)| common(known, &self.importer.dotted));
        nearest.map(|(_, class)| Alias::certain(*class))
    }

    fn all(&self, module: &str) -> Vec<(String, NixlClass)> {
        let exports = self.modules.exports.iter();
        let of_module =
            exports.flat_map(|(name, modules)| modules.iter().map(move |(known, class)| (name, known, class)));
        of_module
            .filter(|(_, known, _)| is_called(known, module))
            .map(|(name, _, class)| (name.clone(), *class))
            .collect()
    }
}

/// Whether a module can be imported by this name. Below a source checkout, modules begin at a folder that is not known:
/// `src.vllm.config` is `vllm.config`.
pub(super) fn is_called(known: &str, name: &str) -> bool {
    !name.is_empty() && known.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// How many bytes two names have in common at their beginning.
fn common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_imports_have_full_names() {
        let module = ModuleName::of(Path::new("a/b-1.0/c.py"));
        assert_eq!(module.dotted, "a.b-1\u{b7}0.c");
        assert_eq!(module.absolute(1, "d"), "a.b-1\u{b7}0.d");
        assert_eq!(module.absolute(2, ""), "a");
        assert_eq!(module.absolute(9, "d"), "d");
        let package = ModuleName::of(Path::new("a/b/__init__.py"));
        assert_eq!(package.absolute(1, "c"), "a.b.c");
        assert_eq!(package.absolute(2, "c"), "a.c");
    }

    #[test]
    fn the_nearest_module_of_a_name_counts() {
        let mut modules = Modules::default();
        let export = |class| vec![Export { name: "Wrapper".into(), class }];
        modules.add(&ModuleName::of(Path::new("one/p/m.py")), export(NixlClass::Agent));
        modules.add(&ModuleName::of(Path::new("two/p/m.py")), export(NixlClass::Configuration));
        let importer = ModuleName::of(Path::new("two/p/x.py"));
        assert_eq!(
            modules.seen_from(&importer).alias("p.m", "Wrapper"),
            Some(Alias::certain(NixlClass::Configuration))
        );
        assert_eq!(modules.seen_from(&importer).alias("q.m", "Wrapper"), None);
        assert_eq!(modules.seen_from(&importer).alias("m", "Other"), None);
    }
}
