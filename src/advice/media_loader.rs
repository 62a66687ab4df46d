//! The compiled media loader, which offers UCX alone, beside an agent that has LIBFABRIC alone.

use std::path::{Path, PathBuf};

use crate::choice::backend::Backend;
use crate::choice::rule::Rule;
use crate::environment::media_loader;
use crate::environment::variables::Variables;
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The finding for an environment whose import path has these folders, where the rule chooses LIBFABRIC alone under these
/// variables. The library is searched only then.
///
/// Measured with NIXL 1.0.1: a reader with LIBFABRIC fails against a peer with UCX, one with LIBFABRIC and UCX works.
pub(crate) fn finding(folders: &[PathBuf], rule: &Rule, variables: &Variables) -> Option<Finding> {
    let variable = rule.variable.as_str();
    let value = variables.get(variable).map(|value| value.to_string_lossy());
    if rule.choose(value.as_deref()).backends != [Backend::Libfabric] {
        return None;
    }
    let library = media_loader::find(folders)?;
    Some(Finding {
        id: "media-loader-no-common-backend",
        severity: Severity::Warning,
        message: format!(
            "`{}` has Dynamo's media loader, which offers UCX alone; `{variable}` chooses `LIBFABRIC` alone",
            library.shown()
        ),
        consequence: "frontend media decoding finds no common backend and fails".into(),
        cure: vec![format!("set `{variable}=LIBFABRIC,UCX`, which keeps both working")],
        path: Some(library),
        line: None,
    })
}

/// What `-v` says of the library: it is compiled, and what that means for the variable.
pub(crate) fn describe(library: &Path, rule: &Rule) -> String {
    format!(
        "compiled, left unchanged: {}; its media loader offers UCX whatever `{}` says, so keep `UCX` in the variable's list",
        library.shown(),
        rule.variable
    )
}
