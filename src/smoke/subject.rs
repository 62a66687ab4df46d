//! What a transfer has to prove: what this image's Dynamo does, as its files tell before anything is loaded.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::plan::Plan;
use super::plan::options::TransferOptions;
use super::plan::plugins::NamedBy;
use crate::advice::backend_choice::Chooser;
use crate::advice::installed::Installed;
use crate::advice::nixl_import;
use crate::choice::backend::{self, Backend};
use crate::choice::rule::Rule;
use crate::environment::elf::loader;
use crate::environment::nixl;
use crate::environment::nixl_import::{ImportFailure, Importer};
use crate::environment::python::module;
use crate::environment::python::target::{self, Environment};
use crate::environment::variables::Variables;
use crate::python::nixl_default::{self, NixlDefault};
use crate::python::own_choice::{self, OwnChoice};
use crate::python::patch::PatchError;
use crate::report::file::ChoiceReport;
use crate::report::finding::{Finding, Severity};
use crate::report::smoke::{Failure, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::source::regular;
use crate::threads;

/// What is to be tested, and what is known of it without a transfer.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The backends to test, in order.
    pub backends: Vec<Backend>,
    /// The rule by which the file, or in an environment without one the patched code, reads the variable.
    pub rule: Rule,
    /// What a user should know besides.
    pub findings: Vec<Finding>,
    /// Why Dynamo creates no agent here, so that there is nothing to transfer.
    pub refusal: Option<Finding>,
    /// Why a transfer that passes proves nothing for Dynamo.
    pub obstacle: Option<Finding>,
    /// Whether Dynamo is there.
    has_dynamo: bool,
}

impl Subject {
    /// Reads what Dynamo's module in this environment chooses under these variables; `asked`, unless empty, takes its place.
    /// What keeps Dynamo from the backends fails the transfer if that is `required`, and is a warning otherwise. `patched` is
    /// the rule of a file that was just patched by it, which then need not be read again.
    pub(crate) fn of(
        environment: &Environment,
        asked: &[Backend],
        variables: &Variables,
        required: bool,
        patched: &dyn Fn(&Path) -> Option<Rule>,
    ) -> Subject {
        let mut subject = Subject {
            backends: Vec::new(),
            rule: Rule::default(),
            findings: Vec::new(),
            refusal: None,
            obstacle: None,
            has_dynamo: environment.has_module(),
        };
        let modules = target::require_modules(environment).unwrap_or_default();
        let file = modules.first().map(|module| module.path.as_path());
        subject.backends = subject.rule.choose(value(variables, subject.rule.variable.as_str())).backends;
        let choose = || {
            let chosen =
                file.and_then(|path| Some((path, patched(path).map(OwnChoice::Patched).or_else(|| choice(path))?)));
            if let Some((path, choice)) = chosen {
                let default = || nixl_default(environment);
                subject.judge(&File { path, variables, default: &default }, choice);
            }
        };
        // The one reads a hundred libraries, the other parses Dynamo's module.
        let ((), import) = threads::join(|| import_failure(environment, variables), choose);
        if !asked.is_empty() {
            subject.replace(backend::distinct(asked), file);
        }
        let import = import.map(|failure| nixl_import::finding(&failure));
        match import {
            Some(finding) if required => subject.obstacle = Some(finding),
            Some(finding) => subject.findings.push(Finding { severity: Severity::Warning, ..finding }),
            None => {}
        }
        subject
    }

    fn judge(&mut self, file: &File, choice: OwnChoice) {
        let whole = Chooser { path: file.path, line: None };
        match choice {
            OwnChoice::Patched(rule) => self.by_rule(file, rule),
            OwnChoice::Default => {
                let default = (file.default)();
                if let Some((variable, value)) = self.set_in_vain(file) {
                    self.findings.push(whole.not_read(&default.join(","), &variable, value));
                }
                self.take(whole, default, "as its default");
            }
            OwnChoice::Fixed { names, besides_default, line } => {
                let chooser = Chooser { line: Some(line), ..whole };
                if let Some((variable, value)) = self.set_in_vain(file) {
                    self.findings.push(chooser.fixed(&names, &variable, value));
                }
                let base = if besides_default { (file.default)() } else { Vec::new() };
                self.take(chooser, base.into_iter().chain(names).collect(), "whatever is set");
            }
            OwnChoice::Variable { read, besides_default, line } => {
                let base = if besides_default { (file.default)() } else { Vec::new() };
                self.by_own_reading(file, Chooser { line: Some(line), ..whole }, &read, base);
            }
            OwnChoice::Unclear { reason, line } => {
                self.findings.push(Chooser { line: Some(line), ..whole }.unclear(&reason, &self.backends));
            }
        }
    }

    /// The patched code's choice.
    fn by_rule(&mut self, file: &File, rule: Rule) {
        let chooser = Chooser { path: file.path, line: None };
        let value = value(file.variables, rule.variable.as_str());
        let choice = rule.choose(value);
        let written = value.unwrap_or_default();
        if rule.rejects(&choice) {
            self.refusal = Some(chooser.rejected_names(&rule, written, &choice));
        } else if !choice.unknown.is_empty() {
            self.findings.push(chooser.ignored_names(&rule, written, &choice));
        }
        if rule.variable != self.rule.variable
            && let Some((variable, value)) = self.set_in_vain(file)
        {
            self.findings.push(chooser.other_variable(rule.variable.as_str(), &variable, value));
        }
        self.backends = choice.backends;
        self.rule = rule;
    }

    /// The choice of a file that reads a variable in its own way.
    fn by_own_reading(&mut self, file: &File, chooser: Chooser, read: &ChoiceReport, base: Vec<String>) {
        if let Some(name) = &read.unbound {
            self.refusal = Some(chooser.unbound(name));
        }
        let Some(variable) = &read.variable else {
            let reason = "it reads an environment variable whose name is not a constant";
            return self.findings.push(chooser.unclear(reason, &self.backends));
        };
        if *variable != self.rule.variable.as_str()
            && let Some((unread, value)) = self.set_in_vain(file)
        {
            self.findings.push(chooser.other_variable(variable, &unread, value));
        }
        let set = value(file.variables, variable);
        let chosen = match set {
            Some(value) if !read.list && value.contains(',') && read.allowed.is_empty() => {
                self.refusal.get_or_insert_with(|| chooser.one_name(variable, value));
                vec![value.to_string()]
            }
            Some(value) if is_compared_in_vain(read, value) => read.default.iter().cloned().collect(),
            Some(value) if read.list => split(value),
            Some(value) => vec![value.to_string()],
            None => read.default.iter().flat_map(|default| split(default)).collect(),
        };
        let names: Vec<String> = base.into_iter().chain(chosen).collect();
        let names = if names.is_empty() { (file.default)() } else { names };
        let from = set.map_or_else(|| "its default".into(), |value| format!("because `{variable}` is `{value}`"));
        self.take(chooser, names, &from);
    }

    /// Tests these of what the file asks NIXL for.
    fn take(&mut self, chooser: Chooser, names: Vec<String>, from: &str) {
        let known: Vec<Backend> = names.iter().filter_map(|name| name.parse().ok()).collect();
        self.backends = backend::distinct(&known);
        if self.backends.is_empty() {
            self.refusal.get_or_insert_with(|| chooser.no_such_backend(&names, from));
            self.backends = vec![Backend::Ucx];
        }
    }

    /// The variable that users set for a patched file, with its value, where it is set and this file does not read it.
    fn set_in_vain<'v>(&self, file: &File<'v>) -> Option<(String, &'v str)> {
        let variable = self.rule.variable.as_str();
        let value = value(file.variables, variable).filter(|value| !backend::trim(value).is_empty())?;
        Some((variable.to_string(), value))
    }

    /// Tests these instead; what the file would have made of the variable is told.
    fn replace(&mut self, asked: Vec<Backend>, file: Option<&Path>) {
        let Some(path) = file else { return self.backends = asked };
        let chooser = Chooser { path, line: None };
        if let Some(refusal) = self.refusal.take() {
            self.findings.push(Finding { severity: Severity::Warning, ..refusal });
        } else if self.backends != asked {
            self.findings.push(chooser.not_asked_for(&asked, &format!("`{}`", backend::list(&self.backends))));
        }
        self.backends = asked;
    }

    /// For a NIXL that was named instead of an environment: no file chooses there.
    pub(crate) fn alone(options: &TransferOptions, variables: &Variables) -> Subject {
        let rule = Rule::default();
        let chosen = || rule.choose(value(variables, rule.variable.as_str())).backends;
        let backends = if options.backends.is_empty() { chosen() } else { backend::distinct(&options.backends) };
        Subject { backends, rule, findings: Vec::new(), refusal: None, obstacle: None, has_dynamo: false }
    }

    /// What is to be said of the NIXL that a plan uses, and of others beside it.
    pub(crate) fn installation(&self, plan: &Plan) -> Vec<Finding> {
        let named = plan.plugins.as_ref().and_then(|folder| {
            let by = match folder.named_by {
                NamedBy::Installation => return None,
                NamedBy::Option => "`--plugin-dir`",
                NamedBy::Variable => "`NIXL_PLUGIN_DIR`",
            };
            Some((folder.path.as_path(), by))
        });
        let installed = Installed {
            nixl: &plan.nixl,
            import_path: &plan.import_path,
            plugins: named,
            variables: &plan.variables,
            variable: self.rule.variable.as_str(),
            has_dynamo: self.has_dynamo,
            has_ucx: plan.pair.has(Backend::Ucx),
        };
        installed.findings()
    }

    /// All that was found.
    pub(crate) fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(&self.refusal).chain(&self.obstacle)
    }

    /// The result of a transfer for Dynamo: it fails where Dynamo cannot do what the libraries can.
    pub(crate) fn settle(&self, mut smoke: Smoke) -> Smoke {
        let Some(obstacle) = &self.obstacle else { return smoke };
        if smoke.status == SmokeStatus::Passed {
            smoke.status = SmokeStatus::Failed;
            smoke.failure = Some(failure(obstacle));
        } else {
            smoke.warnings.push(obstacle.in_words());
        }
        smoke
    }

    /// The report of a transfer that is not tried, because Dynamo creates no agent here.
    pub(crate) fn refused(&self) -> Option<Smoke> {
        let refusal = self.refusal.as_ref()?;
        Some(Smoke {
            status: SmokeStatus::Failed,
            backend: None,
            failure: Some(failure(refusal)),
            ..Smoke::nothing_observed("")
        })
    }
}

fn failure(finding: &Finding) -> Failure {
    Failure {
        stage: Stage::Import,
        message: format!("{}\n{}", finding.message, finding.consequence),
        advice: finding.cure.join("; "),
    }
}

/// Why this environment's Python cannot import the NIXL that is there.
fn import_failure(environment: &Environment, variables: &Variables) -> Option<ImportFailure> {
    let folders = environment.folders();
    // Whoever makes the transfer says so.
    if nixl::find(&folders).is_empty() {
        return None;
    }
    let version = environment.python_version();
    let library_path = variables.get("LD_LIBRARY_PATH").map(loader::split_path).unwrap_or_default();
    let is_complete = environment.has_python();
    Importer { folders: &folders, is_complete, version: version.as_deref(), library_path: &library_path }.failure()
}

/// Dynamo's module, and what it depends on.
struct File<'a> {
    path: &'a Path,
    variables: &'a Variables,
    /// NIXL's own default.
    default: &'a dyn Fn() -> Vec<String>,
}

/// What the module chooses; None where it creates no agent.
fn choice(path: &Path) -> Option<OwnChoice> {
    let bytes = regular::read(path).ok()?;
    let not_understood = |error: PatchError| OwnChoice::Unclear { reason: error.to_string(), line: 1 };
    own_choice::of(&bytes).unwrap_or_else(|error| Some(not_understood(error)))
}

/// A variable's value; None when it is not set. Bytes that are no UTF-8 name no backend.
fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

fn split(value: &str) -> Vec<String> {
    value.split(',').map(backend::trim).filter(|name| !name.is_empty()).map(String::from).collect()
}

/// Whether the file compares the value with names of which it is none.
fn is_compared_in_vain(read: &ChoiceReport, value: &str) -> bool {
    let is_one = |name: &String| read.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    !read.allowed.is_empty() && !split(value).iter().any(is_one)
}

/// The names of NIXL's own default; `UCX` in every release, and image builds may change it.
fn nixl_default(environment: &Environment) -> Vec<String> {
    let sources = module::nixl_sources(&environment.import_path);
    let text = |path: &PathBuf| String::from_utf8(regular::read(path).ok()?).ok();
    let default = sources.iter().find_map(|path| nixl_default::of(&text(path)?));
    match default {
        Some(NixlDefault::Names(names)) if !names.is_empty() => names,
        _ => vec![Backend::Ucx.name().into()],
    }
}
