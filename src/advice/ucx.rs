//! What a UCX cannot do: modules that are absent or not loadable, and what it was asked for in vain.

use std::path::Path;

use super::packages;
use crate::environment::ucx_modules::{RefusedModule, Ucx};
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// UCX's modules without which NIXL's work is slower or impossible, and what each is for.
const MODULES: [(&str, &str); 3] = [
    ("libuct_ib", "InfiniBand, RoCE and EFA"),
    ("libuct_cma", "copies between processes of one machine"),
    ("libuct_cuda", "GPU memory"),
];
/// The modules whose refusal is told.
const TOLD: [&str; 6] = ["libuct_ib", "libuct_ib_mlx5", "libuct_ib_efa", "libuct_rdmacm", "libuct_cma", "libuct_cuda"];

/// What this UCX cannot do on any machine.
pub(crate) fn modules(ucx: &Ucx, title: &str, has_efa: bool) -> Vec<Finding> {
    absent(ucx, title).into_iter().chain(refused(ucx, title, has_efa)).collect()
}

fn absent(ucx: &Ucx, title: &str) -> Option<Finding> {
    let absent: Vec<_> = MODULES.into_iter().filter(|(module, _)| !ucx.has(module)).collect();
    if absent.is_empty() {
        return None;
    }
    let names: Vec<String> = absent.iter().map(|(module, _)| format!("`{module}`")).collect();
    let without: Vec<&str> = absent.iter().map(|(_, purpose)| *purpose).collect();
    let mut consequence = format!("UCX cannot do {} in this image", without.join("; "));
    if !ucx.has("libuct_ib") {
        consequence.push_str(": between machines it uses TCP, on RDMA hardware too");
    }
    Some(Finding {
        id: "ucx-module-absent",
        severity: Severity::Warning,
        message: format!(
            "the UCX of {title} has no module {} in `{}`: absent",
            names.join(", "),
            ucx.folder.shown()
        ),
        consequence,
        cure: vec![
            "reinstall this NIXL (`pip install --force-reinstall --no-deps`), or install a UCX built with that support; \
             `UCX_MODULE_DIR` names another folder"
                .into(),
        ],
        path: Some(ucx.folder.clone()),
        line: None,
    })
}

fn refused(ucx: &Ucx, title: &str, has_efa: bool) -> Option<Finding> {
    let refused: Vec<&RefusedModule> = TOLD.iter().filter_map(|module| ucx.refusal(module)).collect();
    let first = refused.first()?;
    let mut libraries: Vec<&str> =
        refused.iter().flat_map(|module| &module.missing).map(|missing| missing.name.as_str()).collect();
    libraries.sort_unstable();
    libraries.dedup();
    let modules: Vec<String> = refused.iter().map(|module| format!("`{}`", name(&module.path))).collect();
    let listed: Vec<String> = libraries.iter().map(|library| format!("`{library}`")).collect();
    let is_efa_alone = refused.iter().all(|module| name(&module.path).starts_with("libuct_ib_efa"));
    let severity = if is_efa_alone && !has_efa { Severity::Note } else { Severity::Warning };
    Some(Finding {
        id: "ucx-module-not-loadable",
        severity,
        message: format!(
            "the UCX of {title} cannot load {}: {} {} not found",
            modules.join(", "),
            listed.join(", "),
            if listed.len() == 1 { "was" } else { "were" }
        ),
        consequence: format!(
            "UCX leaves {} out without a word: {}",
            if modules.len() == 1 { "it" } else { "them" },
            lost(&refused)
        ),
        cure: libraries.iter().flat_map(|library| install(library)).collect(),
        path: Some(first.path.clone()),
        line: None,
    })
}

fn lost(refused: &[&RefusedModule]) -> &'static str {
    let has = |module: &str| refused.iter().any(|refused| name(&refused.path).starts_with(&format!("{module}.so")));
    match () {
        () if has("libuct_ib") => "between machines it uses TCP, on InfiniBand, RoCE and EFA hardware too",
        () if has("libuct_ib_mlx5") => "NVIDIA's network cards are slower, or not used at all",
        () if has("libuct_ib_efa") => "on EFA hardware it uses TCP",
        () if has("libuct_cuda") => "it cannot use GPU memory",
        () => "what it is for is slower",
    }
}

/// How to get a library that one of UCX's modules needs.
fn install(library: &str) -> Vec<String> {
    // auditwheel's names have a hash: the library belongs into the wheel.
    if library.split(".so").next().is_some_and(|stem| stem.contains('-')) {
        return vec![format!(
            "reinstall this NIXL (`pip install --force-reinstall --no-deps`), which comes with `{library}`"
        )];
    }
    packages::cure(library)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Names that UCX was asked for and does not have. `setting` is the variable that asks, with its value.
pub(crate) fn unavailable(kind: &str, names: &[String], offered: Option<&str>, setting: Option<&str>) -> Finding {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let (plural, are) = if names.len() == 1 { ("", "is") } else { ("s", "are") };
    let asked = setting.map(|setting| format!(", which `{setting}` asks for")).unwrap_or_default();
    let offers = offered.map(|offered| format!(" ({offered})")).unwrap_or_default();
    Finding {
        id: "ucx-asked-unavailable",
        severity: Severity::Warning,
        message: format!("UCX says that {kind}{plural} {}{asked}, {are} not available", quoted.join(", ")),
        consequence: format!(
            "UCX has nothing but what is left of the list{offers}, and between machines that may be TCP"
        ),
        cure: vec![format!(
            "check the spelling; if the hardware is that of another machine, repeat this check there, and use `env -u {}` here",
            setting.and_then(|setting| setting.split('=').next()).unwrap_or("UCX_TLS")
        )],
        path: None,
        line: None,
    }
}

/// Variables that UCX does not know, or that no transport of this process reads.
pub(crate) fn unused_variables(variables: &[String]) -> Finding {
    let quoted: Vec<String> = variables.iter().map(|variable| format!("`{variable}`")).collect();
    Finding {
        id: "ucx-variable-unused",
        severity: Severity::Warning,
        message: format!("UCX says that nothing reads {}", quoted.join(", ")),
        consequence: "the setting has no effect here: its name is misspelled, or its transport is not available".into(),
        cure: vec!["check the spelling against `ucx_info -cf`, and whether its transport is available".into()],
        path: None,
        line: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::elf::needs::Missing;

    fn ucx(present: &[&str], refused: &[(&str, &str)]) -> Ucx {
        Ucx {
            folder: "/site/nixl_cu12.libs/ucx".into(),
            present: present.iter().map(std::string::ToString::to_string).collect(),
            refused: refused
                .iter()
                .map(|(module, library)| RefusedModule {
                    path: format!("/site/nixl_cu12.libs/ucx/{module}.so.0.0.0").into(),
                    missing: vec![Missing { name: library.to_string(), wanted_by: "/x".into() }],
                })
                .collect(),
            ..Ucx::default()
        }
    }

    const ALL: [&str; 5] = ["libuct_cma", "libuct_cuda", "libuct_ib", "libuct_ib_efa", "libuct_ib_mlx5"];

    #[test]
    fn a_complete_ucx_has_no_finding() {
        assert_eq!(modules(&ucx(&ALL, &[]), "nixl-cu12 1.5.0", false), []);
    }

    #[test]
    fn an_absent_module_is_named_with_what_it_is_for() {
        let [one] = modules(&ucx(&["libuct_cma"], &[]), "nixl-cu12 1.5.0", false).try_into().unwrap();
        assert!(one.message.contains("no module `libuct_ib`, `libuct_cuda` in `/site/nixl_cu12.libs/ucx`"), "{one:?}");
        assert!(one.consequence.contains("TCP, on RDMA hardware too"), "{one:?}");
        let [cuda] = modules(&ucx(&["libuct_cma", "libuct_ib"], &[]), "x", false).try_into().unwrap();
        assert!(!cuda.consequence.contains("TCP"), "{cuda:?}");
    }

    #[test]
    fn a_refused_module_is_named_with_the_library_it_misses() {
        let verbs = "libibverbs-1de1263b.so.1.14.48.0";
        let broken = ucx(&ALL, &[("libuct_ib", verbs), ("libuct_ib_mlx5", verbs)]);
        let [one] = modules(&broken, "nixl-cu12 1.5.0", false).try_into().unwrap();
        assert!(
            one.message.contains("`libuct_ib.so.0.0.0`, `libuct_ib_mlx5.so.0.0.0`: `libibverbs-1de1263b"),
            "{one:?}"
        );
        assert!(one.cure[0].starts_with("reinstall this NIXL") && one.cure.len() == 1, "{one:?}");
        assert_eq!(one.severity, Severity::Warning);
    }

    #[test]
    fn efa_alone_is_a_warning_where_efa_is() {
        let broken = ucx(&ALL, &[("libuct_ib_efa", "libefa.so.1")]);
        for (has_efa, severity) in [(false, Severity::Note), (true, Severity::Warning)] {
            let [one] = modules(&broken, "x", has_efa).try_into().unwrap();
            assert_eq!(one.severity, severity);
            assert!(one.cure[0].contains("ibverbs-providers") && one.consequence.contains("EFA"), "{one:?}");
        }
    }

    #[test]
    fn what_was_asked_for_in_vain_is_said_with_the_setting() {
        let one = unavailable("transport", &["rc".into()], Some("tcp"), Some("UCX_TLS=rc,tcp"));
        assert_eq!(one.message, "UCX says that transport `rc`, which `UCX_TLS=rc,tcp` asks for, is not available");
        assert!(one.consequence.contains("(tcp)") && one.cure[0].contains("env -u UCX_TLS"), "{one:?}");
    }
}
