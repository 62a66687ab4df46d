//! The NIXL backends that a choice may name.

use std::fmt;
use std::str::FromStr;

/// A NIXL backend for memory-to-memory transfers between agents, by its plugin's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// UCX: NIXL's default.
    Ucx,
    /// libfabric: EFA, Slingshot.
    Libfabric,
}

impl Backend {
    /// All that this program supports.
    pub const ALL: [Backend; 2] = [Backend::Ucx, Backend::Libfabric];

    /// NIXL's name of the plugin.
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
            .find(|backend| backend.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| format!("unknown backend '{text}'; the supported ones are UCX and LIBFABRIC"))
    }
}

/// The same without repetitions, in the order of their first appearance.
pub(crate) fn distinct(backends: &[Backend]) -> Vec<Backend> {
    let mut distinct: Vec<Backend> = Vec::new();
    for backend in backends {
        if !distinct.contains(backend) {
            distinct.push(*backend);
        }
    }
    distinct
}

/// Their names as the variable holds them: `LIBFABRIC,UCX`.
pub(crate) fn list(backends: &[Backend]) -> String {
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    names.join(",")
}
