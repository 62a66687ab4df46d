//! The NIXL backends that a user may choose.

use std::fmt;
use std::str::FromStr;

/// A NIXL backend for memory-to-memory transfers between agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// UCX: NIXL's default.
    Ucx,
    /// libfabric: EFA and Slingshot, for example.
    Libfabric,
}

impl Backend {
    /// Every backend that this program supports.
    pub const ALL: [Backend; 2] = [Backend::Ucx, Backend::Libfabric];

    /// The name of NIXL's plugin.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Ucx => "UCX",
            Backend::Libfabric => "LIBFABRIC",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Backend::ALL
            .into_iter()
            .find(|backend| backend.name().eq_ignore_ascii_case(trim(text)))
            .ok_or_else(|| format!("unknown backend; supported: {}", list(&Backend::ALL)))
    }
}

/// A name without the blanks around it. Those are ASCII's: the inserted helper does the same, and where Python's `strip`
/// and Rust's `trim` differ, in U+001C for example, both agree here.
pub(crate) fn trim(name: &str) -> &str {
    name.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}'])
}

/// The backends without duplicates, in order of first appearance.
pub(crate) fn distinct(backends: &[Backend]) -> Vec<Backend> {
    let mut distinct: Vec<Backend> = Vec::new();
    for backend in backends {
        if !distinct.contains(backend) {
            distinct.push(*backend);
        }
    }
    distinct
}

/// The names as the variable lists them: `LIBFABRIC,UCX`.
pub(crate) fn list(backends: &[Backend]) -> String {
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    names.join(",")
}
