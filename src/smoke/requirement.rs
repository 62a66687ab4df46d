//! The fabric that a user demands, held against the one that was observed.
#![forbid(unsafe_code)]

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::known_troubles::memory_lock;
use super::plan::Plan;
use crate::backend::Backend;
use crate::environment::fabric_devices::FabricDevices;
use crate::report::{Failure, Smoke, SmokeStatus};

/// What the bytes must have been carried by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RequiredFabric {
    /// EFA
    Efa,
    /// EFA, InfiniBand, RoCE or Slingshot
    Rdma,
    /// Anything; TCP or shared memory over LIBFABRIC is warned about
    #[default]
    Any,
}

impl RequiredFabric {
    /// Whether it is satisfied by what was observed. What is unknown or a mixture satisfies no demand.
    pub fn accepts(self, fabric: Option<&str>) -> bool {
        match self {
            RequiredFabric::Any => true,
            RequiredFabric::Efa => fabric == Some("efa"),
            RequiredFabric::Rdma => fabric.is_some_and(is_rdma),
        }
    }

    /// The one of two demands that satisfies both: what is EFA is RDMA.
    pub fn stricter(self, other: RequiredFabric) -> RequiredFabric {
        match (self, other) {
            (RequiredFabric::Efa, _) | (_, RequiredFabric::Efa) => RequiredFabric::Efa,
            (RequiredFabric::Rdma, _) | (_, RequiredFabric::Rdma) => RequiredFabric::Rdma,
            (RequiredFabric::Any, RequiredFabric::Any) => RequiredFabric::Any,
        }
    }

    fn name(self) -> &'static str {
        match self {
            RequiredFabric::Efa => "efa",
            RequiredFabric::Rdma => "rdma",
            RequiredFabric::Any => "any",
        }
    }
}

fn is_rdma(fabric: &str) -> bool {
    ["efa", "ib", "cxi"].contains(&fabric)
}

/// Turns a passed transfer into a failed one, or warns, where the bytes went another way than they should.
pub fn hold(smoke: &mut Smoke, plan: &Plan, devices: &dyn Fn() -> FabricDevices) {
    if smoke.status != SmokeStatus::Passed {
        return;
    }
    if plan.principal && !plan.require_fabric.accepts(smoke.fabric.as_deref()) {
        smoke.status = SmokeStatus::Failed;
        smoke.failure = Some(refusal(smoke, plan.require_fabric, plan.backend(), &devices()));
        return;
    }
    let chosen = smoke.chosen_backend.as_deref().unwrap_or(plan.backend().name());
    if chosen == Backend::Libfabric.name() && !smoke.fabric.as_deref().is_some_and(is_rdma) {
        smoke.warnings.push(format!(
            "THIS WAS NOT RDMA: LIBFABRIC passed over {}. No EFA and no other fast fabric carried these bytes, and a \
             workload here would be as slow, without an error. Looked for: {}. Add --require-fabric efa (or rdma) to make \
             this a failure.",
            observed(smoke),
            devices().describe(),
        ));
    }
}

fn observed(smoke: &Smoke) -> String {
    let transports =
        if smoke.transports.is_empty() { String::new() } else { format!(" ({})", smoke.transports.join(", ")) };
    match &smoke.fabric {
        Some(fabric) => format!("{fabric}{transports}"),
        None => format!("a fabric that was not stated for certain{transports}"),
    }
}

fn refusal(smoke: &Smoke, required: RequiredFabric, backend: Backend, devices: &FabricDevices) -> Failure {
    let message = format!(
        "--require-fabric {}: the transfer itself was right, but what carried the bytes was {}; looked for: {}",
        required.name(),
        observed(smoke),
        devices.describe(),
    );
    Failure { stage: "fabric".into(), message, advice: advice(backend, devices, smoke.peer.is_some()) }
}

fn advice(backend: Backend, devices: &FabricDevices, two_machines: bool) -> String {
    if devices.devices.is_empty() {
        return "This machine shows no RDMA device. A container build never has one: leave --require-fabric to a run on the \
                instance itself. On AWS, take an instance type with EFA and a network interface of the type EFA, see \
                that the kernel has the module efa (lsmod), and give the container its devices (docker run --device \
                /dev/infiniband/uverbs0, or vpc.amazonaws.com/efa in Kubernetes)."
            .into();
    }
    if !devices.forbidden.is_empty() {
        return "The device files are there and this user may not open them: run as a user who may, or give the container \
                the devices (docker run --device /dev/infiniband/uverbs0) with permission to read and write."
            .into();
    }
    if devices.usable.is_empty() {
        return "The kernel has the device, and this container does not: give it the device files (docker run --device \
                /dev/infiniband/uverbs0 for each, or vpc.amazonaws.com/efa in Kubernetes) and an unlimited memory lock \
                (--ulimit memlock=-1)."
            .into();
    }
    match backend {
        Backend::Ucx if two_machines => {
            "See with ucx_info -d whether the UCX of each end knows its device, and leave UCX no other choice for this test \
             (UCX_TLS=srd,ud_v for EFA, UCX_TLS=rc,ud for InfiniBand; for GPU memory add cuda_copy) at both ends."
                .into()
        }
        Backend::Ucx => {
            "Both ends are on this machine, where UCX prefers shared memory: allow it RDMA alone for this test \
                         (UCX_TLS=srd,ud_v for EFA, UCX_TLS=rc,ud for InfiniBand; for GPU memory add \
                         cuda_copy), and see with ucx_info -d whether this \
                         UCX knows the device."
                .into()
        }
        Backend::Libfabric => format!(
            "The device is there and libfabric did not offer it: see what fi_info -p efa says with the libfabric that was \
             loaded (-v shows the folders), use that of the EFA installer (--library-path /opt/amazon/efa/lib), and run \
             again with FI_LOG_LEVEL=warn. {}",
            memory_lock()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_mixed_fabrics_satisfy_nothing() {
        for fabric in [None, Some("tcp"), Some("efa+tcp"), Some("ib+shm"), Some("shm"), Some("")] {
            assert!(!RequiredFabric::Efa.accepts(fabric), "{fabric:?}");
            assert!(!RequiredFabric::Rdma.accepts(fabric), "{fabric:?}");
            assert!(RequiredFabric::Any.accepts(fabric), "{fabric:?}");
        }
        assert!(RequiredFabric::Efa.accepts(Some("efa")) && RequiredFabric::Rdma.accepts(Some("efa")));
        assert!(!RequiredFabric::Efa.accepts(Some("ib")));
        assert!(!RequiredFabric::Rdma.accepts(Some("sockets")));
        for fabric in ["ib", "cxi"] {
            assert!(RequiredFabric::Rdma.accepts(Some(fabric)), "{fabric}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_used_and_fits_the_machine() {
        let mut smoke = Smoke::skipped("LIBFABRIC", String::new());
        smoke.fabric = Some("tcp".into());
        smoke.transports = vec!["tcp/eth0".into()];
        let refused = |efa| refusal(&smoke, RequiredFabric::Efa, Backend::Libfabric, &FabricDevices::with_efa(efa));
        let without = refused(None);
        assert_eq!(without.stage, "fabric");
        assert!(
            without.message.contains("tcp (tcp/eth0)") && without.message.contains("0x1d0f"),
            "{}",
            without.message
        );
        assert!(without.advice.contains("no RDMA device"), "{}", without.advice);
        assert!(refused(Some(false)).advice.contains("may not open"));
        let usable = refused(Some(true));
        assert!(usable.message.contains("infiniband: rdmap0s6;"), "{}", usable.message);
        assert!(
            usable.advice.contains("EFA installer") && usable.advice.contains("locked memory"),
            "{}",
            usable.advice
        );
        let mut hidden = FabricDevices::with_efa(Some(true));
        hidden.usable.clear();
        assert!(advice(Backend::Libfabric, &hidden, false).contains("device files"));
        let usable = FabricDevices::with_efa(Some(true));
        assert!(advice(Backend::Ucx, &usable, false).contains("on this machine"));
        let between = advice(Backend::Ucx, &usable, true);
        assert!(between.contains("at both ends") && !between.contains("on this machine"), "{between}");
    }

    #[test]
    fn the_stricter_demand_counts() {
        use RequiredFabric::{Any, Efa, Rdma};
        for (one, other, both) in
            [(Any, Any, Any), (Any, Rdma, Rdma), (Rdma, Efa, Efa), (Any, Efa, Efa), (Rdma, Any, Rdma)]
        {
            assert_eq!((one.stricter(other), other.stricter(one)), (both, both));
        }
    }
}
