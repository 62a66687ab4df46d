//! The smoke transfer as `apply` and `smoke` run it.

use std::path::Path;
use std::sync::Arc;

use super::console::Console;
use super::process::Process;
use crate::advice::media_loader;
use crate::environment::nixl::{self, NixlInstallation};
use crate::environment::program::group;
use crate::environment::python::target::Environment;
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::report::smoke::SmokeStatus;
use crate::shown::Shown;
use crate::smoke::series::{Place, Series};
use crate::smoke::subject::Subject;
use crate::smoke::transfer;

/// Where a transfer is made for an environment.
pub(super) fn place(environment: &Environment, process: &Process) -> Place {
    Place {
        label: environment.label.clone(),
        nixl: None,
        import_path: environment.folders(),
        program: process.program.clone(),
        variables: Arc::clone(&process.variables),
    }
}

/// Where a transfer is made with a NIXL that TARGET is.
pub(super) fn place_of(target: &Path, nixl: NixlInstallation, process: &Process) -> Place {
    Place {
        label: target.shown().to_string(),
        import_path: nixl::site_packages_of(&nixl).into_iter().collect(),
        nixl: Some(nixl),
        program: process.program.clone(),
        variables: Arc::clone(&process.variables),
    }
}

/// Adds what is known without a transfer.
pub(super) fn add_findings(environment: &Environment, subject: &Subject, process: &Process, report: &mut Report) {
    let compiled = media_loader::finding(&environment.folders(), &subject.rule, &process.variables);
    subject.all_findings().cloned().chain(compiled).for_each(|finding| report.add_finding(finding));
}

/// Adds what is known of the NIXL that is tested.
pub(super) fn add_installation(series: &Series, subject: &Subject, report: &mut Report) {
    let findings = series.plans.first().map(|plan| subject.installation(plan));
    findings.into_iter().flatten().for_each(|finding| report.add_finding(finding));
}

/// Makes the transfers.
pub(super) fn run(
    series: &Series,
    subject: &Subject,
    required: bool,
    console: &Console,
    report: &mut Report,
) -> ExitStatus {
    add_installation(series, subject, report);
    let mut settled = true;
    let passed = series.run(
        required,
        &mut |plan| {
            let title = plan.pair.title();
            let smoke = group::while_waiting(|| {
                transfer::run(plan, &mut |stage| console.progress(&format!("smoke {title}: {stage}")))
            });
            console.end_progress();
            smoke
        },
        &mut |smoke| {
            let smoke = subject.settle(smoke);
            settled &= smoke.status != SmokeStatus::Failed;
            report.add_smoke(smoke);
        },
    );
    if passed && settled { ExitStatus::Success } else { ExitStatus::Findings }
}
