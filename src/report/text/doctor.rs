//! An examination in the text report: the verdict, what is here, what cannot be loaded.

use anstyle::Style;

use super::audit::knobs;
use super::page::Page;
use super::style::{BAD, BOLD, GOOD, WARNING};
use crate::report::doctor::{Comparison, Component, ComponentKind, Doctor, LibraryCheck, Machine, Outcome, Verdict};

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
    let version = version.as_deref().unwrap_or("");
    page.line(format_args!("  {kind:<12} {name} {version}"));
    page.line(format_args!("  {:<12} {}", "", path.display()));
    remarks.iter().for_each(|remark| page.line(format_args!("  {:<12} {remark}", "")));
}

fn kind(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Nixl => "NIXL",
        ComponentKind::Ucx => "UCX",
        ComponentKind::Libfabric => "libfabric",
        ComponentKind::Libibverbs => "libibverbs",
        ComponentKind::VerbsDriver => "verbs driver",
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
