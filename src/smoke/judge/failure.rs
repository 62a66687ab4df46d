//! What went wrong, in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::advice::{advise, advise_dead, advise_late};
use super::damage::damaged_libraries;
use super::gpu;
use super::last_words::advise_words;
use crate::advice::libraries::describe_libraries;
use crate::choice::backend;
use crate::environment::nixl;
use crate::report::smoke::Failure;
use crate::report::stage::Stage;
use crate::smoke::ending::Ending;
use crate::smoke::launch::libraries::Libraries;
use crate::smoke::plan::Plan;
use crate::smoke::plan::deadline::spoken;
use crate::smoke::plan::operation::Operation;
use crate::smoke::plan::plugins::PluginFolder;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::{Cause, Surrender};

/// Describes how a transfer ended; `last_words` gives what a worker printed last.
pub(crate) fn failure(
    plan: &Plan,
    libraries: &Libraries,
    ending: &Ending,
    last_words: &dyn Fn(Role) -> Vec<String>,
) -> Failure {
    let (stage, message, advice) = match ending {
        Ending::NotStarted(error) => (
            Stage::Load,
            format!("a worker process could not be started: {error}"),
            "This program starts itself again for each side; see that /proc is mounted and processes may be made."
                .into(),
        ),
        Ending::Failed(role, surrender) => (
            surrender.stage,
            describe(plan, libraries, *role, surrender),
            advise(plan, libraries, surrender, &last_words(*role)),
        ),
        Ending::Died(role, stage, status) => (
            *stage,
            died(*role, *stage, *status),
            advise_words(plan, &last_words(*role))
                .or_else(|| gpu::advise_dead(plan, *stage, *status))
                .unwrap_or_else(|| advise_dead(plan, *stage, *status)),
        ),
        Ending::Broken(role, stage, error) => (
            *stage,
            format!("the {role} could not be understood while {}: {error}", stage.activity()),
            "Something in its process disturbs the control channel on standard input; see what it printed.".into(),
        ),
        Ending::Deadline(stages) => return deadline(plan, stages, last_words),
        Ending::Told(failure) => return failure.clone(),
        Ending::Gone(role, stage, error) => (
            *stage,
            format!("{error} while the {role} there was {}", stage.activity()),
            "See what nixl-retrofit says on that machine: it was ended (for lack of memory, by a scheduler), the machine has \
             failed, or the network between the two."
                .into(),
        ),
    };
    let quoted = match ending {
        Ending::NotStarted(_) | Ending::Deadline(_) | Ending::Told(_) | Ending::Gone(..) => Vec::new(),
        Ending::Failed(role, _) | Ending::Died(role, ..) | Ending::Broken(role, ..) => last_words(*role),
    };
    Failure { stage, message: with_quotes(message, &quoted), advice }
}

fn with_quotes(mut message: String, lines: &[String]) -> String {
    if lines.is_empty() {
        return message;
    }
    message.push_str("; its last words:");
    for line in lines {
        message.push_str("\n  ");
        message.push_str(line);
    }
    message
}

fn deadline(plan: &Plan, stages: &[(Role, Stage); 2], last_words: &dyn Fn(Role) -> Vec<String>) -> Failure {
    let [(_, first), (_, second)] = stages;
    let stage = *first.min(second);
    let doing: Vec<String> =
        stages.iter().map(|(role, stage)| format!("the {role} was {}", stage.activity())).collect();
    let mut message = format!("no result within {}: {}", spoken(plan.timeout), doing.join(", "));
    for (role, _) in stages {
        for line in last_words(*role) {
            message.push_str(&format!("\n  {role}: {line}"));
        }
    }
    Failure { stage, message, advice: advise_late(plan, stage) }
}

fn describe(plan: &Plan, libraries: &Libraries, role: Role, surrender: &Surrender) -> String {
    match &surrender.cause {
        Cause::Loader(error) => format!("{} cannot be loaded: {error}{}", loaded(plan), damage(plan)),
        Cause::MissingFunction(name) => format!("{} lacks the function {name}", loaded(plan)),
        Cause::NoProvider { wanted, offered } => {
            let instead = if offered.is_empty() { "nothing".into() } else { offered.join(", ") };
            format!(
                "libfabric offers none of the providers {} for reliable datagrams with RMA{}, only {instead}",
                wanted.join(", "),
                gpu::demand(plan),
            )
        }
        Cause::Library { function, status, words } => {
            format!("the {role} failed while {}: {function} returned {status} ({words})", surrender.stage.activity())
        }
        Cause::Call { function, status } => {
            format!(
                "the {role} failed while {}: {function} returned {}{}",
                surrender.stage.activity(),
                status_name(*status),
                nothing_in_common(plan)
            )
        }
        Cause::Backend { name, function, status, offered, loader } => {
            let refused = if loader.is_some() {
                describe_libraries(&plan.nixl, &libraries.needs, &libraries.searched)
            } else {
                String::new()
            };
            unusable(plan, name, function, *status, offered, loader.as_deref()) + &refused
        }
        Cause::Mismatch { operation, message, offset, expected, found, wrong, untouched, length } => {
            let direction = match operation {
                Operation::Read => "read from the target",
                Operation::Write => "written into the target",
            };
            let never = match untouched {
                0 => String::new(),
                some if some == wrong => "; none of them was ever written".into(),
                some => format!("; {some} of them were never written"),
            };
            format!(
                "the bytes {direction} are wrong, although it was notified: message {message}, first at byte {offset} of \
                 the payload (expected 0x{expected:02x}, found 0x{found:02x}), {wrong} of the message's {length} bytes \
                 in all{never}"
            )
        }
        Cause::Gpu(trouble) => trouble.describe(plan),
        Cause::Memory(size) => format!("the {role} has no memory for {size} bytes of payload"),
        Cause::Protocol(error) => format!("the {role} got out of step while {}: {error}", surrender.stage.activity()),
    }
}

/// What the engine loads, in words.
fn loaded(plan: &Plan) -> String {
    match &plan.engine.library {
        Some(library) if !plan.engine.is_nixl() => library.display().to_string(),
        _ => plan.nixl.title(),
    }
}

fn unusable(plan: &Plan, name: &str, function: &str, status: i32, offered: &[String], loader: Option<&str>) -> String {
    let mut message = format!("NIXL cannot use the backend {name}: {function} returned {}", status_name(status));
    if let Some(PluginFolder { path: dir, .. }) = &plan.plugins {
        let there = match nixl::plugins(dir) {
            None => "which does not exist".into(),
            Some(names) if names.is_empty() => "which holds no plugin".into(),
            Some(names) if names.iter().any(|other| other == name) => format!("which holds libplugin_{name}.so"),
            Some(names) => format!("which holds {}", names.join(", ")),
        };
        message.push_str(&format!("; its plugin folder is {}, {there}", dir.display()));
    }
    if !offered.is_empty() && !offered.iter().any(|other| other == name) {
        message.push_str(&format!("; NIXL offers {}", offered.join(", ")));
    }
    if let Some(error) = loader {
        message.push_str(&format!("; the plugin cannot be loaded: {error}"));
    }
    message + &damage(plan)
}

fn nothing_in_common(plan: &Plan) -> String {
    if plan.pair.has_common() {
        return String::new();
    }
    let [initiator, target] = [&plan.pair.initiator, &plan.pair.target].map(|backends| backend::list(backends));
    format!("; the initiator has {initiator} alone and the target {target} alone: no backend is common to both")
}

fn damage(plan: &Plan) -> String {
    let damaged = damaged_libraries(plan);
    if damaged.is_empty() { String::new() } else { format!("; {}", damaged.join("; ")) }
}

/// `nixl_capi_status_t` of NIXL's wrapper.h.
fn status_name(status: i32) -> String {
    let name = match status {
        -1 => "invalid parameter",
        -2 => "backend error",
        -3 => "invalid state",
        -4 => "exception",
        -5 => "no telemetry",
        -6 => "not found",
        _ => return format!("{status}"),
    };
    format!("{status} ({name})")
}

fn died(role: Role, stage: Stage, status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the {role} was ended by {} while {}", signal_name(signal), stage.activity()),
        (_, Some(code)) => {
            format!("a library ended the {role}'s process with exit status {code} while {}", stage.activity())
        }
        _ => format!("the {role} ended ({status}) while {}", stage.activity()),
    }
}

fn signal_name(number: i32) -> String {
    let name = match number {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    format!("signal {number} ({name})")
}
