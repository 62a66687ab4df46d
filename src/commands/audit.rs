//! `audit`: every place in a tree that chooses a NIXL backend.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::console::{Console, Counter};
use super::process::Process;
use crate::advice::{knobs, media_loader};
use crate::audit::{self, Progress, findings};
use crate::choice::rule::Rule;
use crate::cli::AuditArgs;
use crate::environment::python::module;
use crate::environment::python::target::{self, Environment, Execution};
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::shown::Shown;

/// How often the number of files is shown.
const SHOWN: usize = 1 << 10;

/// Looks at all files and shows what was found.
pub(super) fn run(args: &AuditArgs, process: &Process) -> Result<ExitStatus> {
    let mut report = Report::new("audit");
    let console = Console::new(&process.output, false);
    let outcome = audit(args, process, &console, &mut report);
    console.end_progress();
    console.finish(report, outcome)
}

fn audit(args: &AuditArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    let roots = roots(&args.roots, process)?;
    let mut found = audit::audit(&roots, &console.counter())?;
    if found.files == 0 {
        let roots: Vec<String> = roots.iter().map(|root| root.shown().to_string()).collect();
        bail!("no Python or Rust source in {}\nhelp: pass a folder that has some as ROOT", roots.join(", "));
    }
    found.knobs = knobs::installed(&roots, &process.variables);
    report.findings = findings::of(&found);
    report.findings.extend(media_loader::finding(&roots, &Rule::default(), &process.variables));
    let ignores = found.summary.ignores_settings > 0;
    report.audit = Some(found);
    Ok(if ignores { ExitStatus::Findings } else { ExitStatus::Success })
}

/// The folders to look at, none of them inside another one.
fn roots(named: &[PathBuf], process: &Process) -> Result<Vec<PathBuf>> {
    let execution = if process.no_exec { Execution::Never } else { Execution::Start("") };
    let mut all = Vec::new();
    for root in named {
        all.extend(target::audited(root, execution, &process.variables)?);
    }
    if named.is_empty() {
        let wanted =
            |it: &Environment| (it.has_module() || !module::nixl_sources(&it.import_path).is_empty()).then_some(());
        let (default, ()) = target::default_environment(execution, "NIXL or Dynamo", &process.variables, wanted)?;
        all = default.folders();
    }
    let real: Vec<PathBuf> = all.iter().map(|root| root.canonicalize().unwrap_or_else(|_| root.clone())).collect();
    let is_inside = |number: usize| {
        let others = real.iter().enumerate();
        let mut around = others
            .filter(|(other, path)| real[number].starts_with(path) && (*path != &real[number] || *other < number));
        around.any(|(other, _)| other != number)
    };
    Ok(all.iter().enumerate().filter(|(number, _)| !is_inside(*number)).map(|(_, root)| root.clone()).collect())
}

impl Progress for Counter {
    fn files(&self, count: usize) {
        if count.is_multiple_of(SHOWN) {
            self.show(&format!("looked at {count} files"));
        }
    }
}
