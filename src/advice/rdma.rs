//! RDMA devices that the libraries do not use, and why.

use std::path::Path;

use super::loading;
use crate::environment::fabric_devices::{FabricDevices, RdmaDevice};
use crate::environment::ucx_modules::Ucx;
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The identifier of the finding that UCX does not use a device.
pub(crate) const UNUSED: &str = "rdma-device-unused";

/// UCX's transports over RDMA devices, with the aliases that `UCX_TLS` takes.
const RDMA_TRANSPORTS: [&str; 18] = [
    "all", "ib", "rc", "rc_v", "rc_verbs", "rc_x", "rc_mlx5", "ud", "ud_v", "ud_verbs", "ud_x", "ud_mlx5", "dc",
    "dc_x", "dc_mlx5", "srd", "gga", "gga_mlx5",
];

/// What is known about a transfer over UCX that no RDMA device had a part in.
pub(crate) struct Unused<'a> {
    /// The machine's devices.
    pub devices: &'a FabricDevices,
    /// The UCX, if it was found.
    pub ucx: Option<&'a Ucx>,
    /// What the transfer ran over, for a sentence: `shm (cma/memory, tcp/lo)`; `None` where it did not run.
    pub observed: Option<&'a str>,
    /// `UCX_TLS` and `UCX_NET_DEVICES` as the user set them.
    pub tls: Option<&'a str>,
    /// As above.
    pub net_devices: Option<&'a str>,
}

/// Why, and what to do.
struct Cause {
    fact: String,
    cure: Vec<String>,
    path: Option<std::path::PathBuf>,
}

/// The finding that UCX does not use the devices; `None` where there are none.
pub(crate) fn unused_by_ucx(unused: &Unused<'_>) -> Option<Finding> {
    if unused.devices.devices.is_empty() {
        return None;
    }
    let mut cause = cause(unused);
    if !unused.devices.efa().is_empty() {
        cause.cure.push(
            "on EFA prefer the backend LIBFABRIC (`NIXL_BACKEND=LIBFABRIC,UCX`), which does not depend on UCX's modules"
                .into(),
        );
    }
    Some(Finding {
        id: UNUSED,
        severity: Severity::Warning,
        message: format!(
            "not RDMA: UCX does not use {}{}: between machines this would be TCP",
            titles(unused.devices),
            unused.observed.map(|observed| format!(", and ran over {observed}")).unwrap_or_default()
        ),
        consequence: format!("cause: {}", cause.fact),
        cure: cause.cure,
        path: cause.path,
        line: None,
    })
}

/// The devices with their kind: `rdmap0s6` (EFA), `mlx5_0` (InfiniBand or RoCE).
fn titles(devices: &FabricDevices) -> String {
    let title = |device: &RdmaDevice| {
        let kind = if device.is_efa() { "EFA" } else { "InfiniBand or RoCE" };
        format!("the RDMA device `{}` ({kind})", device.name)
    };
    devices.devices.iter().map(title).collect::<Vec<_>>().join(", ")
}

fn cause(unused: &Unused<'_>) -> Cause {
    restricted(unused)
        .or_else(|| no_device_files(unused.devices))
        .or_else(|| unused.ucx.and_then(|ucx| no_module(ucx, unused.devices)))
        .or_else(|| unused.ucx.and_then(|ucx| two_copies(ucx, unused.devices)))
        .or_else(|| unused.ucx.and_then(|ucx| no_driver(ucx, unused.devices)))
        .or_else(|| no_active_port(unused.devices))
        .unwrap_or_else(|| Cause {
            fact: "not found: permissions, UCX's modules and the copies of libibverbs are as they should be".into(),
            cure: vec!["compare `ibv_devinfo` with `ucx_info -d`, and run again with `UCX_LOG_LEVEL=debug`".into()],
            path: None,
        })
}

/// The user's settings exclude the devices.
fn restricted(unused: &Unused<'_>) -> Option<Cause> {
    let tls = unused.tls.filter(|value| excludes_rdma(value)).map(|value| ("UCX_TLS", value));
    let named = |value: &&str| {
        value.is_empty()
            || *value == "all"
            || value.starts_with('^')
            || unused.devices.devices.iter().any(|device| value.contains(&device.name))
    };
    let net = unused.net_devices.filter(|value| !named(value)).map(|value| ("UCX_NET_DEVICES", value));
    let (name, value) = tls.or(net)?;
    Some(Cause {
        fact: format!("`{name}={value}` leaves them out"),
        cure: vec![format!("unset `{name}`, or add the devices to it")],
        path: None,
    })
}

fn excludes_rdma(tls: &str) -> bool {
    let names = |list: &str| -> bool {
        list.split(',').any(|name| RDMA_TRANSPORTS.contains(&name.trim().trim_start_matches('\\')))
    };
    match tls.strip_prefix('^') {
        Some(excluded) => excluded.split(',').any(|name| name.trim() == "ib"),
        None => !tls.is_empty() && !names(tls),
    }
}

fn no_device_files(devices: &FabricDevices) -> Option<Cause> {
    if let Some(forbidden) = devices.forbidden.first() {
        return Some(Cause {
            fact: format!("this user may not open `{}` for reading and writing", forbidden.shown()),
            cure: vec![
                "give the user that permission (`chmod 666`, or the group of the file), or run as root; in a container, pass \
                 the device with `docker run --device /dev/infiniband/uverbs0` for each"
                    .into(),
            ],
            path: Some(forbidden.clone()),
        });
    }
    devices.usable.is_empty().then(|| Cause {
        fact: "there is no `/dev/infiniband/uverbsN` here, although the kernel has the device".into(),
        cure: vec![
            "give the container the device files (`docker run --device /dev/infiniband/uverbs0` for each, or the device \
             plugin of the cluster) and an unlimited memory lock (`--ulimit memlock=-1`)"
                .into(),
        ],
        path: None,
    })
}

fn no_module(ucx: &Ucx, devices: &FabricDevices) -> Option<Cause> {
    let needed = if devices.others().is_empty() { "libuct_ib_efa" } else { "libuct_ib" };
    for module in ["libuct_ib", needed] {
        if !ucx.has(module) {
            return Some(Cause {
                fact: format!("UCX's module `{module}` is absent from `{}`", ucx.folder.shown()),
                cure: vec!["reinstall NIXL, or use a UCX that has it (`UCX_MODULE_DIR`)".into()],
                path: Some(ucx.folder.clone()),
            });
        }
        if let Some(refused) = ucx.refusal(module) {
            let missing: Vec<String> = refused.missing.iter().map(|missing| format!("`{}`", missing.name)).collect();
            return Some(Cause {
                fact: format!("UCX cannot load `{}`: {} was not found", refused.path.shown(), missing.join(", ")),
                cure: vec![format!("install {}, or add its folder to `LD_LIBRARY_PATH`", missing.join(", "))],
                path: Some(refused.path.clone()),
            });
        }
    }
    None
}

/// The wheels bring libibverbs and the driver of NVIDIA's cards. Every other driver is the system's and registers itself with
/// the system's libibverbs, which UCX never asks. Seen with SoftRoCE and NIXL 0.8.0, 1.0.1 and 1.5.0 on Debian 12, and cured
/// there as below.
fn two_copies(ucx: &Ucx, devices: &FabricDevices) -> Option<Cause> {
    let (first, second) = (ucx.verbs.library.as_ref()?, ucx.verbs.second.as_ref()?);
    let device = devices.devices.iter().find(|device| !(device.provider() == "mlx5" && ucx.has("libuct_ib_mlx5")))?;
    let driver = ucx.verbs.driver(device.provider());
    let of = driver.map(|driver| format!(" `{}`", driver.shown())).unwrap_or_default();
    let drivers = driver.and_then(Path::parent).unwrap_or(Path::new("/usr/lib/x86_64-linux-gnu/libibverbs"));
    Some(Cause {
        fact: format!(
            "two copies of libibverbs: UCX asks `{}`, and the driver{of} of `{}` registers itself with `{}`",
            first.shown(),
            device.name,
            second.shown()
        ),
        cure: loading::one_libibverbs(first, drivers).into(),
        path: Some(first.clone()),
    })
}

fn no_driver(ucx: &Ucx, devices: &FabricDevices) -> Option<Cause> {
    let has_own = |device: &RdmaDevice| device.provider() == "mlx5" && ucx.has("libuct_ib_mlx5");
    let lacks = |device: &&RdmaDevice| !has_own(device) && ucx.verbs.driver(device.provider()).is_none();
    let device = devices.devices.iter().find(lacks)?;
    Some(Cause {
        fact: format!(
            "libibverbs has no driver for `{}`: `lib{}-rdmav*.so` was not found",
            device.name,
            device.provider()
        ),
        cure: vec!["install the drivers (on Debian and Ubuntu: `apt-get install ibverbs-providers`)".into()],
        path: None,
    })
}

fn no_active_port(devices: &FabricDevices) -> Option<Cause> {
    let none = devices.devices.iter().all(|device| device.active == Some(false));
    none.then(|| Cause {
        fact: "no port of them is active (`/sys/class/infiniband/*/ports/*/state`), and UCX uses no other".into(),
        cure: vec!["check the cable, the switch and the network interface below the device (`rdma link`)".into()],
        path: None,
    })
}

/// NIXL's LIBFABRIC plugin takes the providers cxi, efa, tcp and sockets (libfabric_common.cpp): no other device than EFA and
/// Slingshot.
pub(crate) fn no_use_for_libfabric(devices: &FabricDevices) -> Option<Finding> {
    let others = devices.others();
    if others.is_empty() || !devices.efa().is_empty() {
        return None;
    }
    Some(Finding {
        id: "libfabric-without-efa",
        severity: Severity::Warning,
        message: format!(
            "LIBFABRIC has no use for `{}`: it is not EFA, and NIXL's plugin takes EFA and Slingshot alone",
            others.join("`, `")
        ),
        consequence: "between machines LIBFABRIC would be TCP; UCX can use InfiniBand and RoCE".into(),
        cure: vec!["choose UCX on this hardware (`NIXL_BACKEND=UCX`)".into()],
        path: None,
        line: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::elf::needs::Missing;
    use crate::environment::ucx_modules::{RefusedModule, Verbs};

    fn device(name: &str, vendor: Option<u16>) -> RdmaDevice {
        RdmaDevice { name: name.into(), vendor, active: Some(true) }
    }

    fn machine(devices: &[RdmaDevice]) -> FabricDevices {
        FabricDevices {
            devices: devices.to_vec(),
            usable: vec!["/dev/infiniband/uverbs0".into()],
            forbidden: Vec::new(),
        }
    }

    /// NIXL 1.5.0's on Debian 12.
    fn ucx() -> Ucx {
        Ucx {
            folder: "/site/nixl_cu12.libs/ucx".into(),
            present: ["libuct_ib", "libuct_ib_mlx5", "libuct_ib_efa"].map(String::from).into(),
            refused: Vec::new(),
            verbs: Verbs {
                library: Some("/site/nixl_cu12.libs/libibverbs-1de1263b.so.1.14.48.0".into()),
                second: Some("/usr/lib/x86_64-linux-gnu/libibverbs.so.1".into()),
                drivers: vec!["/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so".into()],
            },
        }
    }

    fn unused(devices: &FabricDevices, ucx: &Ucx, tls: Option<&str>, net_devices: Option<&str>) -> Finding {
        unused_by_ucx(&Unused { devices, ucx: Some(ucx), observed: Some("shm"), tls, net_devices }).unwrap()
    }

    #[test]
    fn two_copies_of_libibverbs_are_found_and_cured() {
        let one = unused(&machine(&[device("rxe0", None)]), &ucx(), None, None);
        assert!(
            one.message.contains("`rxe0`") && one.message.contains("between machines this would be TCP"),
            "{one:?}"
        );
        assert!(one.consequence.contains("two copies of libibverbs: UCX asks `/site"), "{one:?}");
        assert!(one.cure[0].contains("mkdir -p /opt/nixl-libibverbs && ln -s /site"), "{one:?}");
        let mut cured = ucx();
        cured.verbs.second = None;
        assert!(unused(&machine(&[device("rxe0", None)]), &cured, None, None).consequence.contains("not found"));
        cured.verbs.drivers.clear();
        assert!(unused(&machine(&[device("rxe0", None)]), &cured, None, None).consequence.contains("no driver"));
    }

    #[test]
    fn the_wheels_own_driver_has_no_second_copy() {
        let one = unused(&machine(&[device("mlx5_0", Some(0x15b3))]), &ucx(), None, None);
        assert!(one.consequence.contains("not found"), "{one:?}");
    }

    #[test]
    fn the_nearest_cause_is_named() {
        let devices = machine(&[device("rxe0", None)]);
        let mut forbidden = devices.clone();
        forbidden.forbidden = std::mem::take(&mut forbidden.usable);
        assert!(unused(&forbidden, &ucx(), None, None).consequence.contains("may not open `/dev/infiniband/uverbs0`"));
        let hidden = FabricDevices { usable: Vec::new(), ..devices.clone() };
        assert!(unused(&hidden, &ucx(), None, None).consequence.contains("there is no `/dev/infiniband"));
        let mut without = ucx();
        without.present.clear();
        assert!(unused(&devices, &without, None, None).consequence.contains("`libuct_ib` is absent"));
        let mut refused = ucx();
        let missing = Missing { name: "libibverbs.so.1".into(), wanted_by: "/x".into() };
        refused.refused.push(RefusedModule { path: "/u/libuct_ib.so.0".into(), missing: vec![missing] });
        assert!(unused(&devices, &refused, None, None).consequence.contains("cannot load `/u/libuct_ib.so.0`"));
        let down = RdmaDevice { active: Some(false), ..device("mlx5_0", Some(0x15b3)) };
        assert!(unused(&machine(&[down]), &ucx(), None, None).consequence.contains("no port"));
    }

    #[test]
    fn settings_that_leave_the_devices_out_come_first() {
        let devices = machine(&[device("rxe0", None)]);
        for tls in ["tcp", "tcp,self,cuda_copy", "^ib"] {
            assert!(unused(&devices, &ucx(), Some(tls), None).consequence.contains("`UCX_TLS="), "{tls}");
        }
        for tls in ["rc,tcp", "^shm", "all", "ib,self", "\\rc_verbs,tcp"] {
            assert!(!unused(&devices, &ucx(), Some(tls), None).consequence.contains("`UCX_TLS="), "{tls}");
        }
        assert!(unused(&devices, &ucx(), None, Some("eth0")).consequence.contains("`UCX_NET_DEVICES=eth0`"));
        assert!(!unused(&devices, &ucx(), None, Some("rxe0:1")).consequence.contains("UCX_NET_DEVICES"));
    }

    #[test]
    fn libfabric_is_for_efa() {
        assert!(no_use_for_libfabric(&machine(&[device("mlx5_0", Some(0x15b3))])).unwrap().message.contains("not EFA"));
        assert_eq!(no_use_for_libfabric(&machine(&[device("rdmap0s6", Some(0x1d0f))])), None);
        assert_eq!(no_use_for_libfabric(&machine(&[])), None);
        let efa = unused(&machine(&[device("rdmap0s6", Some(0x1d0f))]), &ucx(), None, None);
        assert!(efa.message.contains("EFA") && efa.cure.last().unwrap().contains("LIBFABRIC"), "{efa:?}");
    }
}
