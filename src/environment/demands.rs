//! Environment variables that leave a library nothing but hardware, which a container build does not have.

use std::fs;
use std::path::Path;

use super::fabric_devices::FabricDevices;
use super::variables::Variables;

/// UCX's names of transports over RDMA devices, and of its parts that carry no bytes between agents.
const RDMA_TRANSPORTS: [&str; 22] = [
    "rc",
    "rc_v",
    "rc_x",
    "rc_verbs",
    "rc_mlx5",
    "ud",
    "ud_v",
    "ud_x",
    "ud_verbs",
    "ud_mlx5",
    "dc",
    "dc_x",
    "dc_mlx5",
    "ib",
    "srd",
    "gga_mlx5",
    "cuda",
    "cuda_copy",
    "cuda_ipc",
    "gdr_copy",
    "self",
    "rocm",
];
/// Of these, the ones that need no RDMA device: alone they demand none.
const WITHOUT_DEVICE: [&str; 6] = ["cuda", "cuda_copy", "cuda_ipc", "gdr_copy", "self", "rocm"];
/// libfabric's providers that run on special hardware alone.
const HARDWARE_PROVIDERS: [&str; 7] = ["efa", "efa-direct", "cxi", "verbs", "psm2", "opx", "usnic"];

/// A variable whose value demands hardware that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Its name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// The hardware, in words.
    pub hardware: String,
}

/// What the variables of UCX demand and this machine does not show.
pub(crate) fn of_ucx(variables: &Variables) -> Vec<Demand> {
    let devices = FabricDevices::look();
    let transports = list(variables, "UCX_TLS").filter(|(_, names)| devices.devices.is_empty() && is_rdma_alone(names));
    let transports = transports.map(|(value, _)| demand("UCX_TLS", value, "an RDMA device".into()));
    let is_here = |name: &str| {
        let device = name.split(':').next().unwrap_or(name);
        device == "all"
            || device.contains('*')
            || devices.devices.iter().any(|own| own.name == device)
            || is_interface(device)
    };
    let named = list(variables, "UCX_NET_DEVICES").filter(|(_, names)| !names.iter().any(|name| is_here(name)));
    let named = named
        .map(|(value, names)| demand("UCX_NET_DEVICES", value, format!("the network device `{}`", names.join("`, `"))));
    transports.into_iter().chain(named).collect()
}

/// What the variables of libfabric demand and this machine does not show.
pub(crate) fn of_libfabric(variables: &Variables) -> Vec<Demand> {
    let Some((value, names)) = list(variables, "FI_PROVIDER") else { return Vec::new() };
    let core = |name: &String| name.split(';').next().unwrap_or_default().to_string();
    let is_hardware = |name: &String| HARDWARE_PROVIDERS.contains(&core(name).as_str());
    let devices = FabricDevices::look();
    let is_efa = names.iter().any(|name| name.starts_with("efa"));
    let is_here = if is_efa { !devices.efa().is_empty() } else { !devices.devices.is_empty() };
    if is_here || !names.iter().all(is_hardware) {
        return Vec::new();
    }
    let hardware =
        if is_efa { "an EFA device".into() } else { format!("hardware for the provider `{}`", names.join("`, `")) };
    vec![demand("FI_PROVIDER", value, hardware)]
}

fn demand(variable: &'static str, value: String, hardware: String) -> Demand {
    Demand { variable, value, hardware }
}

/// A variable's value and the names in it; None where it is unset, empty or says what not to take (`^`).
fn list(variables: &Variables, name: &str) -> Option<(String, Vec<String>)> {
    let value = variables.non_empty(name)?.to_string_lossy().into_owned();
    let names: Vec<String> =
        value.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect();
    (!value.starts_with('^') && !names.is_empty()).then_some((value, names))
}

/// `\name` asks for exactly that transport (UCX's documentation, "UCX environment parameters").
fn is_rdma_alone(names: &[String]) -> bool {
    let plain: Vec<&str> = names.iter().map(|name| name.trim_start_matches('\\')).collect();
    plain.iter().all(|name| RDMA_TRANSPORTS.contains(name)) && !plain.iter().all(|name| WITHOUT_DEVICE.contains(name))
}

fn is_interface(device: &str) -> bool {
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    interfaces.lines().any(|line| line.split_once(':').is_some_and(|(name, _)| name.trim() == device))
        || Path::new("/sys/class/net").join(device).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_nothing_else_demands_hardware() {
        let rdma = |value: &str| is_rdma_alone(&value.split(',').map(String::from).collect::<Vec<_>>());
        for value in ["rc", "rc,ud,cuda_copy", "\\rc_x,self", "srd,ud_v"] {
            assert!(rdma(value), "{value}");
        }
        for value in ["rc,tcp", "all", "cuda_copy", "self", "sm,rc", "cuda_copy,tcp"] {
            assert!(!rdma(value), "{value}");
        }
        let values = |value: &str| list(&Variables::from_iter([("X", value)]), "X").map(|(_, names)| names);
        assert_eq!(values("^rc"), None);
        assert_eq!(values(" a, b,"), Some(vec!["a".into(), "b".into()]));
    }
}
