//! What a file must contain so that parsing it can matter: found in its bytes, before anything is decoded.

use std::path::PathBuf;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use rustc_hash::FxHashSet;

use super::modules::NewExport;
use crate::python::agent_call::survey::ONLY_OF_AGENTS;

/// The names of both classes begin with it.
static CLASS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("nixl_agent"));
static CREATE_BACKEND: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(".create_backend"));
static CREATE_BACKEND_BELOW: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(".createBackend"));
/// In `nixl` and `Nixl`.
static LOWER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("ixl"));
/// In `NIXL`.
static UPPER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("IXL"));

/// What a file has to do with NIXL, going by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mention {
    /// Nothing.
    None,
    /// It writes about it, and may use a class of NIXL under another module's name for it.
    Word,
    /// It names a class of NIXL, or creates a backend.
    Class,
}

/// What a Python file mentions.
pub(super) fn mention(content: &[u8]) -> Mention {
    let lower = LOWER.find(content);
    if lower.is_none() && UPPER.find(content).is_none() {
        return Mention::None;
    }
    let names = lower.is_some_and(|from| {
        let rest = from.saturating_sub(1);
        CLASS.find_iter(&content[rest..]).any(|at| is_class(content, rest + at))
    });
    if names || creates_a_backend(content) { Mention::Class } else { Mention::Word }
}

/// Whether `nixl_agent` at an offset is the whole name of a class, and not an agent whose method is called
/// (`nixl_agent.register_memory`), an attribute that an agent is assigned to (`self.nixl_agent = …`), a longer name
/// (`nixl_agent_metadata`) or a word in a comment.
fn is_class(content: &[u8], at: usize) -> bool {
    let begins = at == 0 || !is_identifier(content[at - 1]);
    let rest = &content[at + b"nixl_agent".len()..];
    let rest = rest.strip_prefix(b"_config").unwrap_or(rest);
    let ends = !rest.first().is_some_and(|byte| is_identifier(*byte) || *byte == b'.');
    begins && ends && !(content[..at].ends_with(b"self.") && is_assigned(rest)) && !is_in_comment(&content[..at])
}

/// Whether an assignment follows: `= …`, not `== …`.
pub(super) fn is_assigned(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    rest.starts_with(b"=") && !rest.starts_with(b"==")
}

/// Whether the line that the text ends in is a comment. A line that looks like one in a string names no class: it has
/// more than the name.
fn is_in_comment(before: &[u8]) -> bool {
    let line = memchr::memrchr2(b'\n', b'\r', before).map_or(before, |end| &before[end + 1..]);
    line.trim_ascii_start().starts_with(b"#")
}

/// The most names in a file that writes about NIXL that are kept.
const NAMES: usize = 256;

/// A file that writes about NIXL, and may use one of its classes under another module's name for it.
pub(super) struct Noted {
    pub(super) path: PathBuf,
    /// The names in it that have NIXL's, which an alias can be; None where they are too many.
    names: Option<FxHashSet<Box<[u8]>>>,
}

impl Noted {
    /// A file, and what it contains.
    pub(super) fn new(path: PathBuf, content: &[u8]) -> Self {
        let mut names: FxHashSet<Box<[u8]>> = FxHashSet::default();
        for at in LOWER.find_iter(content).chain(UPPER.find_iter(content)) {
            let name = identifier_around(content, at);
            if !names.contains(name) {
                names.insert(name.into());
            }
            if names.len() > NAMES {
                return Noted { path, names: None };
            }
        }
        Noted { path, names: Some(names) }
    }
}

/// The identifier that an offset is in.
fn identifier_around(content: &[u8], at: usize) -> &[u8] {
    let from = content[..at].iter().rposition(|byte| !is_identifier(*byte)).map_or(0, |before| before + 1);
    let to = content[at..].iter().position(|byte| !is_identifier(*byte)).map_or(content.len(), |after| at + after);
    &content[from..to]
}

/// Whether it creates a backend of what may be an agent. Where no class is named, an object is an agent by another method
/// that nothing else has.
fn creates_a_backend(content: &[u8]) -> bool {
    let creates = CREATE_BACKEND.find(content).is_some() || CREATE_BACKEND_BELOW.find(content).is_some();
    let has = |method: &&str| memmem::find(content, method.as_bytes()).is_some();
    creates && (ONLY_OF_AGENTS.iter().any(has) || CLASS.find(content).is_some())
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Names that other modules of the tree bind NIXL's classes to.
pub(super) struct Aliases(Vec<Alias>);

struct Alias {
    name: Finder<'static>,
    /// The last part of the module's name, which a file that imports from it has too, but for a package's own modules.
    module: Finder<'static>,
    of_package: bool,
}

/// How a module imports from the package around it.
const FROM_PACKAGE: &[u8] = b"from .";

impl Aliases {
    /// Looks for these names from these modules. NIXL's own names are looked for in any case.
    pub(super) fn new(exports: &[NewExport]) -> Self {
        let others = exports.iter().filter(|it| !matches!(it.name.as_str(), "nixl_agent" | "nixl_agent_config"));
        let finder = |text: &String| Finder::new(text).into_owned();
        let alias = |export: &NewExport| Alias {
            name: finder(&export.name),
            module: finder(&export.module),
            of_package: export.of_package,
        };
        Aliases(others.map(alias).collect())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every file with one of them mentions NIXL.
    pub(super) fn mention_nixl(&self) -> bool {
        self.0.iter().all(|alias| mention(alias.name.needle()) != Mention::None)
    }

    /// Whether a file may have one of them, all of which mention NIXL.
    pub(super) fn may_be_in(&self, noted: &Noted) -> bool {
        noted.names.as_ref().is_none_or(|names| self.0.iter().any(|alias| names.contains(alias.name.needle())))
    }

    /// Whether a file has one of them, and its module.
    pub(super) fn are_in(&self, content: &[u8]) -> bool {
        let imports_from = |alias: &Alias| {
            alias.module.find(content).is_some() || alias.of_package && memmem::find(content, FROM_PACKAGE).is_some()
        };
        self.0.iter().any(|alias| is_word_of(&alias.name, content) && imports_from(alias))
    }
}

/// Whether a text has a whole name.
fn is_word_of(name: &Finder<'_>, content: &[u8]) -> bool {
    name.find_iter(content).any(|at| {
        let after = content.get(at + name.needle().len());
        !after.is_some_and(|byte| is_identifier(*byte)) && (at == 0 || !is_identifier(content[at - 1]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_of_a_class_count() {
        let names_a_class = |content: &[u8]| mention(content) == Mention::Class;
        for text in
            ["nixl_agent", "from nixl import nixl_agent as A", "x.nixl_agent_config()", "'nixl._api:nixl_agent'"]
        {
            assert!(names_a_class(text.as_bytes()), "{text}");
        }
        for text in ["x = 1 # nixl\nnixl_agent", "#nixl\rnixl_agent", "self.nixl_agent == x", "api.nixl_agent = x"] {
            assert!(names_a_class(text.as_bytes()), "{text}");
        }
        for text in ["# nixl_agent", "x\n  # the nixl_agent", "self.nixl_agent = x", "self.nixl_agent=x"] {
            assert!(!names_a_class(text.as_bytes()), "{text}");
        }
        assert!(names_a_class(b"self.nixl_agent = nixl_agent('a')"));
        for text in ["nixl_agent.transfer()", "nixl_agent_meta", "my_nixl_agent", "nixl_agent_configs", "nixl", ""] {
            assert!(!names_a_class(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_backend_counts_beside_nixl_s_name() {
        let names_a_class = |content: &[u8]| mention(content) == Mention::Class;
        assert!(names_a_class(b"# NIXL\nagent.get_plugin_list()\nagent.create_backend('UCX')"));
        assert!(names_a_class(b"self.nixl_agent.createBackend('UCX')"));
        assert!(!names_a_class(b"nixl\nfactory.create_backend('nixl')"));
        assert!(!names_a_class(b"io.create_backend('UCX')"));
        assert!(!names_a_class(b"nixl\ndef create_backend(): pass"));
    }

    #[test]
    fn the_names_of_a_noted_file_say_whether_an_alias_may_be_in_it() {
        let alias = NewExport { name: "NixlWrapper".into(), module: "utils".into(), of_package: false };
        let aliases = Aliases::new(&[alias]);
        let may_be_in = |content: &[u8]| aliases.may_be_in(&Noted::new("m.py".into(), content));
        for content in [&b"x.NixlWrapper(1)"[..], b"NixlWrapper", b"# nixl\nNIXL\n(NixlWrapper)"] {
            assert!(may_be_in(content), "{content:?}");
        }
        for content in [&b"nixl NIXL"[..], b"NixlWrappers", b"_NixlWrapper NixlWrapper\xc3\xa9", b""] {
            assert!(!may_be_in(content), "{content:?}");
        }
        let many: String = (0..=NAMES).map(|number| format!("nixl_{number} ")).collect();
        assert!(may_be_in(many.as_bytes()), "too many names to keep");
    }

    #[test]
    fn aliases_are_whole_names() {
        let of = |name: &str, of_package| {
            Aliases::new(&[NewExport { name: name.into(), module: "utils".into(), of_package }])
        };
        let aliases = of("NixlWrapper", false);
        assert!(aliases.are_in(b"from utils import x; a.NixlWrapper("));
        assert!(!aliases.are_in(b"from utils import NixlWrappers, _NixlWrapper"));
        assert!(!aliases.are_in(b"from tools import NixlWrapper"));
        assert!(aliases.mention_nixl());
        assert!(!of("Agent", false).mention_nixl());
        assert!(of("nixl_agent", false).is_empty());
        let relative = b"from . import NixlWrapper";
        assert!(of("NixlWrapper", true).are_in(relative) && !aliases.are_in(relative));
    }
}
