//! `doctor`: what would be loaded here, what can work, and why not.

use anyhow::{Result, anyhow};

use super::console::Console;
use super::process::Process;
use crate::advice::explain;
use crate::cli::DoctorArgs;
use crate::doctor;
use crate::doctor::question::Subject;
use crate::environment::python::target::{self, Environment, Execution};
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::report::finding::Severity;

/// Examines the environment.
pub(super) fn run(args: &DoctorArgs, process: &Process) -> Result<ExitStatus> {
    let console = Console::new(&process.output, false);
    if let Some(id) = &args.explain {
        let Some(page) = explain::page(id) else { return console.finish(Report::new("doctor"), Err(unknown(id))) };
        console.source(page.as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    let mut report = Report::new("doctor");
    let outcome = examine(args, process, &console, &mut report);
    console.end_progress();
    console.finish(report, outcome)
}

fn unknown(id: &str) -> anyhow::Error {
    anyhow!(
        "no finding is called `{id}`\nhelp: the identifiers are {}",
        explain::identifiers().collect::<Vec<_>>().join(", ")
    )
}

fn examine(args: &DoctorArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    console.progress("doctor: looks");
    let execution = if process.no_exec { Execution::Never } else { Execution::Start("") };
    let question = args.question();
    let examine = |environment: &Environment| {
        let folders = environment.folders();
        let subject = Subject { import_path: &folders, variables: &process.variables, program: &process.program };
        doctor::examine(&subject, &question)
    };
    let (doctor, findings) = match &args.target {
        Some(target) => {
            let environment = target::resolve(target, execution, &process.variables)?;
            examine(&environment).ok_or_else(|| {
                anyhow!(
                    "{}: no NIXL is installed there\nhelp: install NIXL (`pip install nixl`), or pass another TARGET",
                    environment.label
                )
            })?
        }
        None => target::default_environment(execution, "NIXL", &process.variables, examine)?.1,
    };
    report.doctor = Some(doctor);
    findings.into_iter().for_each(|finding| report.add_finding(finding));
    let is_wrong = report.findings.iter().any(|finding| finding.severity != Severity::Note);
    Ok(if is_wrong { ExitStatus::Findings } else { ExitStatus::Success })
}
