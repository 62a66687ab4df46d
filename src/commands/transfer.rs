//! The smoke transfer as `apply` and `smoke` run it.

use std::sync::Arc;

use super::console::Console;
use super::process::Process;
use crate::choice::backend::{self, Backend};
use crate::choice::rule::Rule;
use crate::environment::python::target::Environment;
use crate::environment::variables::Variables;
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

/// The backends to test: those named, or those that the rule chooses now.
pub(super) fn backends(options: &TransferOptions, rule: &Rule, variables: &Variables) -> Vec<Backend> {
    if !options.backends.is_empty() {
        return backend::distinct(&options.backends);
    }
    let value = variables.get(rule.variable.as_str()).map(|value| value.to_string_lossy());
    rule.choose(value.as_deref()).backends
}

/// Makes the transfers. Where none can be made, that is a failure if `required`, and said to be skipped if not.
pub(super) fn run(
    place: &Place,
    options: &TransferOptions,
    rule: &Rule,
    required: bool,
    console: &Console,
    report: &mut Report,
) -> ExitStatus {
    let backends = backends(options, rule, &place.variables);
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
            console.progress("");
            smoke
        },
        &mut |smoke| report.add_smoke(smoke),
    );
    if passed { ExitStatus::Success } else { ExitStatus::Findings }
}
