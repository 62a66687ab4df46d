//! The required fabric against the observed one.

use crate::advice::machine::memory_lock;
use crate::choice::backend::Backend;
use crate::environment::fabric_devices::FabricDevices;
use crate::report::fabric::{Fabric, Fabrics};
use crate::report::smoke::{Failure, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::smoke::observe::libfabric::PSM3;
use crate::smoke::plan::Plan;
use crate::smoke::plan::fabric::RequiredFabric;

/// Fails a passed transfer whose bytes took another fabric than the required one; warns if LIBFABRIC did not use RDMA.
pub(crate) fn enforce(smoke: &mut Smoke, plan: &Plan, devices: &dyn Fn() -> FabricDevices) {
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
            "not RDMA: LIBFABRIC ran over {}, not over EFA or another fast fabric; a workload here would be as slow, without \
             an error. Looked for: {}\nhelp: {}",
            observed(smoke),
            devices().describe(),
            help(smoke.fabric.as_ref()),
        ));
    }
}

fn help(fabric: Option<&Fabrics>) -> &'static str {
    if fabric.is_some_and(|fabric| fabric.iter().any(|fabric| *fabric == Fabric::named(PSM3))) {
        return "set `FI_PROVIDER=^psm3` here and for the workload: psm3 comes before tcp where rdma-core is installed, and READs \
                of 1 MiB and more between two machines stall through it";
    }
    "add `--require-fabric efa` (or `rdma`) to make this a failure"
}

fn is_rdma(fabric: Option<&Fabrics>) -> bool {
    fabric.and_then(Fabrics::only).is_some_and(Fabric::is_rdma)
}

fn observed(smoke: &Smoke) -> String {
    let transports =
        if smoke.transports.is_empty() { String::new() } else { format!(" ({})", smoke.transports.join(", ")) };
    match &smoke.fabric {
        Some(fabric) => format!("{fabric}{transports}"),
        None => format!("a fabric that the library did not state for certain{transports}"),
    }
}

fn refusal(smoke: &Smoke, required: RequiredFabric, backend: Backend, devices: &FabricDevices) -> Failure {
    let message = format!(
        "`--require-fabric {}`: the transfer was correct, but it ran over {}\n  looked for: {}",
        required.name(),
        observed(smoke),
        devices.describe(),
    );
    let advice = no_efa(required, devices)
        .or_else(|| split(smoke))
        .unwrap_or_else(|| advice(backend, devices, smoke.peer.is_some()));
    Failure { stage: Stage::Fabric, message, advice }
}

/// For a machine whose devices are of another kind than the required one.
fn no_efa(required: RequiredFabric, devices: &FabricDevices) -> Option<String> {
    let others = devices.others();
    let lacks = required == RequiredFabric::Efa && devices.efa().is_empty() && !others.is_empty();
    lacks.then(|| {
        format!(
            "use `--require-fabric rdma` with `--backend UCX` on this machine: it has no EFA, `{}` is InfiniBand or RoCE, \
             which LIBFABRIC has no use for. On AWS, use an instance type with EFA.",
            others.join("`, `")
        )
    })
}

/// For a payload of which only a part went over RDMA.
fn split(smoke: &Smoke) -> Option<String> {
    let fabrics = smoke.fabric.as_ref().filter(|fabric| fabric.only().is_none())?;
    let (rdma, others): (Vec<&Fabric>, Vec<&Fabric>) = fabrics.iter().partition(|fabric| fabric.is_rdma());
    let [only] = others.as_slice() else { return None };
    (!rdma.is_empty() && **only == Fabric::Tcp).then(|| {
        "set `UCX_TLS=^tcp` for this test and for the workload: UCX splits large messages between RDMA and TCP, which it \
         takes to be as fast (add `,shm` to keep this test from shared memory)"
            .into()
    })
}

fn advice(backend: Backend, devices: &FabricDevices, two_machines: bool) -> String {
    if devices.devices.is_empty() {
        return "leave `--require-fabric` to a run on the instance itself: this machine shows no RDMA device, and a container \
                build never has one. On AWS, use an instance type with EFA and a network interface of type EFA, check \
                that the kernel has the module `efa` (`lsmod`), and give the container its devices (`docker run --device \
                /dev/infiniband/uverbs0`, or `vpc.amazonaws.com/efa` in Kubernetes)."
            .into();
    }
    if !devices.forbidden.is_empty() {
        return "run as a user who may open the device files, or give the container the devices with read and write \
                permission (`docker run --device /dev/infiniband/uverbs0`): they are there, and this user may not open them"
            .into();
    }
    if devices.usable.is_empty() {
        return "give the container the device files (`docker run --device /dev/infiniband/uverbs0` for each, or \
                `vpc.amazonaws.com/efa` in Kubernetes) and an unlimited memory lock (`--ulimit memlock=-1`): the kernel has \
                the device, and this container does not"
            .into();
    }
    match backend {
        Backend::Ucx if two_machines => {
            "check with `ucx_info -d` that the UCX on each side knows its device, and allow UCX nothing but RDMA for this test \
             on both sides (`UCX_TLS=srd,ud_v` for EFA, `UCX_TLS=rc,ud` for InfiniBand; for GPU memory add `cuda_copy`)"
                .into()
        }
        Backend::Ucx => {
            "allow UCX nothing but RDMA for this test (`UCX_TLS=srd,ud_v` for EFA, `UCX_TLS=rc,ud` for InfiniBand; for GPU \
             memory add `cuda_copy`), and check with `ucx_info -d` that this UCX knows the device: both sides are on this \
             machine, where UCX prefers shared memory"
                .into()
        }
        Backend::Libfabric => format!(
            "check what `fi_info -p efa` says with the libfabric that was loaded (`-v` shows the directories), use the EFA installer's \
             (`--library-path /opt/amazon/efa/lib`), and run again with `FI_LOG_LEVEL=warn`: the device is \
             there, but libfabric did not offer it.{}",
            memory_lock().map(|advice| format!(" If memory cannot be registered, {advice}.")).unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::fabric_devices::RdmaDevice;

    #[test]
    fn psm3_gets_a_cure_of_its_own() {
        assert!(help(Fabrics::of([Fabric::named("psm3")]).as_ref()).contains("`FI_PROVIDER=^psm3`"));
        assert!(help(Fabrics::of([Fabric::Tcp]).as_ref()).contains("--require-fabric"));
        assert!(help(None).contains("--require-fabric"));
    }

    #[test]
    fn a_refusal_says_what_was_used_and_fits_the_machine() {
        let mut smoke = Smoke::skipped("LIBFABRIC", String::new());
        smoke.fabric = Fabrics::of([Fabric::Tcp]);
        smoke.transports = vec!["tcp/eth0".into()];
        let refused =
            |smoke: &Smoke, efa| refusal(smoke, RequiredFabric::Efa, Backend::Libfabric, &FabricDevices::with_efa(efa));
        let without = refused(&smoke, None);
        assert_eq!(without.stage, Stage::Fabric);
        assert!(
            without.message.contains("tcp (tcp/eth0)") && without.message.contains("0x1d0f"),
            "{}",
            without.message
        );
        assert!(without.advice.contains("no RDMA device"), "{}", without.advice);
        assert!(refused(&smoke, Some(false)).advice.contains("may not open"));
        let usable = refused(&smoke, Some(true));
        assert!(usable.message.contains("infiniband`: rdmap0s6;"), "{}", usable.message);
        assert!(
            usable.advice.contains("EFA installer's") && usable.advice.contains("locked memory"),
            "{}",
            usable.advice
        );
        smoke.fabric = Fabrics::of([Fabric::Tcp, Fabric::Ib]);
        assert!(refused(&smoke, Some(true)).advice.contains("UCX_TLS=^tcp"));
        let mlx5 = RdmaDevice { name: "mlx5_0".into(), vendor: Some(0x15b3), active: None };
        let other = FabricDevices { devices: vec![mlx5], ..FabricDevices::with_efa(Some(true)) };
        let advice_for_efa = no_efa(RequiredFabric::Efa, &other).unwrap();
        assert!(advice_for_efa.contains("no EFA, `mlx5_0`"), "{advice_for_efa}");
        assert_eq!(no_efa(RequiredFabric::Rdma, &other), None);
        let mut hidden = FabricDevices::with_efa(Some(true));
        hidden.usable.clear();
        assert!(advice(Backend::Libfabric, &hidden, false).contains("device files"));
        let usable = FabricDevices::with_efa(Some(true));
        assert!(advice(Backend::Ucx, &usable, false).contains("on this machine"));
        let between = advice(Backend::Ucx, &usable, true);
        assert!(between.contains("on both sides") && !between.contains("on this machine"), "{between}");
    }
}
