//! The smoke transfer as `apply` and `smoke` run it.

use std::sync::Arc;

use super::console::Console;
use super::process::Process;
use crate::choice::rule::Rule;
use crate::environment::python::target::Environment;
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::smoke::plan::options::TransferOptions;
use crate::smoke::series::{self, Place, Series};
use crate::smoke::transfer;

/// Where a transfer is made for an environment.
pub(super) fn place(environment: &Environment, process: &Process) -> Place {
    Place {
        label: environment.label.clone(),
        import_path: environment.folders(),
        program: process.program.clone(),
        variables: Arc::clone(&process.variables),
    }
}

/// Makes the transfers. If none can be made, reports a failure if `required`, and a skipped transfer otherwise.
pub(super) fn run(
    place: &Place,
    options: &TransferOptions,
    rule: &Rule,
    required: bool,
    console: &Console,
    report: &mut Report,
) -> ExitStatus {
    let backends = series::backends(options, rule, &place.variables);
    let series = match Series::plan(place, options, &backends) {
        Ok(series) => series,
        Err(reason) => {
            report.add_smoke(series::not_made(&backends, reason, required));
            return if required { ExitStatus::Findings } else { ExitStatus::Success };
        }
    };
    let passed = series.run(
        required,
        &mut |plan| {
            let title = plan.pair.title();
            let smoke = transfer::run(plan, &mut |stage| console.progress(&format!("smoke {title}: {stage}")));
            console.end_progress();
            smoke
        },
        &mut |smoke| report.add_smoke(smoke),
    );
    if passed { ExitStatus::Success } else { ExitStatus::Findings }
}
