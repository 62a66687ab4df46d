//! An import of NIXL that fails.

use crate::environment::nixl_import::{ImportCause, ImportFailure};
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The finding for it.
pub(crate) fn finding(failure: &ImportFailure) -> Finding {
    Finding {
        id: "nixl-import-fails",
        severity: Severity::Error,
        message: failure.words.clone(),
        consequence:
            "`from nixl._api import nixl_agent` fails in this environment's Python: Dynamo creates no agent, whatever \
                      its libraries can do"
                .into(),
        cure: vec![cure(&failure.cause)],
        path: None,
        line: None,
    }
}

fn cure(cause: &ImportCause) -> String {
    match cause {
        ImportCause::NoPackage => {
            "install the package `nixl` (`pip install nixl`) with the version of the wheel: `nixl-cu12` or `nixl-cu13` alone \
             has no module `nixl`"
                .into()
        }
        ImportCause::NoWheel { wanted, present } if present.is_empty() => format!("install `{wanted}`"),
        ImportCause::NoWheel { wanted, present } => format!(
            "install `{wanted}` (`pip install {wanted}`), or a torch for the CUDA version of `{}`, which is here",
            present.join("`, `")
        ),
        ImportCause::OtherPython { wheel, files } if files.is_empty() => {
            format!("reinstall `{wheel}`: its compiled part `_bindings` is not there")
        }
        ImportCause::OtherPython { wheel, files } => {
            format!("reinstall `{wheel}` with the Python that runs Dynamo: `{}` is for another one", files.join("`, `"))
        }
        ImportCause::NoDependency(package) => format!("install `{package}` (`pip install {package}`), which NIXL imports"),
        ImportCause::NoLibrary { name, wanted_by } => format!(
            "install the library that `{}` needs, or add its folder to `LD_LIBRARY_PATH`: `{name}` was not found",
            wanted_by.shown()
        ),
    }
}
