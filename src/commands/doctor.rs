//! `doctor`: what would be loaded here, what can work, and why not.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use super::console::Console;
use super::early_look;
use super::process::Process;
use crate::advice::{explain, interpreter, media_loader};
use crate::choice::rule::Rule;
use crate::cli::DoctorArgs;
use crate::doctor::question::Subject;
use crate::doctor::{self, compare, repair, stale_record};
use crate::environment::python::target::{self, Environment, Execution, Takes};
use crate::exit_status::ExitStatus;
use crate::patching::{self, Purpose, Selection, Work};
use crate::report::Report;
use crate::report::file::FileReport;
use crate::report::finding::{Finding, Severity};
use crate::smoke;
use crate::threads;

/// Examines the environment.
pub(super) fn run(args: &DoctorArgs, process: &Process) -> Result<ExitStatus> {
    let console = Console::new(&process.output, false);
    if let Some(id) = &args.explain {
        let Some(page) = page(id) else { return console.finish(Report::new("doctor"), Err(unknown(id))) };
        console.source(page.as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    let mut report = Report::new("doctor");
    let outcome = examine(args, process, &console, &mut report);
    console.end_progress();
    console.finish(report, outcome)
}

/// The page of a finding; without an identifier, all of them.
fn page(id: &str) -> Option<Cow<'static, str>> {
    if id.is_empty() { Some(explain::list().into()) } else { explain::page(id).map(Cow::from) }
}

fn unknown(id: &str) -> anyhow::Error {
    let near: Vec<String> = explain::near_misses(id).into_iter().map(|near| format!("`{near}`")).collect();
    let meant = if near.is_empty() { String::new() } else { format!("; similar: {}", near.join(", ")) };
    anyhow!("no finding is called `{id}`{meant}\nhelp: run `nixl-retrofit doctor --explain` to list all of them")
}

fn examine(args: &DoctorArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    repair::check(&args.fix)?;
    let other = args.compare.as_deref().map(compare::read).transpose()?;
    let execution = if process.no_exec { Execution::Never } else { Execution::Start("") };
    let question = args.question();
    let look = |environment: &Environment| {
        console.progress("doctor: looks");
        let folders = environment.folders();
        doctor::examine(&subject(environment, &folders, process), &question)
    };
    let about = |environment: &Environment| question.is_about_everything().then(|| About::dynamo(environment, process));
    let look_at_all = |environment: &Environment| {
        let (examined, about) = threads::join(|| about(environment), || look(environment));
        examined.map(|examined| (examined, about))
    };
    let resolve_and_look = |path: &Path, takes: &Takes| {
        early_look::resolve_and_look(path, takes, execution, &process.variables, look_at_all)
    };
    let (environment, (mut examined, mut about_dynamo)) = match &args.target {
        Some(target) => {
            let (environment, seen) = resolve_and_look(target, &Takes::Nixl)?;
            let seen = seen.ok_or_else(|| no_nixl(&environment))?;
            (environment, seen)
        }
        None => target::first_default("NIXL", &process.variables, |path| resolve_and_look(path, &Takes::Sources))?,
    };
    let folders = environment.folders();
    let modules = || dynamo(&folders, process).into_iter().map(|file| file.path).collect::<Vec<PathBuf>>();
    let repairs = match (args.undo, args.fix.as_slice()) {
        (true, _) => repair::undo(&subject(&environment, &folders, process), &modules())?,
        (false, []) => Vec::new(),
        (false, ids) => repair::fix(&subject(&environment, &folders, process), ids, &modules())?,
    };
    if !repairs.is_empty() {
        (examined, about_dynamo) = look_at_all(&environment).ok_or_else(|| no_nixl(&environment))?;
        examined.0.repairs = repairs;
    }
    let (mut doctor, mut findings) = examined;
    if let Some(other) = &other {
        let (comparison, differences) = compare::compare(&doctor, other);
        doctor.comparison = Some(comparison);
        findings.extend(differences);
    }
    if let Some(about) = about_dynamo {
        report.files = about.files;
        findings.extend(about.stale_records?);
        findings.extend(about.findings);
    }
    report.doctor = Some(doctor);
    findings.into_iter().for_each(|finding| report.add_finding(finding));
    let is_wrong = report.findings.iter().any(|finding| finding.severity != Severity::Note);
    Ok(if is_wrong { ExitStatus::Findings } else { ExitStatus::Success })
}

/// What is told of Dynamo itself, beside the libraries.
struct About {
    files: Vec<FileReport>,
    stale_records: Result<Vec<Finding>>,
    findings: Vec<Finding>,
}

impl About {
    fn dynamo(environment: &Environment, process: &Process) -> About {
        let folders = environment.folders();
        let files = dynamo(&folders, process);
        let modules: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let stale_records = stale_record::findings(&folders, &modules);
        About { files, stale_records, findings: of_dynamo(environment, process) }
    }
}

/// Dynamo's modules as `check` sees them, without the diff. What `check` cannot read is told by `check`.
fn dynamo(folders: &[PathBuf], process: &Process) -> Vec<FileReport> {
    let has_dynamo = |folder: &&PathBuf| folder.join("dynamo").is_dir();
    let targets: Vec<PathBuf> = folders.iter().filter(has_dynamo).cloned().collect();
    if targets.is_empty() {
        return Vec::new();
    }
    let selection = Selection { only_nixl_connect: false, also: &[], known_only: false };
    let mut files = Vec::new();
    let planned = patching::plan(process.targets(&targets, selection), &Rule::default(), Purpose::Look, &mut files);
    files.extend(planned.map(Work::reports).unwrap_or_default());
    files.iter_mut().for_each(|file| file.diff.clear());
    files
}

fn subject<'a>(environment: &Environment, folders: &'a [PathBuf], process: &'a Process) -> Subject<'a> {
    let has_dynamo = environment.has_module();
    Subject { import_path: folders, has_dynamo, variables: &process.variables, program: &process.program }
}

/// What Dynamo's own module makes of the variables, and whether its Python can import NIXL.
fn of_dynamo(environment: &Environment, process: &Process) -> Vec<Finding> {
    let chosen = smoke::subject::Subject::of(environment, &[], &process.variables, true, &|_| None);
    let compiled = media_loader::finding(&environment.folders(), &chosen.rule, &process.variables);
    let broken = environment.not_started.as_ref().and_then(interpreter::finding);
    broken.into_iter().chain(chosen.all_findings().cloned()).chain(compiled).collect()
}

fn no_nixl(environment: &Environment) -> anyhow::Error {
    let label = &environment.label;
    anyhow!("{label}: no NIXL is installed there\nhelp: install NIXL (`pip install nixl`), or pass another TARGET")
}
