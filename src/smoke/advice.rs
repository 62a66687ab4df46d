//! What went wrong, in words, and what to do next.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::diagnosis;
use super::gpu;
use super::known_troubles::{advise_libraries, advise_words, describe_libraries, memory_lock};
use super::libraries::Libraries;
use super::native;
use super::plan::{Plan, spoken};
use super::protocol::{Cause, EngineKind, Role, Stage, Surrender};
use super::supervisor::{Ending, plugin_dir, plugin_file};
use crate::backend::{self, Backend};
use crate::report::Failure;

/// Describes how a transfer ended; `last_words` gives what a worker printed last.
pub(super) fn failure(
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
    Failure { stage: stage.name().into(), message: with_quotes(message, &quoted), advice }
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
    let advice = match stage {
        _ if plan.timeout.as_millis() < 5000 => {
            "Setting NIXL up takes a second or two: allow more with --timeout.".into()
        }
        Stage::Load | Stage::Agent | Stage::Backend => {
            "Allow more with --timeout if this machine is slow; otherwise a library hangs while it starts: look for \
             devices that do not answer (nvidia-smi, ibv_devinfo, fi_info) and run again with NIXL_LOG_LEVEL=DEBUG."
                .into()
        }
        Stage::Connect | Stage::Metadata => {
            "The agents do not reach each other: look at the interfaces (UCX_NET_DEVICES, \
             UCX_TLS) and the firewall between their addresses, and run again with UCX_LOG_LEVEL=debug."
                .into()
        }
        _ => "Allow more with --timeout, or move less with --size; if it hangs again with --size 1M, run with \
              UCX_LOG_LEVEL=debug."
            .into(),
    };
    Failure { stage: stage.name().into(), message, advice }
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
            let refused = if loader.is_some() { describe_libraries(plan, libraries) } else { String::new() };
            unusable(plan, name, function, *status, offered, loader.as_deref()) + &refused
        }
        Cause::Mismatch { operation, message, offset, expected, found, wrong, untouched, length } => {
            let direction = if operation == "READ" { "read from the target" } else { "written into the target" };
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
    match native::engine(plan) {
        (EngineKind::Nixl, _) | (_, None) => plan.nixl.title(),
        (_, Some(library)) => library.display().to_string(),
    }
}

fn unusable(plan: &Plan, name: &str, function: &str, status: i32, offered: &[String], loader: Option<&str>) -> String {
    let mut message = format!("NIXL cannot use the backend {name}: {function} returned {}", status_name(status));
    if let Some(dir) = plugin_dir(plan) {
        let there = match diagnosis::plugins(&dir) {
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

/// What Dynamo's readers meet: its media loader's agent, compiled into dynamo/_core.abi3.so, has UCX alone.
fn advise_common(plan: &Plan) -> String {
    let both: Vec<Backend> = plan.pair.initiator.iter().chain(&plan.pair.target).copied().collect();
    format!(
        "Give this side both, the preferred one first: NIXL_BACKEND={}. NIXL then takes whichever the other side has. (The \
         agent of Dynamo's frontend media loader is compiled with UCX alone: with one other backend here, every image that \
         it passes on is lost.)",
        backend::list(&both)
    )
}

fn damage(plan: &Plan) -> String {
    let damaged = diagnosis::damaged_libraries(plan);
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

fn advise(plan: &Plan, libraries: &Libraries, surrender: &Surrender, words: &[String]) -> String {
    match &surrender.cause {
        Cause::Loader(error) => advise_loader(plan, error),
        Cause::MissingFunction(_) if native::engine(plan).0 != EngineKind::Nixl => {
            "This library is too old for this program: install a newer one, or put its folder first in LD_LIBRARY_PATH.".into()
        }
        Cause::MissingFunction(_) => {
            "This libnixl_capi.so does not belong to a NIXL from 0.10.1 on: install nixl again, and look for another copy \
             in LD_LIBRARY_PATH."
                .into()
        }
        Cause::Backend { name, loader, .. } => advise_backend(plan, name, libraries, loader.as_deref(), words),
        Cause::Mismatch { .. } => {
            "Never run a workload over this path: it loses or changes data without an error. Try another transport \
             (UCX_TLS=tcp) to tell the fabric from NIXL, and report it with the output of -v."
                .into()
        }
        Cause::Gpu(trouble) => trouble.advise(),
        Cause::Memory(_) => "Move less with --size, or give the container more memory.".into(),
        Cause::Call { .. } | Cause::Library { .. } if surrender.stage == Stage::Register => {
            gpu::advise_library(plan, words).unwrap_or_else(memory_lock)
        }
        Cause::Library { function, .. } if function == "fi_enable" => {
            "libfabric cannot open an endpoint on that interface; its tcp provider refuses where there is none but the \
             loopback. Give the network namespace another one (docker run without --network=none; in a bare namespace, a \
             veth pair), and look at FI_TCP_IFACE."
                .into()
        }
        Cause::Library { .. } | Cause::NoProvider { .. } => {
            let known = || advise_words(plan, words).unwrap_or_else(|| advise_library(plan));
            gpu::advise_library(plan, words).unwrap_or_else(known)
        }
        Cause::Call { .. } if !plan.pair.has_common() => advise_common(plan),
        Cause::Call { .. } => advise_words(plan, words).unwrap_or_else(|| match surrender.stage {
            Stage::Metadata => "The agents have no backend in common, or the network devices that one of them offers cannot \
                 be reached by the other: look at UCX_NET_DEVICES and UCX_TLS."
                .into(),
            _ => "Run again with NIXL_LOG_LEVEL=DEBUG and UCX_LOG_LEVEL=debug in the environment and -v.".into(),
        }),
        Cause::Protocol(_) => "Run again; if it comes back, report it with the output of -v.".into(),
    }
}

/// For an error of UCX or libfabric themselves.
fn advise_library(plan: &Plan) -> String {
    match plan.backend() {
        Backend::Ucx => {
            "NIXL has no part in this: it is UCX that fails. Look at UCX_TLS and UCX_NET_DEVICES, and run again with \
             UCX_LOG_LEVEL=debug in the environment and -v."
                .into()
        }
        Backend::Libfabric => {
            "NIXL has no part in this: it is libfabric that fails. Look at FI_PROVIDER and what fi_info lists, and run \
             again with FI_LOG_LEVEL=info in the environment and -v."
                .into()
        }
    }
}

fn advise_loader(plan: &Plan, error: &str) -> String {
    let has = |part: &str| error.contains(part);
    if !diagnosis::damaged_libraries(plan).is_empty() || has("file too short") || has("invalid ELF header") {
        return "A library of this NIXL is damaged: install it again (pip install --force-reinstall --no-deps), without \
                its cache if that does not help, and see that the disk was not full."
            .into();
    }
    if has("cannot open shared object file: No such file") && has(".so") {
        return "The library is not where it was found a moment ago: something changes this environment.".into();
    }
    if has("version `") {
        return "A library found at run time is older than the one NIXL was built with: install the newer one, or see \
                which one LD_LIBRARY_PATH puts first."
            .into();
    }
    if has("undefined symbol") {
        return "Libraries of different NIXL versions are mixed: look for a second copy in LD_LIBRARY_PATH, and install \
                nixl again."
            .into();
    }
    "Install what the loader names, or put its folder into LD_LIBRARY_PATH.".into()
}

fn advise_backend(plan: &Plan, name: &str, libraries: &Libraries, loader: Option<&str>, words: &[String]) -> String {
    if let Some(error) = loader {
        if !diagnosis::damaged_libraries(plan).is_empty() {
            return advise_loader(plan, error);
        }
        if error.contains("libcuda.so.1") && !libraries.stand_ins.is_empty() {
            return "The stand-in for NVIDIA's driver library could not be loaded, most likely because a sandbox keeps a process \
                    from /proc/PID/fd of another one: run this where a driver is, or make the CUDA toolkit's stub \
                    (lib64/stubs/libcuda.so) known as libcuda.so.1."
                .into();
        }
        return advise_libraries(libraries).unwrap_or_else(|| advise_loader(plan, error));
    }
    let missing = plugin_dir(plan).is_some_and(|dir| !plugin_file(&dir, name).exists());
    if missing && (plan.plugin_dir.is_some() || std::env::var_os("NIXL_PLUGIN_DIR").is_some()) {
        return "Name the folder that holds this NIXL's plugins with --plugin-dir or NIXL_PLUGIN_DIR, or unset the latter."
            .into();
    }
    if missing {
        return "This NIXL comes without that plugin, or lost it: install it again, or choose another backend.".into();
    }
    if let Some(advice) = advise_words(plan, words) {
        return advice;
    }
    let mut advice = String::from("The plugin loads and then refuses to start, and its last words say why.");
    let restricting: Vec<String> = ["UCX_TLS", "UCX_NET_DEVICES", "FI_PROVIDER"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", std::env::var_os(name)?.to_string_lossy())))
        .collect();
    if !restricting.is_empty() {
        advice.push_str(&format!(" This environment restricts it to {}: try without.", restricting.join(", ")));
    }
    advice + " Run again with NIXL_LOG_LEVEL=DEBUG for more."
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

fn advise_dead(plan: &Plan, stage: Stage, status: ExitStatus) -> String {
    let damaged = diagnosis::damaged_libraries(plan);
    if stage <= Stage::Backend && !damaged.is_empty() {
        return format!("A library of this NIXL is damaged; install it again. {}", damaged.join("; "));
    }
    match status.signal() {
        Some(9) => {
            "Something killed it from outside, most often the kernel for lack of memory (see dmesg): each side needs \
             the payload's size and what NIXL takes. Try a smaller --size, or give the container more memory."
                .into()
        }
        Some(7) => {
            "A file or a shared-memory segment was smaller than expected: give the container more shared memory \
             (docker run --shm-size=1g), or install NIXL again."
                .into()
        }
        Some(31) => "A sandbox refuses a system call that the library needs: relax its seccomp profile.".into(),
        Some(4) => "The library uses processor instructions that this machine does not have.".into(),
        Some(_) => {
            "The crash is in the libraries that were loaded, not in this program: try the NIXL version that this \
             Dynamo names, and report it with the output of -v and NIXL_LOG_LEVEL=DEBUG."
                .into()
        }
        None => "Its last words should tell why it gave up; run again with NIXL_LOG_LEVEL=DEBUG for more.".into(),
    }
}
