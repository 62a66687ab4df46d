//! Looking at an environment before its interpreter has told what it imports.

use std::path::Path;

use anyhow::Result;

use crate::environment::python::target::{self, Environment, Execution, Takes};
use crate::environment::variables::Variables;
use crate::threads;

/// Resolves TARGET, and looks at the environment while its interpreter starts: at what its files say that the interpreter will
/// answer. Where it answers something else, the look is taken again.
///
/// # Errors
/// As [`target::resolve`].
pub(super) fn resolve_and_look<T>(
    target: &Path,
    takes: &Takes,
    execution: Execution,
    variables: &Variables,
    look: impl Fn(&Environment) -> T,
) -> Result<(Environment, T)> {
    let by_files = || {
        let expected = target::resolve(target, takes, Execution::Never, variables).ok()?;
        let seen = look(&expected);
        Some((expected, seen))
    };
    let start = || target::resolve(target, takes, execution, variables);
    let (early, environment) = threads::join(start, by_files);
    let environment = environment?;
    let early = early.filter(|(expected, _)| expected.imports_as(&environment));
    let seen = early.map_or_else(|| look(&environment), |(_, seen)| seen);
    Ok((environment, seen))
}
