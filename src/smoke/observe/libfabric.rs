//! What NIXL's running LIBFABRIC plugin states about its rails.
//!
//! At NIXL_LOG_LEVEL=INFO it names the provider that it chose and, for each rail, libfabric's name of the fabric:
//!
//! ```text
//! I1123 01:56:37.933061   13106 libfabric_topology.cpp:144] Discovered 1 tcp devices (TCP fallback)
//! I1123 01:56:37.934622   13106 libfabric_rail.cpp:493] fabric_attr->name 10.9.0.0/24
//! I1123 01:56:37.949267   13106 libfabric_rail_manager.cpp:232] Created 1 rails using provider=tcp
//! ```
//!
//! The last line is at DEBUG in 1.0.1. At DEBUG there is also one for each rail, with its device:
//!
//! ```text
//! I1123 01:56:10.059829   12929 libfabric_rail_manager.cpp:323] Created rail 0 (device=v0, provider=tcp)
//! ```
//!
//! This program never sets DEBUG: at twenty lines a message, the log would be what is timed.

use super::statement::Statement;
use crate::report::fabric::{Fabric, Fabrics};

/// The provider for Intel's Ethernet and Omni-Path cards, which also takes any other card by TCP (fi_psm3(7)).
pub(crate) const PSM3: &str = "psm3";

/// How psm3 begins the names of its fabrics, `TCP-10.9.0.0/24` (the strings in libpsm3-fi.so of 2.1); tcp's are networks.
const PSM3_FABRICS: [&str; 4] = ["TCP-", "UDP-", "RoCE-", "IB/OPA-"];

fn is_psm3(fabric: &str) -> bool {
    PSM3_FABRICS.iter().any(|prefix| fabric.starts_with(prefix))
}

/// Whether [`read`] uses this line of output.
pub(crate) fn is_statement(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"] Created rail ").is_some()
        || memchr::memmem::find(line, b" rails using provider=").is_some()
        || memchr::memmem::find(line, b"] fabric_attr->name ").is_some()
        || is_discovery(line)
}

fn is_discovery(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"libfabric_topology.cpp:").is_some()
        && memchr::memmem::find(line, b"] Discovered ").is_some()
}

/// Reads the output of a connected side: before the connection, a rail is only an intention.
pub(crate) fn read(output: &str) -> Statement {
    let mut providers: Vec<String> = Vec::new();
    let mut rails = Vec::new();
    let mut fabrics = Vec::new();
    for line in output.lines() {
        let Some((_, words)) = line.split_once("] ") else { continue };
        if let Some((device, provider)) = rail(words) {
            add(&mut rails, format!("{provider}/{device}"));
            add(&mut providers, provider);
        } else if let Some(name) = words.strip_prefix("fabric_attr->name ") {
            add(&mut fabrics, name.trim().to_string());
        } else if let Some(provider) = provider(words).filter(|_| is_statement(line.as_bytes())) {
            add(&mut providers, provider);
        }
    }
    if fabrics.iter().any(|name| is_psm3(name)) {
        // NIXL names the provider that it looked for.
        providers = vec![PSM3.into()];
        rails.clear();
    }
    if rails.is_empty() {
        rails = named(&providers, &fabrics);
    }
    Statement { fabric: Fabrics::of(providers.iter().map(|provider| fabric(provider))), transports: rails }
}

/// `Created rail 0 (device=v0, provider=tcp)`.
fn rail(words: &str) -> Option<(String, String)> {
    let (_, pair) = words.strip_prefix("Created rail ")?.split_once("(device=")?;
    let (device, provider) = pair.split_once(", provider=")?;
    Some((device.to_string(), provider.trim_end().trim_end_matches(')').to_string()))
}

/// `Created 1 rails using provider=tcp`, `Discovered 4 EFA devices`, `Discovered 1 tcp devices (TCP fallback)`.
fn provider(words: &str) -> Option<String> {
    if let Some((_, provider)) = words.split_once(" rails using provider=") {
        return Some(provider.trim().to_string());
    }
    let (count, rest) = words.strip_prefix("Discovered ")?.split_once(' ')?;
    let (provider, _) = rest.split_once(" devices")?;
    let is_one_word = count.parse::<u32>().is_ok() && !provider.contains(' ');
    is_one_word.then(|| provider.to_ascii_lowercase())
}

/// The transports if no line names the rails: the provider, with libfabric's names of its fabrics if they differ.
fn named(providers: &[String], fabrics: &[String]) -> Vec<String> {
    let [provider] = providers else { return providers.to_vec() };
    let telling: Vec<&String> = fabrics.iter().filter(|name| *name != provider).collect();
    if telling.is_empty() {
        return vec![provider.clone()];
    }
    telling.into_iter().map(|name| format!("{provider}/{name}")).collect()
}

/// The fabric of a libfabric provider; an unknown one keeps its name. A layered one, `tcp;ofi_rxm`, is named after its core
/// provider (fi_provider(7)).
fn fabric(provider: &str) -> Fabric {
    let core = provider.split(';').next().unwrap_or(provider);
    match core {
        "net" => Fabric::Tcp,
        "efa-direct" => Fabric::Efa,
        "verbs" => Fabric::Ib,
        _ => Fabric::named(core),
    }
}

fn add(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIXL 1.0.1 at INFO, libfabric 2.1.0.
    const INFO_1_0_1: &str = "\
I1123 01:56:37.067342   13052 nixl_plugin_manager.cpp:463] Discovered and loaded backend plugin: LIBFABRIC
I1123 01:56:37.304968   13052 libfabric_topology.cpp:132] Discovered 1 tcp devices (TCP fallback)
I1123 01:56:37.305018   13052 libfabric_topology.cpp:103] Using simplified topology for tcp devices (no topology mapping needed)
I1123 01:56:37.306296   13052 libfabric_rail.cpp:456] Using provider without FI_HMEM support for rail 0
I1123 01:56:37.306314   13052 libfabric_rail.cpp:469] fabric_attr->name 10.9.0.0/24
W1123 01:56:37.320202   13052 libfabric_rail_manager.cpp:530] Could not find EFA devices, rail selection for DRAM memory type aborted
";

    /// NIXL 1.5.0 at INFO, libfabric 2.1.0.
    const INFO_1_5_0: &str = "\
I1123 01:56:37.933061   13106 libfabric_topology.cpp:144] Discovered 1 tcp devices (TCP fallback)
I1123 01:56:37.934622   13106 libfabric_rail.cpp:493] fabric_attr->name 10.9.0.0/24
I1123 01:56:37.949267   13106 libfabric_rail_manager.cpp:232] Created 1 rails using provider=tcp
I1123 01:56:37.949322   13106 libfabric_backend.cpp:473] Initializing Libfabric Backend
I1123 01:56:37.949327   13106 libfabric_rail_manager.cpp:650] NUMA-aware rail selection disabled when system has only one EFA device
";

    /// NIXL 1.0.1 at DEBUG.
    const DEBUG_1_0_1: &str = "\
I1123 01:56:10.047346   12929 libfabric_topology.cpp:132] Discovered 1 tcp devices (TCP fallback)
I1123 01:56:10.048430   12929 libfabric_rail.cpp:469] fabric_attr->name 10.9.0.0/24
I1123 01:56:10.059829   12929 libfabric_rail_manager.cpp:323] Created rail 0 (device=v0, provider=tcp)
I1123 01:56:10.059839   12929 libfabric_rail_manager.cpp:232] Successfully created 1 rails using provider=tcp
";

    fn statement(fabric: &str, transports: &[&str]) -> Statement {
        Statement {
            fabric: Some(Fabrics::from(fabric.to_string())),
            transports: transports.iter().map(std::string::ToString::to_string).collect(),
        }
    }

    #[test]
    fn real_output_names_tcp() {
        assert_eq!(read(INFO_1_0_1), statement("tcp", &["tcp/10.9.0.0/24"]));
        assert_eq!(read(INFO_1_5_0), statement("tcp", &["tcp/10.9.0.0/24"]));
        assert_eq!(read(DEBUG_1_0_1), statement("tcp", &["tcp/v0"]));
    }

    #[test]
    fn the_kept_lines_are_enough() {
        for output in [INFO_1_0_1, INFO_1_5_0, DEBUG_1_0_1] {
            let kept: Vec<&str> = output.lines().filter(|line| is_statement(line.as_bytes())).collect();
            assert_eq!(read(&kept.join("\n")), read(output));
            assert!(kept.len() < output.lines().count() || output == DEBUG_1_0_1);
        }
    }

    /// The formats are those of the same source lines (libfabric_topology.cpp, libfabric_rail_manager.cpp).
    #[test]
    fn rdma_providers_are_named() {
        let efa = DEBUG_1_0_1
            .replace("1 tcp devices (TCP fallback)", "2 EFA devices")
            .replace("fabric_attr->name 10.9.0.0/24", "fabric_attr->name efa")
            .replace("v0", "rdmap0s6-rdm")
            .replace("=tcp", "=efa");
        assert_eq!(read(&efa), statement("efa", &["efa/rdmap0s6-rdm"]));
        let info: Vec<&str> = efa.lines().take(2).collect();
        assert_eq!(read(&info.join("\n")), statement("efa", &["efa"]));
        let cxi = "I1123 0:0 1 libfabric_topology.cpp:142] Discovered 4 CXI devices\n";
        assert_eq!(read(cxi), statement("cxi", &["cxi"]));
    }

    /// It answers to NIXL's request for tcp where rdma-core is installed.
    #[test]
    fn psm3_is_named_whatever_nixl_calls_it() {
        for output in [INFO_1_5_0, DEBUG_1_0_1] {
            let psm3 = output.replace("name 10.9.0.0/24", "name TCP-10.9.0.0/24");
            assert_eq!(read(&psm3), statement("psm3", &["psm3/TCP-10.9.0.0/24"]));
        }
    }

    #[test]
    fn a_contradiction_names_both_fabrics() {
        let mixed = INFO_1_5_0.replace("using provider=tcp", "using provider=efa");
        assert_eq!(read(&mixed).fabric, Some(Fabrics::from("efa+tcp".to_string())));
    }

    #[test]
    fn without_a_statement_the_fabric_is_unknown() {
        assert_eq!(read(""), Statement::default());
        assert_eq!(
            read("I1123 0:0 1 nixl_plugin_manager.cpp:623] Discovered backend plugin: LIBFABRIC\n"),
            Statement::default()
        );
    }
}
