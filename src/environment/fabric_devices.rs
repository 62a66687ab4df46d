//! The machine's RDMA devices, as the kernel lists them, and whether this process may use them.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// Amazon's PCI vendor ID. EFA is its only RDMA device (Linux, `drivers/infiniband/hw/efa/efa_main.c`).
const AMAZON: u16 = 0x1d0f;
/// NVIDIA's for its network cards.
const MELLANOX: u16 = 0x15b3;

/// One RDMA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RdmaDevice {
    /// The kernel's name: `rdmap0s6`, `mlx5_0`.
    pub name: String,
    /// PCI vendor ID; None where the kernel states none.
    pub vendor: Option<u16>,
    /// Whether a port of it is active, as sysfs says (`4: ACTIVE`); None where it has none.
    pub active: Option<bool>,
}

impl RdmaDevice {
    /// Whether it is EFA.
    pub(crate) fn is_efa(&self) -> bool {
        self.vendor == Some(AMAZON)
    }

    /// The driver of libibverbs that it needs (`/etc/libibverbs.d`): by vendor, else by the kernel's usual name.
    pub(crate) fn provider(&self) -> &str {
        match self.vendor {
            Some(AMAZON) => "efa",
            Some(MELLANOX) => "mlx5",
            _ => self.name.split('_').next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit()),
        }
    }
}

/// All RDMA devices, and the device files that programs use them through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FabricDevices {
    /// From `/sys/class/infiniband`.
    pub devices: Vec<RdmaDevice>,
    /// `/dev/infiniband/uverbs*` that this process may open for reading and writing.
    pub usable: Vec<PathBuf>,
    /// `/dev/infiniband/uverbs*` that this process may not open for reading and writing.
    pub forbidden: Vec<PathBuf>,
}

impl FabricDevices {
    /// The devices of this machine.
    pub(crate) fn look() -> FabricDevices {
        Self::look_in(Path::new("/sys/class/infiniband"), Path::new("/dev/infiniband"))
    }

    fn look_in(class: &Path, device_files: &Path) -> FabricDevices {
        let devices = names(class).into_iter().map(|name| RdmaDevice {
            vendor: vendor(&class.join(&name)),
            active: is_active(&class.join(&name)),
            name,
        });
        let files = names(device_files).into_iter().filter(|name| name.starts_with("uverbs"));
        let (usable, forbidden) = files
            .map(|name| device_files.join(name))
            .partition(|path| rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok());
        FabricDevices { devices: devices.collect(), usable, forbidden }
    }

    /// A machine without an EFA device, or with one that this process may use or not.
    #[cfg(test)]
    pub(crate) fn with_efa(usable: Option<bool>) -> FabricDevices {
        let Some(usable) = usable else { return FabricDevices::default() };
        let file = vec![PathBuf::from("/dev/infiniband/uverbs0")];
        let (usable, forbidden) = if usable { (file, Vec::new()) } else { (Vec::new(), file) };
        let device = RdmaDevice { name: "rdmap0s6".into(), vendor: Some(AMAZON), active: Some(true) };
        FabricDevices { devices: vec![device], usable, forbidden }
    }

    /// The names of the EFA devices.
    pub(crate) fn efa(&self) -> Vec<&str> {
        self.devices.iter().filter(|device| device.is_efa()).map(|device| device.name.as_str()).collect()
    }

    /// The names of the other devices: InfiniBand, RoCE, iWARP.
    pub(crate) fn others(&self) -> Vec<&str> {
        self.devices.iter().filter(|device| !device.is_efa()).map(|device| device.name.as_str()).collect()
    }

    /// What was searched for and found, for a message.
    pub(crate) fn describe(&self) -> String {
        let efa = self.efa();
        let files = self.usable.iter().chain(&self.forbidden).map(|path| path.display().to_string());
        let forbidden = if self.forbidden.is_empty() { "" } else { " (without permission)" };
        format!(
            "EFA devices (PCI vendor `0x1d0f`) in `/sys/class/infiniband`: {}; other RDMA devices there: {}; device files \
             `/dev/infiniband/uverbs*`: {}{forbidden}",
            list(efa),
            list(self.others()),
            list(files.collect()),
        )
    }
}

fn list<T: AsRef<str>>(names: Vec<T>) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Parses `device/vendor`, which holds `0x1d0f` for example.
fn vendor(device: &Path) -> Option<u16> {
    let text = fs::read_to_string(device.join("device/vendor")).ok()?;
    u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// Parses `ports/N/state`: `4: ACTIVE` (Linux, `Documentation/ABI/stable/sysfs-class-infiniband`).
fn is_active(device: &Path) -> Option<bool> {
    let ports = names(&device.join("ports"));
    let states = ports.iter().filter_map(|port| fs::read_to_string(device.join("ports").join(port).join("state")).ok());
    states.map(|state| state.contains("ACTIVE")).reduce(|one, other| one || other)
}

/// The network interfaces of this process's network namespace, without the loopback. Source: proc_pid_net(5), `dev`.
///
/// `/sys/class/net` would show those of the namespace that it was mounted in.
pub(crate) fn interfaces() -> Vec<String> {
    parse_interfaces(&fs::read_to_string("/proc/self/net/dev").unwrap_or_default())
}

fn parse_interfaces(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.filter(|name| *name != "lo").map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efa_devices_are_those_of_amazon() {
        let folder = tempfile::tempdir().unwrap();
        let (class, files) = (folder.path().join("class"), folder.path().join("dev"));
        for (name, vendor) in [("rdmap0s6", "0x1d0f\n"), ("mlx5_0", "0x15b3\n"), ("odd", "?")] {
            fs::create_dir_all(class.join(name).join("device")).unwrap();
            fs::write(class.join(name).join("device/vendor"), vendor).unwrap();
        }
        fs::create_dir(&files).unwrap();
        fs::write(files.join("uverbs0"), "").unwrap();
        fs::write(files.join("rdma_cm"), "").unwrap();
        let found = FabricDevices::look_in(&class, &files);
        assert_eq!(found.efa(), ["rdmap0s6"]);
        assert_eq!((found.usable.len(), found.forbidden.len()), (1, 0));
        let text = found.describe();
        assert!(text.contains("infiniband`: rdmap0s6; other RDMA devices there: mlx5_0, odd;"), "{text}");
    }

    #[test]
    fn a_machine_without_devices_is_described() {
        let found = FabricDevices::look_in(Path::new("/nonexistent"), Path::new("/nonexistent"));
        assert_eq!(found, FabricDevices::default());
        assert!(found.describe().ends_with("uverbs*`: none"));
    }

    #[test]
    fn the_loopback_is_left_out() {
        let text = "Inter-|   Receive                     |  Transmit\n \
                    face |bytes    packets errs drop fifo|bytes    packets\n    \
                    lo:     896      10    0    0    0      896      10\n  \
                    eth0: 1234 1 0 0 0 99 1\n";
        assert_eq!(parse_interfaces(text), ["eth0"]);
    }
}
