//! What to do about a transfer that failed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::damage::damaged_libraries;
use super::gpu;
use super::last_words::advise_words;
use crate::advice::libraries::advise_libraries;
use crate::advice::machine::memory_lock;
use crate::choice::backend::{self, Backend};
use crate::report::stage::Stage;
use crate::smoke::launch::libraries::Libraries;
use crate::smoke::plan::Plan;
use crate::smoke::plan::plugins::NamedBy;
use crate::smoke::wire::cause::{Cause, FI_ENABLE, Surrender};

/// For a worker that gave up; `words` are its last ones.
pub(crate) fn advise(plan: &Plan, libraries: &Libraries, surrender: &Surrender, words: &[String]) -> String {
    match &surrender.cause {
        Cause::Loader(error) => advise_loader(plan, error),
        Cause::MissingFunction(_) if !plan.engine.is_nixl() => {
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
        Cause::Library { function, .. } if function == FI_ENABLE => {
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
    if !damaged_libraries(plan).is_empty() || has("file too short") || has("invalid ELF header") {
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
        if !damaged_libraries(plan).is_empty() {
            return advise_loader(plan, error);
        }
        if error.contains("libcuda.so.1") && !libraries.stand_ins.is_empty() {
            return "The stand-in for NVIDIA's driver library could not be loaded, most likely because a sandbox keeps a process \
                    from /proc/PID/fd of another one: run this where a driver is, or make the CUDA toolkit's stub \
                    (lib64/stubs/libcuda.so) known as libcuda.so.1."
                .into();
        }
        return advise_libraries(&libraries.needs).unwrap_or_else(|| advise_loader(plan, error));
    }
    let missing = plan.plugins.as_ref().filter(|plugins| !plugins.file(name).exists());
    if missing.is_some_and(|plugins| plugins.named_by != NamedBy::Installation) {
        return "Name the folder that holds this NIXL's plugins with --plugin-dir or NIXL_PLUGIN_DIR, or unset the latter."
            .into();
    }
    if missing.is_some() {
        return "This NIXL comes without that plugin, or lost it: install it again, or choose another backend.".into();
    }
    if let Some(advice) = advise_words(plan, words) {
        return advice;
    }
    let mut advice = String::from("The plugin loads and then refuses to start, and its last words say why.");
    let restricting = plan.variables.assignments(&["UCX_TLS", "UCX_NET_DEVICES", "FI_PROVIDER"]);
    if !restricting.is_empty() {
        advice.push_str(&format!(" This environment restricts it to {}: try without.", restricting.join(", ")));
    }
    advice + " Run again with NIXL_LOG_LEVEL=DEBUG for more."
}

/// For a worker that ended without a word.
pub(crate) fn advise_dead(plan: &Plan, stage: Stage, status: ExitStatus) -> String {
    let damaged = damaged_libraries(plan);
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

/// For a transfer that had no result at its deadline.
pub(crate) fn advise_late(plan: &Plan, stage: Stage) -> String {
    match stage {
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
    }
}
