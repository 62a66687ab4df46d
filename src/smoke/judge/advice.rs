//! What to do about a transfer that failed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use super::damage::damaged_libraries;
use super::gpu;
use super::last_words::advise_words;
use crate::advice::libraries::advise_libraries;
use crate::advice::machine::{died_of_shared_memory, memory_lock};
use crate::advice::variables::{bad_configuration, demanded_hardware};
use crate::choice::backend::{self, Backend};
use crate::environment::demands::{self, Demand};
use crate::environment::elf::shared_library::foreign_machine;
use crate::environment::nixl_config;
use crate::report::stage::Stage;
use crate::smoke::launch::libraries::Libraries;
use crate::smoke::plan::Plan;
use crate::smoke::plan::plugins::NamedBy;
use crate::smoke::wire::cause::{Cause, FI_ENABLE, Surrender};

/// For a worker that gave up; `words` are the last lines that it printed.
pub(crate) fn advise(plan: &Plan, libraries: &Libraries, surrender: &Surrender, words: &[String]) -> String {
    if let Some(advice) = advise_surroundings(plan, surrender) {
        return advice;
    }
    match &surrender.cause {
        Cause::Loader(error) => advise_library_search(plan, libraries, error),
        Cause::MissingFunction(_) => advise_missing_function(plan),
        Cause::Backend { name, loader, providers, .. } => {
            let outranked = advise_outranked(providers).filter(|_| loader.is_none());
            outranked.unwrap_or_else(|| advise_backend(plan, name, libraries, loader.as_deref(), words))
        }
        Cause::Mismatch { .. } => {
            "never run a workload over this path: it corrupts data without an error. Retry with `UCX_TLS=tcp` to tell the \
             fabric from NIXL, and report it with the output of `-v`."
                .into()
        }
        Cause::Gpu(trouble) => gpu::advise(trouble),
        Cause::Memory(_) => "reduce `--size`, or give the container more memory".into(),
        Cause::Call { .. } | Cause::Library { .. } if surrender.stage == Stage::Register => {
            let known = gpu::advise_library(plan, words).or_else(|| advise_words(plan, words)).or_else(memory_lock);
            known.unwrap_or_else(|| advise_call(surrender.stage))
        }
        Cause::Library { function, .. } if function == FI_ENABLE => {
            "give the network namespace an interface besides the loopback (`docker run` without `--network=none`; in a bare \
             namespace, a veth pair), and check `FI_TCP_IFACE`: libfabric cannot open an endpoint on this one"
                .into()
        }
        Cause::Library { .. } | Cause::NoProvider { .. } => {
            let known = || advise_words(plan, words).unwrap_or_else(|| advise_library(plan));
            gpu::advise_library(plan, words).unwrap_or_else(known)
        }
        Cause::Call { .. } if !plan.pair.has_common() => advise_common(plan),
        Cause::Call { .. } => advise_words(plan, words).unwrap_or_else(|| advise_call(surrender.stage)),
        Cause::Protocol(_) => "run again; if it happens again, report it with the output of `-v`".into(),
    }
}

/// What the files and variables around the libraries explain by themselves.
fn advise_surroundings(plan: &Plan, surrender: &Surrender) -> Option<String> {
    match &surrender.cause {
        Cause::Call { .. } if surrender.stage == Stage::Agent => {
            nixl_config::fault(&plan.variables).as_ref().map(bad_configuration)
        }
        Cause::Backend { loader: None, .. } | Cause::Call { .. } | Cause::Library { .. } | Cause::NoProvider { .. } => {
            demanded_hardware(&demands(plan))
        }
        _ => None,
    }
}

/// The hardware that the environment leaves the plan's backends, where it is not here.
fn demands(plan: &Plan) -> Vec<Demand> {
    let of_ucx = plan.pair.has(Backend::Ucx).then(|| demands::of_ucx(&plan.variables));
    let of_libfabric = plan.pair.has(Backend::Libfabric).then(|| demands::of_libfabric(&plan.variables));
    of_ucx.into_iter().chain(of_libfabric).flatten().collect()
}

/// For libfabric's providers in its order, where NIXL finds no device because it takes none of the first one's.
fn advise_outranked(providers: &[String]) -> Option<String> {
    let core = |provider: &String| provider.split(';').next().unwrap_or_default().to_string();
    let first = providers.first().map(core).filter(|first| !NIXL_PROVIDERS.contains(&first.as_str()))?;
    let usable = providers.iter().map(core).find(|provider| NIXL_PROVIDERS.contains(&provider.as_str()));
    let instead = usable.unwrap_or_else(|| "tcp".into());
    Some(format!(
        "set `FI_PROVIDER={instead}`, or `FI_PROVIDER=^{first}`, here and for the workload: libfabric offers `{first}` before \
         all others, and NIXL takes only {}",
        NIXL_PROVIDERS.join(", ")
    ))
}

/// The providers that NIXL's plugin takes.
const NIXL_PROVIDERS: [&str; 4] = ["cxi", "efa", "tcp", "sockets"];

/// For the engine's own library, which the dynamic loader refuses.
fn advise_library_search(plan: &Plan, libraries: &Libraries, error: &str) -> String {
    let damaged = !damaged_libraries(plan).is_empty();
    let missing = || advise_libraries(&libraries.of_engine(plan.engine.library.as_deref()));
    missing().filter(|_| !damaged).unwrap_or_else(|| advise_loader(plan, error))
}

fn advise_missing_function(plan: &Plan) -> String {
    if plan.engine.is_nixl() {
        "reinstall NIXL, and look for another copy of it in `LD_LIBRARY_PATH`: this `libnixl_capi.so` is not from NIXL 0.10.1 \
         or newer"
            .into()
    } else {
        "install a newer version of this library, or put its directory first in `LD_LIBRARY_PATH`".into()
    }
}

fn advise_call(stage: Stage) -> String {
    if stage == Stage::Metadata {
        "check `UCX_NET_DEVICES` and `UCX_TLS`: the agents have no backend in common, or one cannot reach the network devices \
         that the other offers"
            .into()
    } else {
        "run again with `-v`, and with `NIXL_LOG_LEVEL=DEBUG` and `UCX_LOG_LEVEL=debug` in the environment".into()
    }
}

/// Dynamo's media loader has this problem: its agent, compiled into dynamo/_core.abi3.so, has UCX alone.
fn advise_common(plan: &Plan) -> String {
    let both: Vec<Backend> = plan.pair.initiator.iter().chain(&plan.pair.target).copied().collect();
    format!(
        "give this side both backends, the preferred one first: `NIXL_BACKEND={}`. NIXL then takes the one that the other side \
         has. (The agent of Dynamo's frontend media loader is compiled with UCX alone: if this side has only another backend, \
         every image that the loader passes on is lost.)",
        backend::list(&both)
    )
}

/// For an error of UCX or libfabric themselves.
fn advise_library(plan: &Plan) -> String {
    match plan.backend() {
        Backend::Ucx => {
            "check `UCX_TLS` and `UCX_NET_DEVICES`, and run again with `-v` and `UCX_LOG_LEVEL=debug`: the failure is UCX's, \
             NIXL has no part in it"
                .into()
        }
        Backend::Libfabric => {
            "check `FI_PROVIDER` against what `fi_info` lists, and run again with `-v` and `FI_LOG_LEVEL=info`: the failure is \
             libfabric's, NIXL has no part in it"
                .into()
        }
    }
}

fn advise_loader(plan: &Plan, error: &str) -> String {
    let has = |part: &str| error.contains(part);
    if !damaged_libraries(plan).is_empty() || has("file too short") || has("invalid ELF header") {
        return "reinstall this NIXL (`pip install --force-reinstall --no-deps`, with `--no-cache-dir` if that does not help), \
                and check that the disk is not full: one of its libraries is damaged"
            .into();
    }
    if let Some(machine) = foreign_library(error) {
        return format!(
            "install the build for this machine's processor, or remove its folder from `LD_LIBRARY_PATH`: the library is for \
             {machine}, and this machine has {}",
            std::env::consts::ARCH
        );
    }
    let path = error.split(':').next().unwrap_or_default();
    if has("cannot open shared object file: No such file") && !path.contains('/') {
        return format!(
            "install the package that has `{path}`, or add its folder to `LD_LIBRARY_PATH` or to `/etc/ld.so.conf.d`: the \
             dynamic loader finds it nowhere"
        );
    }
    if has("cannot open shared object file: No such file") {
        return "find out what changes this environment: the library was there a moment ago".into();
    }
    if has("version `") {
        return "install a newer version of that library, or check which one `LD_LIBRARY_PATH` puts first: the one found is \
                older than the one NIXL was built with"
            .into();
    }
    if ["undefined symbol: ucp_", "undefined symbol: ucs_", "undefined symbol: uct_"].iter().any(|part| has(part)) {
        return "install the UCX that this NIXL was built with, or newer, or remove the folder of the older one from \
                `LD_LIBRARY_PATH`: the UCX that was found is older"
            .into();
    }
    if has("undefined symbol") {
        return "reinstall NIXL, and look for another copy of it in `LD_LIBRARY_PATH`: libraries of different NIXL versions \
                are mixed"
            .into();
    }
    "install what the loader names, or add its directory to `LD_LIBRARY_PATH`".into()
}

fn advise_backend(plan: &Plan, name: &str, libraries: &Libraries, loader: Option<&str>, words: &[String]) -> String {
    if let Some(error) = loader {
        return advise_plugin(plan, libraries, error);
    }
    let missing = plan.plugins.as_ref().filter(|plugins| !plugins.file(name).exists());
    if missing.is_some_and(|plugins| plugins.named_by != NamedBy::Installation) {
        return "name the directory that has this NIXL's plugins with `--plugin-dir` or `NIXL_PLUGIN_DIR`, or unset the variable"
            .into();
    }
    if missing.is_some() {
        return "reinstall this NIXL, or choose another backend: it came without that plugin, or has lost it".into();
    }
    advise_words(plan, words).unwrap_or_else(|| advise_refusing_plugin(plan))
}

/// For a plugin that the dynamic loader refuses.
fn advise_plugin(plan: &Plan, libraries: &Libraries, error: &str) -> String {
    if !damaged_libraries(plan).is_empty() {
        return advise_loader(plan, error);
    }
    if error.contains("libcuda.so.1") && !libraries.stand_ins.is_empty() {
        return "run this on a machine with NVIDIA's driver, or tell `ldconfig` about the CUDA toolkit's stub \
                (`lib64/stubs/libcuda.so`) as `libcuda.so.1`: the stand-in for the driver could not be loaded, most likely \
                because a sandbox hides other processes' /proc/PID/fd"
            .into();
    }
    advise_libraries(&libraries.needs).unwrap_or_else(|| advise_loader(plan, error))
}

/// The processor of a library that the loader names and that is there: for another processor, the loader says that there is
/// no such file.
fn foreign_library(error: &str) -> Option<String> {
    let path = error.split(": ").next().filter(|path| path.starts_with('/'))?;
    foreign_machine(Path::new(path))
}

/// For a plugin that loads and then refuses to start.
fn advise_refusing_plugin(plan: &Plan) -> String {
    let restricting = plan.variables.assignments(&["UCX_TLS", "UCX_NET_DEVICES", "FI_PROVIDER"]);
    if restricting.is_empty() {
        return "see the plugin's last output for why it loads and then refuses to start; `NIXL_LOG_LEVEL=DEBUG` shows more"
            .into();
    }
    let restricting: Vec<String> = restricting.iter().map(|assignment| format!("`{assignment}`")).collect();
    format!(
        "retry without {}, which restricts the plugin: it loads and then refuses to start. Its last output says why; \
         `NIXL_LOG_LEVEL=DEBUG` shows more.",
        restricting.join(", ")
    )
}

/// For a worker that ended without a message.
pub(crate) fn advise_dead(plan: &Plan, stage: Stage, status: ExitStatus) -> String {
    let damaged = damaged_libraries(plan);
    if stage <= Stage::Backend && !damaged.is_empty() {
        return format!("reinstall this NIXL, of which a library is damaged: {}", damaged.join("; "));
    }
    match status.signal() {
        Some(9) => {
            "try a smaller `--size`, or give the container more memory: something outside killed the process, most often the \
             kernel for lack of memory (see `dmesg`). Each side needs the payload's size and what NIXL takes."
        }
        Some(7 | 11) if stage <= Stage::Metadata && plan.pair.has(Backend::Ucx) && died_of_shared_memory().is_some() => {
            return died_of_shared_memory().unwrap_or_default();
        }
        Some(7) => {
            "give the container more shared memory (`docker run --shm-size=1g`), or reinstall NIXL: a file or a shared-memory \
             segment is smaller than expected"
        }
        Some(31) => "relax the sandbox's seccomp profile: it refuses a system call that the library needs",
        Some(4) => "install a build of the library for this processor: it uses instructions that this machine does not have",
        Some(_) => {
            "try the NIXL version that this Dynamo names, and report the crash with the output of `-v` and \
             `NIXL_LOG_LEVEL=DEBUG`: it is in the libraries that were loaded, not in nixl-retrofit"
        }
        None => "see its last output for why it gave up; `NIXL_LOG_LEVEL=DEBUG` shows more",
    }
    .into()
}

/// For a transfer that had no result at its deadline.
pub(crate) fn advise_late(plan: &Plan, stage: Stage) -> String {
    match stage {
        _ if plan.timeout.as_millis() < 5000 => {
            "allow more time with `--timeout`: NIXL's setup alone takes a second or two"
        }
        Stage::Load | Stage::Agent | Stage::Backend => {
            "allow more time with `--timeout` if this machine is slow. Otherwise a library hangs while it starts: look for a \
             device that does not answer (`nvidia-smi`, `ibv_devinfo`, `fi_info`), and run again with `NIXL_LOG_LEVEL=DEBUG`."
        }
        Stage::Connect | Stage::Metadata => {
            "check the interfaces (`UCX_NET_DEVICES`, `UCX_TLS`) and the firewall between the agents' addresses, and run again \
             with `UCX_LOG_LEVEL=debug`: the agents do not reach each other"
        }
        _ => {
            "allow more time with `--timeout`, or reduce `--size`; if it still hangs with `--size 1M`, run again with \
             `UCX_LOG_LEVEL=debug`"
        }
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_outranks_those_of_nixl_is_named() {
        let advice =
            |providers: &[&str]| advise_outranked(&providers.iter().map(ToString::to_string).collect::<Vec<_>>());
        let psm3 = advice(&["psm3"]).unwrap();
        assert!(psm3.contains("`FI_PROVIDER=tcp`") && psm3.contains("`FI_PROVIDER=^psm3`"), "{psm3}");
        assert!(advice(&["opx", "sockets"]).unwrap().contains("`FI_PROVIDER=sockets`"));
        assert_eq!(advice(&["tcp;ofi_rxm", "psm3"]), None);
        assert_eq!(advice(&[]), None);
    }
}
