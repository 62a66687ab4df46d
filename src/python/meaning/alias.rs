//! NIXL's classes under the names that other modules of the tree give them.

/// The name of NIXL's agent class.
const AGENT: &str = "nixl_agent";
/// The name of NIXL's configuration class.
const CONFIGURATION: &str = "nixl_agent_config";
/// The module of both, where another module's alias leads to them.
const API: &str = "nixl._api";

/// What is known of the modules in the tree around a file.
pub(crate) trait Imports {
    /// The full name of the module that a relative import with this many dots means.
    fn absolute(&self, level: u32, module: &str) -> String;
    /// The class of NIXL that a module binds under this name.
    fn alias(&self, module: &str, name: &str) -> Option<Alias>;
    /// All of them, for `from module import *`.
    fn all(&self, module: &str) -> Vec<(String, NixlClass)>;
}

/// A class of NIXL under the name that a module of the tree gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    /// The class.
    pub class: NixlClass,
    /// Whether it is nothing else.
    pub certainty: Certainty,
}

impl Alias {
    /// A class that only NIXL's own module can be the source of.
    pub(crate) fn certain(class: NixlClass) -> Self {
        Alias { class, certainty: Certainty::Certain { modules: vec![API.to_string()], or_none: false } }
    }
}

/// Whether a module's name stands for a class of NIXL alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// For the class, from one of these modules of NIXL.
    Certain {
        /// The modules, those to try first in front.
        modules: Vec<String>,
        /// Whether it may also be None, or something else that raises when it is called.
        or_none: bool,
    },
    /// It may stand for something else: why, in words that begin with the name.
    Doubtful(String),
}

/// A class of NIXL's Python binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NixlClass {
    /// `nixl_agent`.
    Agent,
    /// `nixl_agent_config`.
    Configuration,
}

impl NixlClass {
    /// The class of this name.
    pub(crate) fn named(name: &str) -> Option<NixlClass> {
        match name {
            AGENT => Some(NixlClass::Agent),
            CONFIGURATION => Some(NixlClass::Configuration),
            _ => None,
        }
    }

    /// The class that a module of NIXL has under this name.
    pub(crate) fn of(module: &str, name: &str) -> Option<NixlClass> {
        NixlClass::named(name).filter(|_| is_nixl(module))
    }

    /// Its name in NIXL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            NixlClass::Agent => AGENT,
            NixlClass::Configuration => CONFIGURATION,
        }
    }
}

/// Whether a module is NIXL's Python binding: one of the packages `nixl` (a meta package), `nixl_cu12`, `nixl_cu13` and
/// `nixl_rocm`, or `_api` in one of them.
pub(crate) fn is_nixl(module: &str) -> bool {
    let (package, rest) = module.split_once('.').unwrap_or((module, "_api"));
    let known = package == "nixl" || package == "nixl_rocm" || package.strip_prefix("nixl_cu").is_some_and(is_number);
    known && rest == "_api"
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
