//! Describes a failed transfer: what happened, the library's last output, and what to do.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::advice::{advise, advise_dead, advise_late};
use super::damage::damaged_libraries;
use super::gpu;
use super::last_words::advise_words;
use super::quantity::{bytes, mebibytes};
use crate::advice::libraries::describe_libraries;
use crate::choice::backend;
use crate::environment::nixl;
use crate::report::smoke::Failure;
use crate::report::stage::Stage;
use crate::shown::Shown;
use crate::smoke::ending::{Ending, PeerLoss};
use crate::smoke::launch::libraries::Libraries;
use crate::smoke::plan::Plan;
use crate::smoke::plan::deadline;
use crate::smoke::plan::operation::Operation;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::{Cause, Surrender};
use crate::smoke::wire::worker::CHANNEL_LOST;

/// Describes how a transfer ended; `last_words` gives the last lines that a worker printed.
///
/// The message is one line with the fact; details and the library's own output follow in indented lines.
pub(crate) fn failure(
    plan: &Plan,
    libraries: &Libraries,
    ending: &Ending,
    last_words: &dyn Fn(Role) -> Vec<String>,
) -> Failure {
    match ending {
        Ending::NotStarted(error) => Failure {
            stage: Stage::Load,
            message: format!("cannot start a worker process: {error}"),
            advice: "check that /proc is mounted and that this user may start processes: the program starts itself again for \
                     each side"
                .into(),
        },
        Ending::Failed(role, surrender) => {
            let words = last_words(*role);
            Failure {
                stage: surrender.stage,
                message: with_output(describe(plan, libraries, *role, surrender), &words),
                advice: advise(plan, libraries, surrender, &words),
            }
        }
        Ending::Died(role, stage, status) => {
            let words = last_words(*role);
            let advice = advise_words(plan, &words).or_else(|| gpu::advise_dead(plan, *stage, *status));
            Failure {
                stage: *stage,
                message: with_output(ended(*role, *status, stage.activity()), &words),
                advice: advice.unwrap_or_else(|| advise_dead(plan, *stage, *status)),
            }
        }
        Ending::Broken(role, stage, error) => Failure {
            stage: *stage,
            message: with_output(
                format!("the {role} broke the control protocol while {}: {error}", stage.activity()),
                &last_words(*role),
            ),
            advice: "see what the worker printed: a library in its process closes or writes on descriptors that are not its own"
                .into(),
        },
        Ending::Deadline(stages) => late(plan, stages, last_words),
        Ending::ReportedByPeer(failure) => failure.clone(),
        Ending::PeerLost(role, stage, loss) => peer_lost(*role, *stage, loss),
    }
}

fn with_output(mut message: String, lines: &[String]) -> String {
    if !lines.is_empty() {
        message.push_str("\n  last output:");
    }
    for line in lines {
        message.push_str("\n    ");
        message.push_str(line);
    }
    message
}

fn late(plan: &Plan, stages: &[(Role, Stage); 2], last_words: &dyn Fn(Role) -> Vec<String>) -> Failure {
    let [(_, first), (_, second)] = stages;
    let stage = *first.min(second);
    let doing: Vec<String> =
        stages.iter().map(|(role, stage)| format!("the {role} was {}", stage.activity())).collect();
    let mut message = format!("no result within {}: {}", deadline::text(plan.timeout), doing.join(", "));
    let mut words = Vec::new();
    for (role, _) in stages {
        for line in last_words(*role) {
            message.push_str(&format!("\n  {role}: {line}"));
            words.push(line);
        }
    }
    // A library may try for ever what it has said that it cannot do.
    let advice = advise_words(plan, &words).unwrap_or_else(|| advise_late(plan, stage));
    Failure { stage, message, advice }
}

fn peer_lost(role: Role, stage: Stage, loss: &PeerLoss) -> Failure {
    let (what, advice) = match loss {
        PeerLoss::Disconnected(what) => (
            what,
            "check nixl-retrofit on that machine: it was killed (out of memory, a scheduler), the machine failed, or the \
             network between the two did",
        ),
        PeerLoss::Unreadable(what) => (what, "use the same nixl-retrofit on both machines"),
    };
    Failure { stage, message: format!("{what} while its {role} was {}", stage.activity()), advice: advice.into() }
}

fn describe(plan: &Plan, libraries: &Libraries, role: Role, surrender: &Surrender) -> String {
    let activity = surrender.stage.activity();
    match &surrender.cause {
        Cause::Loader(error) => {
            let needs = libraries.of_engine(plan.engine.library.as_deref());
            let missing = describe_libraries(&plan.nixl, &needs, &libraries.places());
            let details = damaged_libraries(plan).into_iter().chain(missing).collect();
            lines(format!("cannot load {}: {error}", loaded(plan)), details)
        }
        Cause::MissingFunction(name) => format!("{} has no function `{name}`", loaded(plan)),
        Cause::NoProvider { wanted, offered } => {
            let instead =
                if offered.is_empty() { "and no other".into() } else { format!("only {}", offered.join(", ")) };
            format!(
                "libfabric offers none of the providers {} for reliable datagrams with RMA{}, {instead}",
                wanted.join(", "),
                gpu::demand(plan),
            )
        }
        Cause::Library { function, status, words } => {
            format!("the {role} failed while {activity}: `{function}` returned {status} ({words})")
        }
        Cause::Call { function, status } => {
            let returned = format!("`{function}` returned {}", status_name(*status));
            format!("the {role} failed while {activity}: {returned}{}", nothing_in_common(plan))
        }
        Cause::Backend { name, function, status, offered, loader, .. } => {
            let fact = format!("NIXL cannot use the backend {name}: `{function}` returned {}", status_name(*status));
            lines(fact, unusable(plan, libraries, name, offered, loader.as_deref()))
        }
        Cause::Mismatch { operation, message, offset, expected, found, wrong, untouched, length } => {
            let direction = match operation {
                Operation::Read => "read from",
                Operation::Write => "written into",
            };
            format!(
                "the bytes {direction} the target are wrong, although it was notified: message {message}, first at byte \
                 {offset} of the payload (expected 0x{expected:02x}, found 0x{found:02x}), {wrong} of the message's {}{}",
                bytes(*length),
                as_before(*operation, *untouched, *wrong),
            )
        }
        Cause::Gpu(trouble) => gpu::describe(trouble, plan),
        Cause::Memory(size) => format!("the {role} cannot allocate {} for the payload", mebibytes(*size)),
        Cause::Protocol(error) => format!("the {role} lost step with the other side while {activity}: {error}"),
    }
}

fn lines(mut fact: String, details: Vec<String>) -> String {
    for detail in details {
        fact.push_str("\n  ");
        fact.push_str(&detail);
    }
    fact
}

/// How many of the wrong bytes are those from before the transfer. What the initiator has written is at both ends before the
/// read: which of them it is, and so whether anything was read, the bytes do not tell.
fn as_before(operation: Operation, untouched: u64, wrong: u64) -> String {
    match (operation, untouched) {
        (_, 0) => String::new(),
        (Operation::Write, some) if some == wrong => "; none of them was ever written".into(),
        (Operation::Write, some) => format!("; {some} of them were never written"),
        (Operation::Read, some) if some == wrong => "; all of them are what the initiator had written before".into(),
        (Operation::Read, some) => format!("; {some} of them are what the initiator had written before"),
    }
}

/// What the engine loads, for a sentence.
fn loaded(plan: &Plan) -> String {
    match &plan.engine.library {
        Some(library) if !plan.engine.is_nixl() => format!("`{}`", library.shown()),
        _ => plan.nixl.title(),
    }
}

/// What is known about a backend that NIXL cannot use.
fn unusable(plan: &Plan, libraries: &Libraries, name: &str, offered: &[String], loader: Option<&str>) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(plugins) = &plan.plugins {
        let contents = match nixl::plugins(&plugins.path) {
            None => "does not exist".into(),
            Some(names) if names.is_empty() => "contains no plugin".into(),
            Some(names) if names.iter().any(|other| other == name) => format!("contains `libplugin_{name}.so`"),
            Some(names) => format!("contains {}", names.join(", ")),
        };
        details.push(format!("the plugin directory `{}` {contents}", plugins.path.shown()));
    }
    if !offered.is_empty() && !offered.iter().any(|other| other == name) {
        details.push(format!("NIXL offers {}", offered.join(", ")));
    }
    details.extend(loader.map(|error| format!("the plugin cannot be loaded: {error}")));
    details.extend(damaged_libraries(plan));
    if loader.is_some() {
        details.extend(describe_libraries(&plan.nixl, &libraries.needs, &libraries.searched));
    }
    details
}

fn nothing_in_common(plan: &Plan) -> String {
    if plan.pair.has_common() {
        return String::new();
    }
    let [initiator, target] = [&plan.pair.initiator, &plan.pair.target].map(|backends| backend::list(backends));
    format!("; the initiator has only {initiator} and the target only {target}: they have no backend in common")
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

/// How a worker ended, as a sentence.
pub(super) fn ended(role: Role, status: ExitStatus, activity: &str) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the {role} was killed by {} while {activity}", signal_name(signal)),
        (_, Some(CHANNEL_LOST)) => {
            format!("the {role} lost its control channel while {activity}: a library in its process closed or used it")
        }
        (_, Some(code)) => format!("a library ended the {role}'s process with exit status {code} while {activity}"),
        _ => format!("the {role} ended ({status}) while {activity}"),
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
