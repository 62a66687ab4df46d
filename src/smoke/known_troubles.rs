//! Troubles of libraries and fabrics that are known by their signs, in words, and what to do about them.
#![forbid(unsafe_code)]

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::libraries::{Libraries, Missing, TooOld};
use super::plan::Plan;
use crate::backend::Backend;
use crate::environment::fabric_devices::{FabricDevices, interfaces};

/// What is wrong with the libraries that the plugin needs; empty when nothing is.
pub fn describe_libraries(plan: &Plan, libraries: &Libraries) -> String {
    let mut text = String::new();
    for Missing { name, wanted_by } in &libraries.missing {
        text.push_str(&format!("; {} needs {name}, which is nowhere", title(plan, wanted_by)));
    }
    if !libraries.missing.is_empty() {
        text.push_str(&format!("; searched: {}", libraries.searched.join(", ")));
    }
    for old in &libraries.too_old {
        let offers =
            old.offers.as_ref().map_or("has none of its kind".into(), |version| format!("offers up to {version}"));
        let lacks = old.lacks.join(", ");
        text.push_str(&format!(
            "; {} wants {} with {lacks}; {} {offers}",
            title(plan, &old.wanted_by),
            old.name,
            old.path.display()
        ));
    }
    text
}

/// `libplugin_LIBFABRIC.so of NIXL 1.5.1`, for the plugin; else the path.
fn title(plan: &Plan, library: &Path) -> String {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    match &plan.nixl.version {
        Some(version) if name.starts_with("libplugin_") => format!("{name} of NIXL {version}"),
        _ => library.display().to_string(),
    }
}

/// What to do about them; None when nothing is wrong with them.
pub fn advise_libraries(libraries: &Libraries) -> Option<String> {
    if let Some(old) = libraries.too_old.first() {
        return Some(advise_too_old(old));
    }
    let mut advice: Vec<&str> = libraries.missing.iter().map(|missing| advise_missing(&missing.name)).collect();
    advice.dedup();
    (!advice.is_empty()).then(|| advice.join(" "))
}

/// The symbol versions are those of libfabric's release tags (libfabric.map.in).
fn advise_too_old(old: &TooOld) -> String {
    if !old.name.starts_with("libfabric.so") {
        return format!(
            "{} is older than the one this was built with: install a newer one, or name its folder with --library-path.",
            old.name
        );
    }
    if old.lacks.iter().any(|version| version == "FABRIC_1.10") {
        return "No libfabric up to 2.6.0 offers FABRIC_1.10, that of the EFA installer included: NIXL 1.5.1's wheel was \
                built with development source. Use NIXL 1.5.0, or a libfabric newer than 2.6.0 (--library-path DIR)."
            .into();
    }
    "Install a newer libfabric (1.20 has FABRIC_1.7, 2.0 has FABRIC_1.8; on AWS, the EFA installer brings one to \
     /opt/amazon/efa/lib), and name its folder with --library-path if another one is found first."
        .into()
}

fn advise_missing(name: &str) -> &'static str {
    let known = [
        (
            "libfabric.so",
            "Install libfabric (on AWS, the EFA installer puts it into /opt/amazon/efa/lib), or name its folder with \
             --library-path.",
        ),
        (
            "libcudart.so",
            "Install CUDA's runtime library for the major version of this NIXL's wheel (pip install \
             nvidia-cuda-runtime for CUDA 13, nvidia-cuda-runtime-cu12 for 12), or name its folder with --library-path.",
        ),
        ("libhwloc.so", "Install hwloc's library (Debian and Ubuntu: apt-get install libhwloc15)."),
        (
            "libcuda.so",
            "libcuda.so.1 comes with NVIDIA's driver, and this system refuses the stand-in for it (memfd_create): run \
             this where a driver is.",
        ),
    ];
    let found = known.into_iter().find(|(prefix, _)| name.starts_with(prefix));
    found.map_or("Install what is missing, or name its folder with --library-path.", |(_, advice)| advice)
}

/// What this machine offers to a fabric.
struct Machine {
    devices: FabricDevices,
    interfaces: Vec<String>,
}

/// What to do, told by a worker's last words.
pub fn advise_words(plan: &Plan, words: &[String]) -> Option<String> {
    advise_on(plan, words, &|| Machine { devices: FabricDevices::look(), interfaces: interfaces() })
}

fn advise_on(plan: &Plan, words: &[String], machine: &dyn Fn() -> Machine) -> Option<String> {
    let has = |part: &str| words.iter().any(|line| line.contains(part));
    if has("request to allocate mask for invalid number") {
        return Some(
            "That is libnuma's message: something in this libfabric asks it for what it cannot give, and the process is ended \
             for it (Debian 13's libfabric1 does this below NIXL 1.5.0, whatever FI_PROVIDER says). Use another \
             libfabric, that of the EFA installer for example: --library-path /opt/amazon/efa/lib."
                .into(),
        );
    }
    if let Some(advice) = advise_sandboxed(words) {
        return Some(advice);
    }
    if !plan.pair.has(Backend::Libfabric) {
        return None;
    }
    if has("Cannot allocate memory") || has("RLIMIT_MEMLOCK") || has("memlock") {
        return Some(memory_lock());
    }
    let Machine { devices, interfaces } = machine();
    if !devices.efa().is_empty() && !devices.forbidden.is_empty() {
        return Some(format!(
            "There are EFA devices ({}), and this user may not open {}: run as a user who may, or give the container the \
             devices with permission to read and write (docker run --device).",
            devices.efa().join(", "),
            devices.forbidden.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        ));
    }
    if interfaces.is_empty() || has("fi_enable failed") && has("Bad file descriptor") {
        return Some(
            "There is no usable network interface but the loopback, which libfabric's tcp provider does not take: run this \
             with a network (docker run without --network none), or on a machine with EFA give the container its devices."
                .into(),
        );
    }
    if has("fi_getinfo failed") || has("No network devices found") {
        let restricted = std::env::var_os("FI_PROVIDER")
            .map(|value| format!(" This environment restricts it with FI_PROVIDER={}.", value.to_string_lossy()))
            .unwrap_or_default();
        return Some(format!(
            "libfabric offers no provider that this NIXL takes (cxi, efa, tcp, sockets).{restricted} Run again with \
             FI_LOG_LEVEL=warn, and see that libfabric's provider modules (lib*-fi.so) are found (FI_PROVIDER_PATH)."
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
            "A sandbox refuses the calls that place memory on a NUMA node: give the container CAP_SYS_NICE (docker run \
             --cap-add SYS_NICE; in Kubernetes securityContext.capabilities.add), or another seccomp profile."
                .into(),
        );
    }
    let has_no_cma = words.iter().any(|line| line.contains("transport 'cma' is not available"));
    if has_no_cma || refuses(&["process_vm_", "ptrace", "cma"]) {
        return Some(
            "A sandbox refuses to let one process read another one's memory, which UCX's cma transport does: give the \
             container CAP_SYS_PTRACE (docker run --cap-add SYS_PTRACE), see kernel.yama.ptrace_scope, or do without \
             (UCX_TLS=^cma)."
                .into(),
        );
    }
    None
}

/// What to do when memory cannot be registered.
pub fn memory_lock() -> String {
    let limit = getrlimit(Resource::Memlock).current;
    let text = limit.map_or("unlimited".into(), |bytes| format!("{} KiB", bytes >> 10));
    format!(
        "The limit on locked memory is {text}: RDMA needs it unlimited (docker run --ulimit memlock=-1, or ulimit -l \
         unlimited). A smaller --size needs less."
    )
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A plan of NIXL 1.5.1 with nothing special about it.
    pub fn plan(backend: Backend) -> Plan {
        let nixl = crate::environment::nixl::NixlInstallation {
            name: "nixl-cu13".into(),
            version: Some("1.5.1".into()),
            capi: None,
            plugin_dir: None,
            library_dirs: Vec::new(),
        };
        Plan {
            engine: crate::cli::EngineChoice::Auto,
            nixl,
            pair: crate::smoke::Pair::alike(&[backend]),
            principal: true,
            memory: crate::smoke::Memory::Dram,
            size: 1,
            iterations: 1,
            timeout: std::time::Duration::from_secs(1),
            plugin_dir: None,
            library_path: Vec::new(),
            import_path: Vec::new(),
            require_fabric: crate::smoke::RequiredFabric::Any,
            fault: None,
        }
    }

    fn advice(words: &str, efa: Option<bool>, interfaces: &[&str]) -> Option<String> {
        let machine = || Machine {
            devices: FabricDevices::with_efa(efa),
            interfaces: interfaces.iter().map(|name| name.to_string()).collect(),
        };
        advise_on(&plan(Backend::Libfabric), &[words.to_string()], &machine)
    }

    #[test]
    fn the_machine_explains_what_words_do_not() {
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
    fn a_version_that_nothing_offers_is_named() {
        let mut libraries = Libraries::default();
        libraries.too_old.push(TooOld {
            path: "/x/libfabric.so.1".into(),
            name: "libfabric.so.1".into(),
            wanted_by: "/y/libplugin_LIBFABRIC.so".into(),
            lacks: vec!["FABRIC_1.10".into()],
            offers: Some("FABRIC_1.8".into()),
        });
        assert_eq!(
            describe_libraries(&plan(Backend::Libfabric), &libraries),
            "; libplugin_LIBFABRIC.so of NIXL 1.5.1 wants libfabric.so.1 with FABRIC_1.10; /x/libfabric.so.1 offers up to \
             FABRIC_1.8"
        );
        assert!(advise_libraries(&libraries).unwrap().contains("NIXL 1.5.0"));
        libraries.too_old[0].lacks = vec!["FABRIC_1.7".into()];
        assert!(advise_libraries(&libraries).unwrap().contains("newer libfabric"));
    }

    #[test]
    fn what_is_missing_is_named_with_who_needs_it_and_where_it_was_looked_for() {
        let mut libraries = Libraries::default();
        libraries.searched = vec!["/a".into(), "/b".into()];
        for name in ["libfabric.so.1", "libhwloc.so.15"] {
            libraries.missing.push(Missing { name: name.into(), wanted_by: "/y/libplugin_LIBFABRIC.so".into() });
        }
        let text = describe_libraries(&plan(Backend::Libfabric), &libraries);
        assert!(text.contains("NIXL 1.5.1 needs libfabric.so.1") && text.ends_with("searched: /a, /b"), "{text}");
        let advice = advise_libraries(&libraries).unwrap();
        assert!(advice.contains("EFA installer") && advice.contains("libhwloc15"), "{advice}");
        assert_eq!(advise_libraries(&Libraries::default()), None);
    }

    #[test]
    fn last_words_are_recognized() {
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
        let enable = words(
            "E1123 01:56:38.612558   13157 libfabric_rail.cpp:606] fi_enable failed for rail 0: Bad file descriptor",
        );
        assert!(advise_words(&plan(Backend::Libfabric), &enable).unwrap().contains("loopback"));
    }
}
