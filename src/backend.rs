//! The NIXL backends that a choice may name, and how the patched code reads the variable.
#![forbid(unsafe_code)]

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
pub fn distinct(backends: &[Backend]) -> Vec<Backend> {
    let mut distinct: Vec<Backend> = Vec::new();
    for backend in backends {
        if !distinct.contains(backend) {
            distinct.push(*backend);
        }
    }
    distinct
}

/// Their names as the variable holds them: `LIBFABRIC,UCX`.
pub fn list(backends: &[Backend]) -> String {
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    names.join(",")
}

/// The list that the patched code would choose for a value of its variable (design, section 3).
///
/// `value` is None when the variable is unset. Returns the chosen backends and the names that are not allowed; the
/// list is never empty.
pub fn choose(value: Option<&str>, default: Backend, allow: &[Backend]) -> (Vec<Backend>, Vec<String>) {
    let mut chosen = Vec::new();
    let mut unknown = Vec::new();
    let names = value.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    for name in names {
        match name.parse::<Backend>() {
            Ok(backend) if allow.contains(&backend) && !chosen.contains(&backend) => chosen.push(backend),
            Ok(backend) if allow.contains(&backend) => {}
            _ => unknown.push(name.to_string()),
        }
    }
    if chosen.is_empty() {
        chosen.push(default);
    }
    (chosen, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Backend::{Libfabric, Ucx};

    #[test]
    fn the_variable_is_read_as_the_contract_says() {
        let cases: [(Option<&str>, &[Backend]); 9] = [
            (None, &[Ucx]),
            (Some("  "), &[Ucx]),
            (Some("UCX"), &[Ucx]),
            (Some("LIBFABRIC"), &[Libfabric]),
            (Some("libfabric"), &[Libfabric]),
            (Some("LIBFABRIC,UCX"), &[Libfabric, Ucx]),
            (Some(" UCX , UCX"), &[Ucx]),
            (Some("BOGUS"), &[Ucx]),
            (Some("BOGUS,LIBFABRIC"), &[Libfabric]),
        ];
        for (value, expected) in cases {
            assert_eq!(choose(value, Ucx, &Backend::ALL).0, expected, "{value:?}");
        }
        assert_eq!(choose(Some("BOGUS,LIBFABRIC"), Ucx, &[Ucx]).1, ["BOGUS", "LIBFABRIC"]);
    }
}
