//! Known failures of libraries and fabrics, recognized by the last lines that a worker printed, and what to do.

use crate::advice::machine::{memory_lock, open_files};
use crate::choice::backend::Backend;
use crate::environment::fabric_devices::{FabricDevices, interfaces};
use crate::shown::Shown;
use crate::smoke::plan::Plan;

/// What this machine offers to a fabric.
struct Machine {
    devices: FabricDevices,
    interfaces: Vec<String>,
}

/// What to do, if the last lines that a worker printed are known.
pub(crate) fn advise_words(plan: &Plan, words: &[String]) -> Option<String> {
    advise_on(plan, words, &|| Machine { devices: FabricDevices::look(), interfaces: interfaces() })
}

fn advise_on(plan: &Plan, words: &[String], machine: &dyn Fn() -> Machine) -> Option<String> {
    let has = |part: &str| words.iter().any(|line| line.contains(part));
    if has("request to allocate mask for invalid number") {
        return Some(
            "use another libfabric, for example the EFA installer's (`--library-path /opt/amazon/efa/lib`): this one asks \
             libnuma for what libnuma cannot give, and libnuma ends the process (Debian 13's libfabric1 does this below \
             NIXL 1.5.0, whatever `FI_PROVIDER` says)"
                .into(),
        );
    }
    if has("Too many open files") {
        return Some(open_files());
    }
    if let Some(advice) = advise_sandboxed(words) {
        return Some(advice);
    }
    if has("max locked memory")
        && let Some(advice) = memory_lock()
    {
        return Some(advice);
    }
    if !plan.pair.has(Backend::Libfabric) {
        return None;
    }
    if (has("Cannot allocate memory") || has("RLIMIT_MEMLOCK") || has("memlock"))
        && let Some(advice) = memory_lock()
    {
        return Some(advice);
    }
    let Machine { devices, interfaces } = machine();
    if !devices.efa().is_empty() && !devices.forbidden.is_empty() {
        return Some(format!(
            "run as a user who may open the EFA devices, or give them to the container with read and write permission \
             (`docker run --device`): {} exist, and this user may not open {}",
            devices.efa().join(", "),
            devices.forbidden.iter().map(|path| path.shown().to_string()).collect::<Vec<_>>().join(", "),
        ));
    }
    if interfaces.is_empty() || has("fi_enable failed") && has("Bad file descriptor") {
        return Some(
            "run this with a network (`docker run` without `--network none`), or on a machine with EFA give the container its \
             devices: the loopback is the only usable interface, and libfabric's tcp provider does not use it"
                .into(),
        );
    }
    if has("fi_getinfo failed") || has("No network devices found") {
        let restricting = plan.variables.assignments(&["FI_PROVIDER"]);
        let restricted =
            restricting.first().map(|value| format!("; this environment sets `{value}`")).unwrap_or_default();
        return Some(format!(
            "run again with `FI_LOG_LEVEL=warn`, and check that libfabric finds its provider modules (`lib*-fi.so`, \
             `FI_PROVIDER_PATH`): it offers no provider that this NIXL takes (cxi, efa, tcp, sockets){restricted}"
        ));
    }
    None
}

/// Calls that container runtimes and sandboxes refuse: those of set_mempolicy(2) by Docker's default filter without
/// CAP_SYS_NICE, those of process_vm_readv(2) without CAP_SYS_PTRACE or by Yama.
fn advise_sandboxed(words: &[String]) -> Option<String> {
    let refused = |line: &&String| line.contains("not permitted") || line.contains("not implemented");
    let refuses =
        |calls: &[&str]| words.iter().filter(refused).any(|line| calls.iter().any(|call| line.contains(call)));
    if refuses(&["mempolicy", "mbind", "move_pages", "migrate_pages", "numa"]) {
        return Some(
            "give the container CAP_SYS_NICE (`docker run --cap-add SYS_NICE`; in Kubernetes \
             `securityContext.capabilities.add`) or another seccomp profile: a sandbox refuses the calls that place memory on \
             a NUMA node"
                .into(),
        );
    }
    let has_no_cma = words.iter().any(|line| line.contains("transport 'cma' is not available"));
    if has_no_cma || refuses(&["process_vm_", "ptrace", "cma"]) {
        return Some(
            "give the container CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`), check `kernel.yama.ptrace_scope`, or do \
             without cma (`UCX_TLS=^cma`): UCX's cma transport reads another process's memory, which a sandbox refuses"
                .into(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::plan::tests::plan;

    fn advice(words: &str, efa: Option<bool>, interfaces: &[&str]) -> Option<String> {
        let machine = || Machine {
            devices: FabricDevices::with_efa(efa),
            interfaces: interfaces.iter().map(std::string::ToString::to_string).collect(),
        };
        advise_on(&plan(Backend::Libfabric), &[words.to_string()], &machine)
    }

    #[test]
    fn the_machines_devices_explain_a_vague_message() {
        let nothing = "E1123 0:0 1 libfabric_common.cpp:111] No network devices found with any provider";
        assert!(advice(nothing, None, &[]).unwrap().contains("loopback"));
        assert!(advice(nothing, None, &["eth0"]).unwrap().contains("FI_LOG_LEVEL"));
        let forbidden = advice(nothing, Some(false), &["eth0"]).unwrap();
        assert!(
            forbidden.contains("rdmap0s6") && forbidden.contains("may not open /dev/infiniband/uverbs0"),
            "{forbidden}"
        );
        assert!(!advice(nothing, Some(true), &["eth0"]).unwrap().contains("may not open"));
        assert_eq!(advice("something else", Some(true), &["eth0"]), None);
    }

    #[test]
    fn known_messages_are_recognized() {
        let words = |text: &str| vec![text.to_string()];
        let policy = words("set_mempolicy: Operation not permitted");
        assert!(advise_words(&plan(Backend::Ucx), &policy).unwrap().contains("SYS_NICE"));
        let cma = words("cma_ep.c:87  UCX  ERROR process_vm_writev(pid=7) returned -1: Operation not permitted");
        assert!(advise_words(&plan(Backend::Ucx), &cma).unwrap().contains("SYS_PTRACE"));
        let asked =
            words("ucp_context.c:1508 UCX  WARN  transport 'cma' is not available, please use one or more of: tcp");
        assert!(advise_words(&plan(Backend::Ucx), &asked).unwrap().contains("SYS_PTRACE"));
        assert_eq!(advise_words(&plan(Backend::Ucx), &words("process_vm_writev is fine")), None);
        let numa = words("request to allocate mask for invalid number: Invalid argument");
        assert!(advise_words(&plan(Backend::Libfabric), &numa).unwrap().contains("libnuma"));
        let locked = words("E1123 0:0 1 libfabric_rail.cpp:1] fi_mr_reg failed: Cannot allocate memory");
        assert!(advise_words(&plan(Backend::Libfabric), &locked).unwrap().contains("memlock=-1"));
        assert_eq!(advise_words(&plan(Backend::Ucx), &locked), None);
        // UCX 1.23.0, seen on SoftRoCE.
        let registering = words(
            "ib_md.c:323  UCX  ERROR ibv_reg_mr(address=0x7f63dbc00000, length=6291456, access=0xf) failed: Cannot allocate \
             memory : Please set max locked memory (ulimit -l) to 'unlimited' (current: 64 kbytes)",
        );
        assert!(advise_words(&plan(Backend::Ucx), &registering).unwrap().contains("memlock=-1"));
        let enable = words(
            "E1123 01:56:38.612558   13157 libfabric_rail.cpp:606] fi_enable failed for rail 0: Bad file descriptor",
        );
        assert!(advise_words(&plan(Backend::Libfabric), &enable).unwrap().contains("loopback"));
    }
}
