//! The fabric that a user demands, held against the one that was observed.

use crate::advice::machine::memory_lock;
use crate::choice::backend::Backend;
use crate::environment::fabric_devices::FabricDevices;
use crate::report::fabric::{Fabric, Fabrics};
use crate::report::smoke::{Failure, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::smoke::plan::Plan;
use crate::smoke::plan::fabric::RequiredFabric;

/// Turns a passed transfer into a failed one, or warns, where the bytes went another way than they should.
pub(crate) fn hold(smoke: &mut Smoke, plan: &Plan, devices: &dyn Fn() -> FabricDevices) {
    if smoke.status != SmokeStatus::Passed {
        return;
    }
    if plan.principal && !plan.require_fabric.accepts(smoke.fabric.as_ref()) {
        smoke.status = SmokeStatus::Failed;
        smoke.failure = Some(refusal(smoke, plan.require_fabric, plan.backend(), &devices()));
        return;
    }
    let chosen = smoke.chosen_backend.as_deref().unwrap_or(plan.backend().name());
    if chosen == Backend::Libfabric.name() && !is_rdma(smoke.fabric.as_ref()) {
        smoke.warnings.push(format!(
            "THIS WAS NOT RDMA: LIBFABRIC passed over {}. No EFA and no other fast fabric carried these bytes, and a \
             workload here would be as slow, without an error. Looked for: {}. Add --require-fabric efa (or rdma) to make \
             this a failure.",
            observed(smoke),
            devices().describe(),
        ));
    }
}

fn is_rdma(fabric: Option<&Fabrics>) -> bool {
    fabric.and_then(Fabrics::only).is_some_and(Fabric::is_rdma)
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
    Failure { stage: Stage::Fabric, message, advice: advice(backend, devices, smoke.peer.is_some()) }
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
    fn a_refusal_says_what_was_used_and_fits_the_machine() {
        let mut smoke = Smoke::skipped("LIBFABRIC", String::new());
        smoke.fabric = Fabrics::of([Fabric::Tcp]);
        smoke.transports = vec!["tcp/eth0".into()];
        let refused = |efa| refusal(&smoke, RequiredFabric::Efa, Backend::Libfabric, &FabricDevices::with_efa(efa));
        let without = refused(None);
        assert_eq!(without.stage, Stage::Fabric);
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
}
