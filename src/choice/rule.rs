//! The rule by which the value of an environment variable becomes a list of backends.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use super::backend::{self, Backend};

/// How the patched code chooses its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The variable, read when an agent is created.
    pub variable: EnvVar,
    /// The backend where the variable is unset, blank or names none of `allowed`; itself one of `allowed`.
    pub default: Backend,
    /// The backends that the variable may name.
    pub allowed: Vec<Backend>,
    /// What any other name does.
    pub on_unknown: OnUnknown,
}

impl Default for Rule {
    /// `NIXL_BACKEND`, UCX by default, all backends allowed, a warning for any other name.
    fn default() -> Self {
        Rule {
            variable: EnvVar::default(),
            default: Backend::Ucx,
            allowed: Backend::ALL.to_vec(),
            on_unknown: OnUnknown::Fallback,
        }
    }
}

/// What a value of the variable chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The backends, in the variable's order, without duplicates; never empty.
    pub backends: Vec<Backend>,
    /// The names that are not allowed, as written.
    pub unknown: Vec<String>,
}

impl Rule {
    /// The choice for a value of the variable; `None` when it is unset.
    pub fn choose(&self, value: Option<&str>) -> Choice {
        let mut choice = Choice { backends: Vec::new(), unknown: Vec::new() };
        let names = value.unwrap_or_default().split(',').map(backend::trim).filter(|name| !name.is_empty());
        for name in names {
            match name.parse::<Backend>() {
                Ok(backend) if self.allowed.contains(&backend) => choice.backends.push(backend),
                _ => choice.unknown.push(name.to_string()),
            }
        }
        choice.backends = backend::distinct(&choice.backends);
        if choice.backends.is_empty() {
            choice.backends.push(self.default);
        }
        choice
    }

    /// Whether the patched code raises ValueError instead of making this choice.
    pub fn rejects(&self, choice: &Choice) -> bool {
        self.on_unknown == OnUnknown::Error && !choice.unknown.is_empty()
    }
}

/// As the marker in a patched file writes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_unknown = match self.on_unknown {
            OnUnknown::Fallback => "fallback",
            OnUnknown::Error => "error",
        };
        let allowed = backend::list(&self.allowed);
        write!(f, "default={} allow={allowed} on-unknown={on_unknown} env-var={}", self.default, self.variable)
    }
}

/// Reads what [`Rule`] displays: the options in the marker of a patched file.
impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let option = |name: &str| {
            let mut options = text.split(' ').filter_map(|option| option.split_once('='));
            options.find(|(own, _)| *own == name).map(|(_, value)| value).ok_or_else(|| format!("no option `{name}`"))
        };
        let default: Backend = option("default")?.parse()?;
        let allowed: Vec<Backend> = option("allow")?.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let on_unknown = OnUnknown::from_str(option("on-unknown")?, false)?;
        if !allowed.contains(&default) {
            return Err(format!("the default `{default}` is not allowed"));
        }
        Ok(Rule { variable: option("env-var")?.parse()?, default, allowed, on_unknown })
    }
}

/// What the patched code does with a backend name that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnUnknown {
    /// Log a warning and ignore the name
    Fallback,
    /// Raise ValueError; in Rust, return an error
    Error,
}

/// The name of an environment variable that a shell can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar(String);

impl EnvVar {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for EnvVar {
    fn default() -> Self {
        EnvVar("NIXL_BACKEND".into())
    }
}

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EnvVar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if first && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Ok(EnvVar(text.into()));
        }
        Err("use ASCII letters, digits and `_`; start with a letter or `_`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Backend::{Libfabric, Ucx};

    #[test]
    fn the_variable_is_read_as_the_contract_says() {
        let cases: [(Option<&str>, &[Backend]); 10] = [
            (None, &[Ucx]),
            (Some("  "), &[Ucx]),
            (Some("UCX"), &[Ucx]),
            (Some("LIBFABRIC"), &[Libfabric]),
            (Some("libfabric"), &[Libfabric]),
            (Some("LIBFABRIC,UCX"), &[Libfabric, Ucx]),
            (Some(" UCX , UCX"), &[Ucx]),
            (Some("BOGUS"), &[Ucx]),
            (Some("BOGUS,LIBFABRIC"), &[Libfabric]),
            (Some("\tlibfabric\r\n,\u{b}UCX\u{c}"), &[Libfabric, Ucx]),
        ];
        for (value, expected) in cases {
            assert_eq!(Rule::default().choose(value).backends, expected, "{value:?}");
        }
        let narrow = Rule { allowed: vec![Ucx], ..Rule::default() };
        assert_eq!(narrow.choose(Some("BOGUS,LIBFABRIC")).unknown, ["BOGUS", "LIBFABRIC"]);
    }

    #[test]
    fn letters_and_blanks_that_only_look_like_ascii_name_no_backend() {
        for value in ["l\u{131}bfabric", "L\u{130}BFABRIC", "\u{a0}LIBFABRIC", "LIBFABRIC\u{3000}", "\u{1c}LIBFABRIC"] {
            let choice = Rule::default().choose(Some(value));
            assert_eq!((choice.backends.as_slice(), choice.unknown.as_slice()), (&[Ucx][..], &[value.into()][..]));
        }
    }

    #[test]
    fn an_unknown_name_is_rejected_only_by_a_strict_rule() {
        let strict = Rule { on_unknown: OnUnknown::Error, ..Rule::default() };
        for (value, rejected) in [("BOGUS,UCX", true), ("UCX", false), ("", false)] {
            assert_eq!(strict.rejects(&strict.choose(Some(value))), rejected, "{value}");
            assert!(!Rule::default().rejects(&Rule::default().choose(Some(value))), "{value}");
        }
    }

    #[test]
    fn a_marker_writes_the_whole_rule() {
        let text = "default=UCX allow=UCX,LIBFABRIC on-unknown=fallback env-var=NIXL_BACKEND";
        assert_eq!(Rule::default().to_string(), text);
    }

    #[test]
    fn what_a_marker_writes_is_read_again() {
        let rule = Rule {
            variable: "MYB".parse().unwrap(),
            default: Libfabric,
            allowed: vec![Libfabric],
            on_unknown: OnUnknown::Error,
        };
        for rule in [rule, Rule::default()] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        for wrong in [
            "",
            "default=UCX allow=UCX on-unknown=fallback",
            "default=UCX allow=LIBFABRIC on-unknown=fallback env-var=X",
            "default=UCX allow=UCX on-unknown=maybe env-var=X",
        ] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn variable_names_are_a_shells() {
        assert!("NIXL_BACKEND".parse::<EnvVar>().is_ok());
        for wrong in ["", "1X", "A-B", "A B", "É"] {
            assert!(wrong.parse::<EnvVar>().is_err(), "{wrong}");
        }
    }
}
