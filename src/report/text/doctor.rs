//! An examination in the text report: the verdict, what is here, what cannot be loaded.

use anstyle::Style;

use super::audit::knobs;
use super::page::Page;
use super::style::{BAD, BOLD, GOOD, WARNING};
use crate::report::doctor::{
    Comparison, Component, ComponentKind, Doctor, EfaSetting, LibraryCheck, Machine, Outcome, Verdict,
};
use crate::shown::Shown;

/// Shows an examination; with `verbose`, every library and the machine.
pub(crate) fn doctor(page: &mut Page, doctor: &Doctor, verbose: bool) {
    for repair in &doctor.repairs {
        page.line(format_args!("{BOLD}{}{BOLD:#}", repair.id));
        repair.steps.iter().for_each(|step| page.line(format_args!("  {step}")));
        page.line(format_args!(""));
    }
    doctor.verdicts.iter().for_each(|it| verdict(page, it));
    doctor.comparison.iter().for_each(|it| comparison(page, it));
    heading(page, "what is here");
    doctor.components.iter().filter(|it| verbose || is_short(it)).for_each(|it| component(page, it));
    heading(page, "plugins and modules");
    if verbose {
        doctor.libraries.iter().for_each(|it| library(page, it));
    } else {
        libraries(page, &doctor.libraries);
    }
    heading(page, "the machine");
    machine(page, &doctor.machine);
    knobs(page, &doctor.settings);
    if !doctor.variables.is_empty() {
        heading(page, "variables that the libraries read");
        doctor.variables.iter().for_each(|it| page.line(format_args!("  {}={}", it.name, it.value)));
    }
    if verbose {
        efa_settings(page, &doctor.efa_settings);
    }
    page.line(format_args!(""));
}

fn efa_settings(page: &mut Page, settings: &[EfaSetting]) {
    heading(page, "settings for EFA");
    for EfaSetting { name, recommended, purpose, source, value } in settings {
        let recommended = recommended.map(|value| format!("={value}")).unwrap_or_default();
        let value = value.as_ref().map_or("not set".into(), |value| format!("set to `{value}`"));
        page.line(format_args!("  {name}{recommended}: {value}"));
        page.line(format_args!("    {purpose} ({source})"));
    }
}

fn heading(page: &mut Page, text: &str) {
    page.line(format_args!(""));
    page.line(format_args!("{BOLD}{text}{BOLD:#}"));
}

fn comparison(page: &mut Page, comparison: &Comparison) {
    heading(page, "the other end");
    let version = |it: &Option<String>| it.clone().unwrap_or_else(|| "unknown".into());
    page.line(format_args!("  NIXL here {}, there {}", version(&comparison.nixl), version(&comparison.other_nixl)));
    let list = |names: &[String]| if names.is_empty() { "none".into() } else { names.join(", ") };
    page.line(format_args!("  backends that can work on both: {}", list(&comparison.common)));
    let (here, there) = (list(&comparison.choice), list(&comparison.other_choice));
    page.line(format_args!("  chosen here {here}, there {there}"));
}

fn verdict(page: &mut Page, verdict: &Verdict) {
    let Verdict { backend, fabric, reasons, .. } = verdict;
    let (style, words): (Style, &str) = match verdict.outcome {
        Outcome::Here => (GOOD, "works here"),
        Outcome::OnANode => (WARNING, "on a node with"),
        Outcome::Cannot => (BAD, "cannot work:"),
    };
    let [first, more @ ..] = reasons.as_slice() else {
        page.line(format_args!("{backend:<9}  {fabric:<4}  {style}{words}{style:#}"));
        return;
    };
    if verdict.outcome == Outcome::OnANode {
        page.line(format_args!("{backend:<9}  {fabric:<4}  {style}{words}{style:#} {}", reasons.join(", ")));
        return;
    }
    page.line(format_args!("{backend:<9}  {fabric:<4}  {style}{words}{style:#} {first}"));
    more.iter().for_each(|reason| page.line(format_args!("{:<17}{reason}", "")));
}

/// Every machine with rdma-core has 20 drivers.
fn is_short(component: &Component) -> bool {
    component.kind != ComponentKind::VerbsDriver
}

fn component(page: &mut Page, component: &Component) {
    let Component { name, version, path, remarks, .. } = component;
    let kind = kind(component.kind);
    let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    page.line(format_args!("  {kind:<12} {name}{version}"));
    page.line(format_args!("  {:<12} {}", "", path.shown()));
    remarks.iter().for_each(|remark| page.line(format_args!("  {:<12} {remark}", "")));
}

fn kind(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Nixl => "NIXL",
        ComponentKind::Ucx => "UCX",
        ComponentKind::Libfabric => "libfabric",
        ComponentKind::Libibverbs => "libibverbs",
        ComponentKind::VerbsDriver => "verbs driver",
        ComponentKind::EfaInstaller => "EFA",
        ComponentKind::CudaDriver => "CUDA driver",
        ComponentKind::CudaRuntime => "CUDA runtime",
        ComponentKind::Gdrcopy => "gdrcopy",
        ComponentKind::Dynamo => "Dynamo",
    }
}

/// Their names, those that can be loaded and those that cannot.
fn libraries(page: &mut Page, libraries: &[LibraryCheck]) {
    let loadable = |it: &&LibraryCheck| it.gaps.is_empty() && it.loaded != Some(false);
    let names = |found: Vec<&LibraryCheck>| found.iter().map(|it| it.role.as_str()).collect::<Vec<_>>().join(", ");
    let (good, bad): (Vec<_>, Vec<_>) = libraries.iter().partition(loadable);
    page.wrapped("  can be loaded: ", &names(good));
    if !bad.is_empty() {
        page.wrapped("  cannot be loaded (-v says why): ", &names(bad));
    }
}

fn library(page: &mut Page, library: &LibraryCheck) {
    let (style, words) = match (library.gaps.is_empty(), library.loaded) {
        (true, None) => (GOOD, "can be loaded"),
        (true, Some(true)) => (GOOD, "loads"),
        (true, Some(false)) => (BAD, "is refused"),
        (false, _) => (BAD, "cannot be loaded"),
    };
    page.line(format_args!("  {}: {style}{words}{style:#}", library.role));
    library.gaps.iter().for_each(|gap| page.line(format_args!("    {gap}")));
    if library.gaps.is_empty() && library.loaded == Some(false) {
        library.loader.iter().for_each(|words| page.line(format_args!("    {words}")));
    }
}

fn machine(page: &mut Page, machine: &Machine) {
    if machine.rdma_devices.is_empty() {
        page.line(format_args!("  no RDMA device"));
    }
    for device in &machine.rdma_devices {
        page.line(format_args!("  {} ({}): for {}", device.name, device.kind, device.for_backends.join(", ")));
    }
    machine.forbidden.iter().for_each(|path| page.line(format_args!("  {path}: no permission")));
    let limit = |value: Option<u64>| value.map_or("unlimited".into(), |bytes| format!("{} KiB", bytes >> 10));
    page.line(format_args!("  locked memory: {}", limit(machine.memory_lock_bytes)));
    if let (Some(size), Some(free)) = (machine.shared_memory_bytes, machine.shared_memory_free_bytes) {
        page.line(format_args!("  /dev/shm: {} MiB, {} MiB free", size >> 20, free >> 20));
    }
    let interfaces =
        if machine.interfaces.is_empty() { "none besides lo".into() } else { machine.interfaces.join(", ") };
    page.line(format_args!("  interfaces: {interfaces}"));
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;
    use crate::report::doctor::{Device, Repair, Setting};

    fn examined() -> Doctor {
        let verdict = |backend, fabric, outcome, reasons: &[&str]| Verdict {
            backend,
            fabric,
            outcome,
            reasons: reasons.iter().map(ToString::to_string).collect(),
        };
        let component = |kind, name: &str, version: Option<&str>, remarks: &[&str]| Component {
            kind,
            name: name.into(),
            version: version.map(Into::into),
            path: format!("/site/{name}").into(),
            remarks: remarks.iter().map(ToString::to_string).collect(),
        };
        let library = |role: &str, gaps: &[&str], loader: Option<&str>| LibraryCheck {
            role: role.into(),
            path: format!("/site/{role}").into(),
            gaps: gaps.iter().map(ToString::to_string).collect(),
            loader: loader.map(Into::into),
            loaded: loader.map(|words| words == "loaded"),
            providers: None,
        };
        let device = |name: &str, kind, for_backends| Device { name: name.into(), kind, for_backends };
        Doctor {
            verdicts: vec![
                verdict("UCX", "tcp", Outcome::Here, &[]),
                verdict("UCX", "cuda", Outcome::OnANode, &["NVIDIA's driver", "a GPU"]),
                verdict("LIBFABRIC", "efa", Outcome::Cannot, &["`libfabric.so.1` is missing", "another reason"]),
            ],
            components: vec![
                component(ComponentKind::Nixl, "nixl-cu13", Some("1.5.0"), &["Python imports it", "plugins UCX"]),
                component(ComponentKind::VerbsDriver, "libefa-rdmav34.so", None, &[]),
            ],
            libraries: vec![
                library("plugin UCX", &[], Some("loaded")),
                library("plugin LIBFABRIC", &["`libplugin_LIBFABRIC.so` needs `libfabric.so.1`"], Some("no such file")),
                library("module libuct_ib", &[], Some("undefined symbol: f")),
                library("module libuct_cma", &[], None),
            ],
            machine: Machine {
                rdma_devices: vec![device("rdmap0s6", "EFA", vec!["LIBFABRIC", "UCX"])],
                forbidden: vec!["/dev/infiniband/uverbs0".into()],
                interfaces: vec!["eth0".into()],
                memory_lock_bytes: Some(8 << 20),
                shared_memory_bytes: Some(64 << 20),
                shared_memory_free_bytes: Some(60 << 20),
                ..Machine::default()
            },
            variables: vec![Setting { name: "UCX_TLS".into(), value: "rc".into(), read_by: "UCX" }],
            efa_settings: vec![EfaSetting {
                name: "FI_PROVIDER",
                recommended: Some("efa"),
                purpose: "no other provider",
                source: "AWS",
                value: None,
            }],
            comparison: Some(Comparison {
                nixl: Some("1.5.0".into()),
                other_nixl: None,
                common: vec!["UCX".into()],
                choice: vec!["UCX".into()],
                other_choice: Vec::new(),
            }),
            repairs: vec![Repair { id: "two-libibverbs", steps: vec!["/a is a link to /b".into()] }],
            ..Doctor::default()
        }
    }

    #[test]
    fn an_examination_is_shown() {
        insta::assert_snapshot!(shown(|page| super::doctor(page, &examined(), false)));
        insta::assert_snapshot!(shown(|page| super::doctor(page, &examined(), true)));
    }

    #[test]
    fn the_lines_of_this_program_fit_a_terminal() {
        let text = shown(|page| super::doctor(page, &examined(), true));
        let long: Vec<&str> =
            text.lines().filter(|line| line.chars().count() > 80 && !line.contains("/site/")).collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}
