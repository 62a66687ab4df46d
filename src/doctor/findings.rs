//! What is wrong, each with a stable identifier.

use std::path::PathBuf;

use super::inventory::Inventory;
use super::libraries::{Checked, Libraries, Role};
use super::question::{Fabric, Question};
use super::verdict::{self, Judged};
use crate::advice::loading;
use crate::choice::backend::Backend;
use crate::environment::elf::closure::Gap;
use crate::environment::libfabric;
use crate::report::finding::{Finding, Severity};
use crate::smoke::launch::load_command::Answer;

/// All of them: the image's, then the loader's, then, where asked for, the machine's.
pub(super) fn of(
    question: &Question,
    inventory: &Inventory,
    libraries: &Libraries,
    judged: &[Judged],
    chosen: &[Backend],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |finding: Finding| {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    };
    let backends =
        [Backend::Ucx, Backend::Libfabric].into_iter().filter(|it| judged.iter().any(|judged| judged.backend == *it));
    for backend in backends.filter(|backend| libraries.plugin(backend.name()).is_none()) {
        add(loading::no_plugin(&inventory.nixl().title(), backend.name(), &inventory.plugin_dir));
    }
    for (gap, needed_by) in gaps(&wanted(question, libraries)) {
        let severity = severity(question, chosen, &needed_by);
        add(Finding { severity, ..loading::gap(gap, &needed_by, inventory.elsewhere(gap).as_deref()) });
    }
    if is_asked(judged, Fabric::Rdma) || is_asked(judged, Fabric::Efa) {
        let two = verdict::two_libibverbs(inventory, libraries);
        two.into_iter().for_each(|(own, system)| add(loading::two_libibverbs(own, system)));
    }
    let is_about_efa = judged.iter().any(|it| it.backend == Backend::Libfabric && it.fabric == Fabric::Efa);
    if let Some((library, providers)) = libraries.without_efa().filter(|_| is_about_efa) {
        let is_wanted = question.fabric.is_some() || chosen.iter().chain(&question.backends).any(is_libfabric);
        let severity = if is_wanted { Severity::Error } else { Severity::Warning };
        add(loading::without_efa(severity, library, &libfabric::carriers(providers)));
    }
    disagreements(libraries).into_iter().for_each(&mut add);
    if question.expect_node {
        let lacks = judged.iter().flat_map(|judged| judged.lacks.iter().map(move |lack| (judged, lack)));
        lacks.for_each(|(judged, lack)| add(loading::machine_lacks(judged.backend.name(), judged.fabric.name(), lack)));
    }
    findings
}

/// An error is what keeps a backend from working that is chosen or asked for; the rest is a warning: nobody may want it.
fn severity(question: &Question, chosen: &[Backend], needed_by: &[PathBuf]) -> Severity {
    let is_plugin = |backend: &Backend| needed_by.iter().any(|path| path.ends_with(format!("libplugin_{backend}.so")));
    let is_wanted = chosen.iter().chain(&question.backends).any(is_plugin);
    if is_wanted || question.fabric.is_some() { Severity::Error } else { Severity::Warning }
}

fn is_libfabric(backend: &Backend) -> bool {
    *backend == Backend::Libfabric
}

fn is_asked(judged: &[Judged], fabric: Fabric) -> bool {
    judged.iter().any(|judged| judged.backend == Backend::Ucx && judged.fabric == fabric)
}

/// The libraries that the question is about. Plugins for storage are no transfer's.
fn wanted<'a>(question: &Question, libraries: &'a Libraries) -> Vec<&'a Checked> {
    let is_wanted = |checked: &&Checked| match &checked.role {
        Role::Plugin(name) => match name.as_str() {
            "UCX" => question.backends.is_empty() || question.backends.contains(&Backend::Ucx),
            "LIBFABRIC" => {
                (question.backends.is_empty() || question.backends.contains(&Backend::Libfabric))
                    && question.fabric.is_none_or(|fabric| [Fabric::Tcp, Fabric::Efa].contains(&fabric))
            }
            _ => false,
        },
        Role::Module(name) => {
            let for_fabric = match name.as_str() {
                "libuct_ib" => [Some(Fabric::Rdma), Some(Fabric::Efa)],
                "libuct_ib_mlx5" | "libuct_rdmacm" => [Some(Fabric::Rdma), None],
                "libuct_ib_efa" => [Some(Fabric::Efa), None],
                "libuct_cuda" => [Some(Fabric::Cuda), None],
                _ => return false,
            };
            for_fabric.into_iter().flatten().any(|fabric| question.is_about(Backend::Ucx, fabric))
        }
        Role::CApi => true,
        Role::Ucp | Role::Libfabric => false,
    };
    libraries.checked.iter().filter(is_wanted).collect()
}

/// Each gap once, with the libraries that cannot be loaded for it.
fn gaps<'a>(checked: &[&'a Checked]) -> Vec<(&'a Gap, Vec<PathBuf>)> {
    let mut found: Vec<(&Gap, Vec<PathBuf>)> = Vec::new();
    for checked in checked {
        for gap in checked.gaps() {
            match found.iter_mut().find(|(known, _)| same_cause(known, gap)) {
                Some((_, needed_by)) => needed_by.push(checked.path.clone()),
                None => found.push((gap, vec![checked.path.clone()])),
            }
        }
    }
    found.iter_mut().for_each(|(_, needed_by)| needed_by.dedup());
    found
}

/// Whether one repair mends both: whoever wants a missing library does not matter.
fn same_cause(one: &Gap, other: &Gap) -> bool {
    match (one, other) {
        (Gap::Missing { name, .. }, Gap::Missing { name: other, .. }) => name == other,
        (Gap::Version { path, version, .. }, Gap::Version { path: other, version: again, .. }) => {
            path == other && version == again
        }
        _ => one == other,
    }
}

/// Where the loader said something else than the files.
fn disagreements(libraries: &Libraries) -> Vec<Finding> {
    let mut findings = Vec::new();
    for checked in &libraries.checked {
        match (&checked.answer, checked.closure.gaps.is_empty()) {
            (Some(Answer::Refused(words)), true) => findings.push(loading::loader_refuses(&checked.path, words)),
            (Some(Answer::Loaded { .. }), false) => {
                findings.push(loading::loader_accepts(&checked.path, &checked.closure.gaps[0].describe()));
            }
            (Some(Answer::Ended(how)), true) => findings.push(loading::loading_ended(&checked.path, how)),
            _ => {}
        }
    }
    findings
}
