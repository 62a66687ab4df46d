//! The inserted Python: a helper that reads the environment variable when an agent is created.
//!
//! It needs only the standard library, works on Python 3.9 and newer, and imports what it needs itself, whatever the
//! module imports. It is ASCII, so that it means the same in every encoding of Python source.

use crate::choice::backend::Backend;
use crate::choice::rule::{OnUnknown, Rule};

/// The helper's name, unless the file already uses it.
const BACKENDS_FUNCTION: &str = "_nixl_retrofit_backends";
/// The name of the function that makes a configuration where the file has no name for the class.
const CONFIGURATION_FUNCTION: &str = "_nixl_retrofit_agent_config";

/// The names of the inserted functions in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    suffix: String,
}

impl Names {
    /// Names that do not occur in the text.
    pub(crate) fn unused_in(text: &str) -> Self {
        let taken = |suffix: &str| {
            [BACKENDS_FUNCTION, CONFIGURATION_FUNCTION].iter().any(|name| text.contains(&format!("{name}{suffix}")))
        };
        let occurs = |name: &str| memchr::memmem::find(text.as_bytes(), name.as_bytes()).is_some();
        if !occurs(BACKENDS_FUNCTION) && !occurs(CONFIGURATION_FUNCTION) {
            return Names { suffix: String::new() };
        }
        let suffix = (2u32..).map(|number| format!("_{number}")).find(|suffix| !taken(suffix)).unwrap_or_default();
        Names { suffix }
    }

    /// The function that returns the list of backends.
    pub(crate) fn backends(&self) -> String {
        format!("{BACKENDS_FUNCTION}{}", self.suffix)
    }

    /// The function that makes a configuration of the class from the `number`th list of modules.
    pub(crate) fn configuration(&self, number: usize) -> String {
        let letter = if number == 0 { String::new() } else { format!("_of_{number}") };
        format!("{CONFIGURATION_FUNCTION}{}{letter}", self.suffix)
    }
}

/// The helper's source, with `\n` at the end of each line.
pub(crate) fn backends_function(name: &str, rule: &Rule) -> String {
    let variable = rule.variable.as_str();
    let default = rule.default.name();
    let allowed = quoted_list(&rule.allowed);
    let unknown = match rule.on_unknown {
        OnUnknown::Fallback => String::new(),
        OnUnknown::Error => format!(
            r#"    if unknown:
        raise ValueError("NIXL Connect: {variable} names unknown backend(s) %s; supported: %s" % (", ".join(unknown), ", ".join(allowed)))
"#
        ),
    };
    let warning = match rule.on_unknown {
        OnUnknown::Fallback => format!(
            r#"        for backend in unknown:
            logger.warning("NIXL Connect: Unknown backend %r in {variable} is ignored; supported: %s", backend, ", ".join(allowed))
"#
        ),
        OnUnknown::Error => String::new(),
    };
    format!(
        r#"def {name}(_logged={{}}):
    """Return the NIXL backends that {variable} names when an agent is created, {default} by default."""
    import logging
    import os

    allowed = {allowed}
    value = os.environ.get("{variable}")
    chosen, unknown = [], []
    for backend in (value or "").split(","):
        backend = backend.strip(" \t\n\r\v\f")
        if backend.isascii() and backend.upper() in allowed:
            if backend.upper() not in chosen:
                chosen.append(backend.upper())
        elif backend:
            unknown.append(backend)
{unknown}    chosen = chosen or ["{default}"]
    if value not in _logged:  # Log each value once: an agent may be created per transfer.
        _logged[value] = True
        logger = logging.getLogger(__name__)
{warning}        logger.info("NIXL Connect: Using backend(s): %s", chosen)
    return chosen
"#
    )
}

/// The source of a function that makes a configuration of the class from the first of `modules` that can be imported.
pub(crate) fn configuration_function(name: &str, modules: &[String]) -> String {
    format!(
        r#"def {name}(**arguments):
    """Return a nixl_agent_config from nixl_agent's own module, imported when an agent is created."""
{import}    return nixl_agent_config(**arguments)
"#,
        import = import_first(modules, "    ")
    )
}

fn import_first(modules: &[String], indent: &str) -> String {
    let [module, rest @ ..] = modules else { return String::new() };
    let import = format!("from {module} import nixl_agent_config\n");
    if rest.is_empty() {
        return format!("{indent}{import}");
    }
    let deeper = format!("{indent}    ");
    format!("{indent}try:\n{deeper}{import}{indent}except ImportError:\n{}", import_first(rest, &deeper))
}

fn quoted_list(backends: &[Backend]) -> String {
    let quoted: Vec<String> = backends.iter().map(|backend| format!("\"{backend}\"")).collect();
    match quoted.as_slice() {
        [one] => format!("({one},)"),
        many => format!("({})", many.join(", ")),
    }
}
