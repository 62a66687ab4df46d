//! What would be loaded here, what can work, and why not: read from files, then confirmed by the loader in processes of
//! their own.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `question` | what is asked |
//! | `inventory` | what is installed, and which of it a process gets |
//! | `components` | what is here, as the report lists it |
//! | `libraries` | the plugins and modules, and what each lacks |
//! | `machine` | devices, limits |
//! | `pins` | the versions of NIXL that distributions ask for |
//! | `verdict` | backend by backend, fabric by fabric |
//! | `stale_record` | RECORDs with another hash than the module has |
//! | `repair` | the few cures that are a link or a file of their own |
//! | `kept` | the name of a file that a repair has replaced |
//! | `compare` | this environment against the other end of the wire |
//! | `findings` | what is wrong, with its cure |
#![forbid(unsafe_code)]

pub(crate) mod compare;
mod components;
mod findings;
mod inventory;
mod kept;
mod libraries;
mod machine;
mod pins;
pub(crate) mod question;
pub(crate) mod repair;
pub(crate) mod stale_record;
mod verdict;

use crate::advice::installed::Installed;
use crate::advice::knobs::{self, Chosen};
use crate::advice::{efa_settings, variables as of_variables};
use crate::choice::backend::Backend;
use crate::choice::rule::Rule;
use crate::environment::demands;
use crate::environment::elf::loader::{self, Loader};
use crate::environment::nixl_config;
use crate::report::audit::Knob;
use crate::report::doctor::Doctor;
use crate::report::finding::{Finding, Severity};
use crate::threads;
use inventory::Inventory;
use libraries::Libraries;
use question::{Question, Subject};
use verdict::Judged;

/// Examines an environment. None when it has no NIXL.
pub(crate) fn examine(subject: &Subject, question: &Question) -> Option<(Doctor, Vec<Finding>)> {
    let own = subject.variables.get(LIBRARY_PATH).map(loader::split_path).unwrap_or_default();
    let loader = Loader::new(own);
    let inventory = Inventory::take(subject, &loader)?;
    let of_distributions = || {
        let knobs = knobs::installed(subject.import_path, subject.variables);
        (knobs, question.is_about_everything().then(|| pins::unsatisfied(subject.import_path)))
    };
    let (mut libraries, (knobs, unsatisfied_pins)) =
        threads::join(of_distributions, || Libraries::judge(&inventory, subject, &loader));
    if question.load {
        libraries.ask_the_loader(subject.program);
    }
    let machine = machine::look(subject.variables);
    let judged = verdict::judge(question, &inventory, &libraries, &machine);
    let mut findings = findings::of(question, &inventory, &libraries, &judged, &choice(subject));
    if question.is_about_everything() {
        findings.extend(settings(subject, &inventory, &knobs));
        findings.extend(unsatisfied_pins.into_iter().flatten());
        findings.extend(installed(subject, &inventory));
    }
    findings.extend(of_the_environment(subject, question, &judged));
    let doctor = Doctor {
        verdicts: judged.iter().map(verdict::Judged::report).collect(),
        components: components::list(&inventory, &libraries),
        libraries: libraries.report(),
        machine: machine.report(),
        variables: machine.variables.clone(),
        settings: knobs,
        efa_settings: efa_settings::settings(subject.variables),
        comparison: None,
        choice: choice(subject).iter().map(|backend| backend.name().to_string()).collect(),
        repairs: Vec::new(),
    };
    Some((doctor, findings))
}

/// The backends that `NIXL_BACKEND` chooses for a patched Dynamo.
fn choice(subject: &Subject) -> Vec<Backend> {
    let rule = Rule::default();
    let value = subject.variables.get(rule.variable.as_str()).map(|value| value.to_string_lossy());
    rule.choose(value.as_deref()).backends
}

/// What else is to be said of the NIXL that Python imports.
fn installed(subject: &Subject, inventory: &Inventory) -> Vec<Finding> {
    let rule = Rule::default();
    let named = subject.variables.non_empty(inventory::PLUGIN_DIR).map(|_| inventory.plugin_dir.as_path());
    let installed = Installed {
        nixl: inventory.nixl(),
        import_path: subject.import_path,
        plugins: named.map(|folder| (folder, "`NIXL_PLUGIN_DIR`")),
        variables: subject.variables,
        variable: rule.variable.as_str(),
        has_dynamo: subject.has_dynamo,
        has_ucx: true,
    };
    installed.findings()
}

/// NIXL's configuration file, and the variables that demand hardware.
fn of_the_environment(subject: &Subject, question: &Question, judged: &[Judged]) -> Vec<Finding> {
    let is_asked = |backend: Backend| judged.iter().any(|judged| judged.backend == backend);
    let severity = if question.expect_node { Severity::Error } else { Severity::Note };
    let mut demands = Vec::new();
    if is_asked(Backend::Ucx) {
        demands.extend(demands::of_ucx(subject.variables));
    }
    if is_asked(Backend::Libfabric) {
        demands.extend(demands::of_libfabric(subject.variables));
    }
    let bad = nixl_config::fault(subject.variables);
    let configuration = bad.iter().map(of_variables::configuration);
    configuration.chain(demands.iter().map(|demand| of_variables::demand(demand, severity))).collect()
}

/// Settings that contradict each other, or that nobody reads.
fn settings(subject: &Subject, inventory: &Inventory, installed: &[Knob]) -> Vec<Finding> {
    let mut chosen = knobs::chosen(installed);
    let own = Rule::default();
    let value = subject.variables.non_empty(own.variable.as_str()).map(|value| value.to_string_lossy().into_owned());
    chosen.extend(value.map(|value| Chosen::new("dynamo", own.variable.as_str(), &value)));
    let mut findings = knobs::disagreements(&chosen);
    findings.extend(knobs::without_plugin(&chosen, &inventory.nixl().title(), &inventory.plugins));
    findings.extend(knobs::unread(installed, subject.variables));
    findings
}

/// The folders that the dynamic loader searches first (ld.so(8)).
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
