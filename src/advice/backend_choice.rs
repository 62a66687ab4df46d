//! What a module's own choice of backends makes of the environment, where that is not what its user expects.

use std::path::Path;

use crate::choice::backend::{self, Backend};
use crate::choice::rule::{Choice, Rule};
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// Names that people give for a backend's.
const FABRICS_AND_LIBRARIES: [(&str, Backend); 6] = [
    ("EFA", Backend::Libfabric),
    ("OFI", Backend::Libfabric),
    ("SRD", Backend::Libfabric),
    ("CXI", Backend::Libfabric),
    ("RDMA", Backend::Ucx),
    ("IB", Backend::Ucx),
];
/// How many letters of a misspelt name may be wrong.
const WRONG_LETTERS: usize = 2;

/// A call that chooses backends, for a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser<'a> {
    /// Its file.
    pub path: &'a Path,
    /// Its line, from 1; None where the whole file is meant.
    pub line: Option<usize>,
}

impl Chooser<'_> {
    fn finding(
        self,
        id: &'static str,
        severity: Severity,
        message: String,
        consequence: String,
        cure: String,
    ) -> Finding {
        Finding {
            id,
            severity,
            message,
            consequence,
            cure: vec![cure],
            path: Some(self.path.to_path_buf()),
            line: self.line,
        }
    }

    fn name(self) -> String {
        match self.line {
            Some(line) => format!("`{}`, line {line},", self.path.shown()),
            None => format!("`{}`", self.path.shown()),
        }
    }

    /// The patched code does not know some of the variable's names, and ignores them.
    pub(crate) fn ignored_names(self, rule: &Rule, value: &str, choice: &Choice) -> Finding {
        let variable = &rule.variable;
        let message = format!(
            "`{variable}` is `{value}`: unknown {} ignored; supported: {}",
            quoted(&choice.unknown),
            backend::list(&rule.allowed)
        );
        let consequence = format!("the patched code uses `{}`", backend::list(&choice.backends));
        self.finding("backend-names-ignored", Severity::Warning, message, consequence, correction(rule, value))
    }

    /// The patched code raises an error because of the names that it does not know.
    pub(crate) fn rejected_names(self, rule: &Rule, value: &str, choice: &Choice) -> Finding {
        let variable = &rule.variable;
        let allowed: Vec<&str> = rule.allowed.iter().map(|backend| backend.name()).collect();
        // The words of the inserted helper.
        let message = format!(
            "ValueError: NIXL Connect: {variable} names unknown backend(s) {}; supported: {}",
            choice.unknown.join(", "),
            allowed.join(", ")
        );
        let consequence = format!(
            "{} is patched with `--on-unknown error`, and `{variable}` is `{value}`: Dynamo creates no agent",
            self.name()
        );
        self.finding("backend-names-rejected", Severity::Error, message, consequence, correction(rule, value))
    }

    /// The file takes the whole value for the name of one backend.
    pub(crate) fn one_name(self, variable: &str, value: &str) -> Finding {
        let message = format!(
            "{} takes `{variable}` for one name and does not split it: it asks NIXL for a backend called `{value}`",
            self.name()
        );
        let consequence = "NIXL has no such plugin, and the agent is left without a backend".into();
        let cure = format!(
            "set `{variable}` to one name, or reinstall the distribution and run `nixl-retrofit apply`, whose code takes a list"
        );
        self.finding("variable-takes-one-name", Severity::Error, message, consequence, cure)
    }

    /// The file asks NIXL for backends of which none transfers between agents' memory.
    pub(crate) fn no_such_backend(self, names: &[String], from: &str) -> Finding {
        let message = format!("{} asks NIXL for {}, {from}", self.name(), quoted(names));
        let consequence =
            format!("no backend of that name moves memory between agents; supported: {}", backend::list(&Backend::ALL));
        let cure = "name `UCX` or `LIBFABRIC` in capitals, without quotes".into();
        self.finding("no-such-backend", Severity::Error, message, consequence, cure)
    }

    /// The file reads the environment through a name that nothing binds.
    pub(crate) fn unbound(self, name: &str) -> Finding {
        let message = format!("NameError: name '{name}' is not defined");
        let consequence =
            format!("{} uses `{name}`, which nothing in the file binds: Dynamo creates no agent", self.name());
        let cure =
            format!("add `import {name}` to the file, or reinstall the distribution and run `nixl-retrofit apply`");
        self.finding("name-not-bound", Severity::Error, message, consequence, cure)
    }

    /// The file fixes its backends, and the variable chooses others.
    pub(crate) fn fixed(self, names: &[String], variable: &str, value: &str) -> Finding {
        let message = format!("{} fixes its backends to {}; `{variable}` is `{value}`", self.name(), quoted(names));
        let consequence = format!("nothing reads `{variable}`: the transfer uses what the file fixes");
        let cure = format!("reinstall the distribution and run `nixl-retrofit apply` to make it read `{variable}`");
        self.finding("backends-fixed", Severity::Warning, message, consequence, cure)
    }

    /// The file reads another variable than the one that is set.
    pub(crate) fn other_variable(self, read: &str, variable: &str, value: &str) -> Finding {
        let message = format!("{} reads `{read}`; `{variable}` is `{value}`", self.name());
        let consequence = format!("nothing reads `{variable}`: the transfer uses what `{read}` chooses");
        self.finding(
            "another-variable",
            Severity::Warning,
            message,
            consequence,
            format!("set `{read}` instead of `{variable}`, or run `nixl-retrofit apply --env-var {variable}`"),
        )
    }

    /// The file is not patched, and the variable is set.
    pub(crate) fn not_read(self, default: &str, variable: &str, value: &str) -> Finding {
        let message = format!("{} does not read `{variable}`, which is `{value}`", self.name());
        let consequence = format!("NIXL's default is used: `{default}`");
        let cure = "run `nixl-retrofit apply`".into();
        self.finding("variable-not-read", Severity::Warning, message, consequence, cure)
    }

    /// How the file chooses cannot be told.
    pub(crate) fn unclear(self, reason: &str, assumed: &[Backend]) -> Finding {
        let message = format!("{} chooses its backends in a way that cannot be told: {reason}", self.name());
        let consequence = format!("the transfer assumes `{}`", backend::list(assumed));
        let cure = "name what it chooses with `--backend`".into();
        self.finding("choice-unclear", Severity::Warning, message, consequence, cure)
    }

    /// `--backend` asks for something else than the file chooses.
    pub(crate) fn not_asked_for(self, asked: &[Backend], chosen: &str) -> Finding {
        let message = format!("`--backend {}` is tested; {} chooses {chosen}", backend::list(asked), self.name());
        let consequence = "the result says nothing about what Dynamo does under this environment".into();
        let cure = "drop `--backend` to test what the file chooses".into();
        self.finding("not-the-files-choice", Severity::Note, message, consequence, cure)
    }
}

/// `` `A`, `B` ``.
fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// What to write instead of a value, and why.
fn correction(rule: &Rule, value: &str) -> String {
    let variable = &rule.variable;
    let names: Vec<&str> = value.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let names = || names.iter().copied().filter(|name| !name.is_empty());
    let meant: Vec<Backend> = names().filter_map(meant).filter(|backend| rule.allowed.contains(backend)).collect();
    if meant.is_empty() {
        return format!("set `{variable}` to one or more of {}, with commas between", backend::list(&rule.allowed));
    }
    let meant = format!("set `{variable}={}`", backend::list(&backend::distinct(&meant)));
    let why = if value.contains(['"', '\'']) {
        ": the quotes are part of the value, as `docker run --env-file` keeps them"
    } else if names().all(|name| name.parse::<Backend>().is_ok()) {
        ": names are separated by commas"
    } else {
        ""
    };
    format!("{meant}{why}")
}

/// The backend that a name means, where it is a fabric's or misspelt.
fn meant(name: &str) -> Option<Backend> {
    let name = name.to_ascii_uppercase();
    let known = FABRICS_AND_LIBRARIES.iter().find(|(known, _)| *known == name).map(|(_, backend)| *backend);
    let near = |backend: &Backend| strsim::osa_distance(&name, backend.name()) <= WRONG_LETTERS.min(name.len() / 2);
    known.or_else(|| Backend::ALL.into_iter().find(near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_corrected() {
        let corrected = |value: &str| correction(&Rule::default(), value);
        assert!(corrected("\"LIBFABRIC,UCX\"").starts_with("set `NIXL_BACKEND=LIBFABRIC,UCX`: the quotes"));
        assert!(corrected("LIBFABRIC;UCX").ends_with("LIBFABRIC,UCX`: names are separated by commas"));
        assert!(corrected("LIBFABRIC UCX").ends_with("LIBFABRIC,UCX`: names are separated by commas"));
        assert_eq!(corrected("EFA"), "set `NIXL_BACKEND=LIBFABRIC`");
        assert_eq!(corrected("LIBFABRICS,UXC"), "set `NIXL_BACKEND=LIBFABRIC,UCX`");
        assert!(corrected("GDS").contains("one or more of UCX,LIBFABRIC"));
    }
}
