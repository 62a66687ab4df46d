//! What a process sees of the machine.

use std::path::{Path, PathBuf};

use crate::environment::fabric_devices::{self, FabricDevices};
use crate::environment::machine;
use crate::environment::nixl_config;
use crate::environment::variables::Variables;
use crate::report::doctor::{self, Device, Setting};

/// Prefixes of the variables that the libraries read.
const PREFIXES: [(&str, &str); 4] =
    [("NIXL_", "NIXL"), ("UCX_", "UCX"), ("FI_", "libfabric"), ("DYN_KVBM_NIXL_", "Dynamo")];

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// RDMA devices.
    pub fabric: FabricDevices,
    /// Whether NVIDIA's driver has a device here.
    pub has_gpu: bool,
    /// The variables that are set and that libraries read.
    pub variables: Vec<Setting>,
    interfaces: Vec<String>,
    nixl_configuration: Option<PathBuf>,
}

/// Looks.
pub(super) fn look(variables: &Variables) -> Machine {
    Machine {
        fabric: FabricDevices::look(),
        has_gpu: Path::new("/dev/nvidiactl").exists(),
        variables: settings(variables),
        interfaces: fabric_devices::interfaces(),
        nixl_configuration: nixl_config::file(variables),
    }
}

fn settings(variables: &Variables) -> Vec<Setting> {
    let reader = |name: &str| PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, reader)| *reader);
    let all = variables.iter().map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()));
    all.filter_map(|(name, value)| {
        let read_by = reader(&name)?;
        Some(Setting { name: name.into_owned(), value: value.into_owned(), read_by })
    })
    .collect()
}

impl Machine {
    /// The devices that are no EFA.
    pub(super) fn rdma(&self) -> Vec<&str> {
        let efa = self.fabric.efa();
        let names = self.fabric.devices.iter().map(|device| device.name.as_str());
        names.filter(|name| !efa.contains(name)).collect()
    }

    /// For the report.
    pub(super) fn report(&self) -> doctor::Machine {
        let efa = self.fabric.efa();
        let device = |name: &String| {
            let is_efa = efa.contains(&name.as_str());
            Device {
                name: name.clone(),
                kind: if is_efa { "EFA" } else { "InfiniBand or RoCE" },
                // NIXL's LIBFABRIC plugin takes cxi, efa, tcp and sockets alone (measured, and its source).
                for_backends: if is_efa { vec!["LIBFABRIC", "UCX"] } else { vec!["UCX"] },
            }
        };
        let shm = machine::space("/dev/shm");
        doctor::Machine {
            rdma_devices: self.fabric.devices.iter().map(|it| device(&it.name)).collect(),
            forbidden: self.fabric.forbidden.iter().map(|path| path.display().to_string()).collect(),
            interfaces: self.interfaces.clone(),
            memory_lock_bytes: machine::memory_lock(),
            open_files: machine::open_files(),
            shared_memory_bytes: shm.map(|(size, _)| size),
            shared_memory_free_bytes: shm.map(|(_, free)| free),
            huge_pages: machine::free_huge_pages(),
            seccomp: machine::has_seccomp_filter(),
            capabilities: machine::capabilities(),
            nixl_configuration: self.nixl_configuration.as_ref().map(|path| path.display().to_string()),
        }
    }
}
