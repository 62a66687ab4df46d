//! Several NIXLs in one image, and one that is used with parts of another.

use std::path::{Path, PathBuf};

use crate::environment::nixl::NixlInstallation;
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

fn finding(id: &'static str, severity: Severity, message: String, consequence: String, cure: String) -> Finding {
    Finding { id, severity, message, consequence, cure: vec![cure], path: None, line: None }
}

/// Which of several is tested.
pub(crate) fn several(tested: &NixlInstallation, all: &[NixlInstallation]) -> Option<Finding> {
    let others: Vec<String> = all.iter().filter(|other| *other != tested).map(located).collect();
    if others.is_empty() {
        return None;
    }
    Some(finding(
        "several-nixls",
        Severity::Note,
        format!("{} is tested; also here: {}", located(tested), others.join(", ")),
        "the result holds for the first alone; a process that loads another one behaves as that one does".into(),
        "pass another one's folder as TARGET of `nixl-retrofit smoke` to test it".into(),
    ))
}

/// `nixl-cu12 1.5.0 in /site/.nixl_cu12.mesonpy.libs`.
fn located(nixl: &NixlInstallation) -> String {
    let folder = nixl.library_dirs.first().map(|folder| folder.shown().to_string()).unwrap_or_default();
    match &nixl.version {
        Some(version) if nixl.name == folder => format!("NIXL {version} in `{folder}`"),
        Some(version) => format!("{} {version} in `{folder}`", nixl.name),
        None => format!("a NIXL of unknown version in `{folder}`"),
    }
}

/// The plugin folder is not the tested NIXL's own; `owner` is the one that it belongs to.
pub(crate) fn foreign_plugins(
    folder: &Path,
    named_by: &str,
    tested: &NixlInstallation,
    owner: Option<&NixlInstallation>,
) -> Finding {
    let whose = owner.map_or_else(|| "of no NIXL that is here".into(), |owner| format!("of {}", located(owner)));
    finding(
        "plugins-of-another-nixl",
        Severity::Warning,
        format!("{named_by} names the plugin folder `{}`, {whose}; {} is tested", folder.shown(), tested.title()),
        "plugins of another version may load, and fail or misbehave later".into(),
        format!(
            "unset {named_by}{}",
            tested.plugin_dir.as_ref().map(|own| format!(", or name `{}`", own.shown())).unwrap_or_default()
        ),
    )
}

/// Dynamo's compiled side does not find NIXL, or finds another one.
pub(crate) fn not_on_loader_path(capi: &Path, found: Option<&Path>) -> Finding {
    let folder = capi.parent().unwrap_or(Path::new("/")).shown();
    let register =
        format!("add `{folder}` to `LD_LIBRARY_PATH`, or to a file in `/etc/ld.so.conf.d` and run `ldconfig`");
    match found {
        None => finding(
            "capi-not-on-loader-path",
            Severity::Warning,
            format!("the dynamic loader does not find `libnixl_capi.so` by its name; it is in `{folder}`"),
            "Dynamo's compiled side looks for it there alone: frontend media decoding runs as a stub".into(),
            register,
        ),
        Some(found) => finding(
            "capi-of-another-nixl",
            Severity::Warning,
            format!("the dynamic loader finds `libnixl_capi.so` at `{}`, not at `{}`", found.shown(), capi.shown()),
            "Dynamo's compiled side uses another NIXL than its Python".into(),
            register,
        ),
    }
}

/// `LD_PRELOAD` names libraries of transfers.
pub(crate) fn preloaded(names: &[String]) -> Option<Finding> {
    if names.is_empty() {
        return None;
    }
    Some(finding(
        "preloaded-libraries",
        Severity::Warning,
        format!("`LD_PRELOAD` loads `{}` before all other libraries", names.join("`, `")),
        "they replace NIXL's own in every process, whatever their versions are".into(),
        "unset `LD_PRELOAD`, or set it for a workload too".into(),
    ))
}

/// Libraries that were loaded, and do not belong to the tested NIXL that brings its own.
pub(crate) fn mixed(tested: &NixlInstallation, loaded: &[PathBuf]) -> Option<Finding> {
    if loaded.is_empty() {
        return None;
    }
    let loaded: Vec<String> = loaded.iter().map(|path| format!("`{}`", path.shown())).collect();
    Some(finding(
        "mixed-libraries",
        Severity::Warning,
        format!("{} was run with {}, which does not belong to it", tested.title(), loaded.join(", ")),
        "libraries of different versions in one process may fail or misbehave later".into(),
        "remove the other NIXL's or UCX's folder from `LD_LIBRARY_PATH` and `LD_PRELOAD`".into(),
    ))
}
