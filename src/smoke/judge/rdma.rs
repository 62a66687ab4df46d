//! What a transfer shows of RDMA: devices that were not used, names that UCX was asked for in vain, a fabric that cannot be.

use std::path::{Path, PathBuf};

use crate::advice::{loading, rdma, ucx};
use crate::choice::backend::Backend;
use crate::environment::elf::loader::{self, Loader};
use crate::environment::fabric_devices::FabricDevices;
use crate::environment::libfabric;
use crate::environment::ucx_modules::Ucx;
use crate::report::fabric::{Fabric, Fabrics};
use crate::report::finding::{Finding, Severity};
use crate::report::smoke::{Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::smoke::launch::libraries::LIBRARY_PATH;
use crate::smoke::observe::complaint::Complaint;
use crate::smoke::plan::Plan;
use crate::smoke::plan::fabric::RequiredFabric;

/// What kind of name each of UCX's variables lists, in UCX's words.
const LISTS: [(&str, &str); 3] =
    [("transport", "UCX_TLS"), ("network device", "UCX_NET_DEVICES"), ("acceleration device", "UCX_ACC_DEVICES")];

/// Takes back a fabric whose device this machine does not show: a name in a log is no device. The initiator must be here.
pub(crate) fn doubt(smoke: &mut Smoke, devices: &FabricDevices) {
    let Some(fabric) = &smoke.fabric else { return };
    let shown = |kind: &Fabric| match kind {
        Fabric::Efa => !devices.efa().is_empty(),
        Fabric::Ib => !devices.others().is_empty(),
        _ => true,
    };
    let doubtful: Vec<&str> = fabric.iter().filter(|kind| !shown(kind)).map(Fabric::name).collect();
    if doubtful.is_empty() {
        return;
    }
    smoke.warnings.push(format!(
        "the library states {} ({}), and this machine shows no such device: the fabric is unknown. Looked for: {}\nhelp: give \
         this process the host's `/sys/class/infiniband` and `/dev/infiniband`, and check what was loaded (`-v`)",
        doubtful.join("+"),
        smoke.transports.join(", "),
        devices.describe(),
    ));
    smoke.fabric = None;
}

/// The findings about a transfer that was tried on this machine; `ucx` is what [`find_ucx`] found.
pub(crate) fn findings(
    smoke: &Smoke,
    plan: &Plan,
    complaints: &[Complaint],
    devices: &FabricDevices,
    ucx: Option<&Ucx>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = complaints.iter().map(|complaint| relayed(plan, complaint)).collect();
    let chosen = smoke.chosen_backend.as_deref().unwrap_or(plan.backend().name());
    if chosen != Backend::Ucx.name() {
        findings.extend(rdma::no_use_for_libfabric(devices).filter(|_| has_run(smoke)));
        return findings;
    }
    let title = plan.nixl.title();
    let modules = ucx.into_iter().flat_map(|ucx| ucx::modules(ucx, &title, !devices.efa().is_empty()));
    findings.extend(modules);
    let asked_in_vain = complaints.iter().any(|complaint| matches!(complaint, Complaint::Unavailable { .. }));
    if (has_run(smoke) || asked_in_vain) && !has_rdma(smoke) {
        let setting = |name| plan.variables.get(name).and_then(std::ffi::OsStr::to_str);
        findings.extend(rdma::unused_by_ucx(&rdma::Unused {
            devices,
            ucx,
            observed: Some(observed(smoke).as_str()).filter(|_| has_run(smoke)),
            tls: setting("UCX_TLS"),
            net_devices: setting("UCX_NET_DEVICES"),
        }));
    }
    findings
}

/// Names the cause of a failure that the machine explains better than the plugin's last words: UCX was told to use devices
/// that it cannot use.
pub(crate) fn explain(smoke: &mut Smoke) {
    let built_without = smoke.findings.iter().find(|finding| finding.id == loading::WITHOUT_EFA);
    if let (Some(failure), Some(finding)) = (smoke.failure.as_mut(), built_without)
        && (failure.stage <= Stage::Backend || failure.stage == Stage::Fabric)
    {
        let permanent = format!("{} ({}: {})", finding.cure.join("; "), finding.message, finding.consequence);
        // What the variables demand holds for a libfabric with efa too.
        failure.advice = match failure.stage {
            Stage::Fabric => permanent,
            _ => format!("{permanent}; then {}", failure.advice),
        };
        return;
    }
    let Some(failure) = smoke.failure.as_mut().filter(|failure| failure.stage <= Stage::Backend) else { return };
    let Some(unused) = smoke.findings.iter().find(|finding| finding.id == rdma::UNUSED) else { return };
    failure.advice = format!("{} ({})", unused.cure.join("; "), unused.consequence);
}

/// How bad it is that a libfabric has no efa: an error under `--require-fabric efa`, a warning where `FI_PROVIDER` names efa;
/// None where nobody asks for it.
pub(crate) fn asks_for_efa(plan: &Plan) -> Option<Severity> {
    if !plan.pair.has(Backend::Libfabric) {
        return None;
    }
    if plan.require_fabric == RequiredFabric::Efa {
        return Some(Severity::Error);
    }
    let providers = plan.variables.non_empty("FI_PROVIDER")?.to_str()?;
    providers.split(',').any(|name| name.trim().starts_with("efa")).then_some(Severity::Warning)
}

/// The finding that the libfabric with these providers was built without efa.
pub(crate) fn without_efa(severity: Severity, library: &Path, providers: &[String]) -> Option<Finding> {
    let lacks = !libfabric::has_efa(library, providers);
    lacks.then(|| loading::without_efa(severity, library, &libfabric::carriers(providers)))
}

/// Whether bytes went over some fabric.
fn has_run(smoke: &Smoke) -> bool {
    let refused = smoke.failure.as_ref().is_some_and(|failure| failure.stage == Stage::Fabric);
    smoke.status == SmokeStatus::Passed || refused
}

/// Whether the library has any connection over an RDMA device, be it for other things than the payload.
fn has_rdma(smoke: &Smoke) -> bool {
    let carries = smoke.fabric.iter().flat_map(Fabrics::iter).any(Fabric::is_rdma);
    carries || smoke.transports.iter().any(|transport| crate::smoke::observe::ucx::fabric(transport).is_rdma())
}

fn observed(smoke: &Smoke) -> String {
    let transports =
        if smoke.transports.is_empty() { String::new() } else { format!(" ({})", smoke.transports.join(", ")) };
    match &smoke.fabric {
        Some(fabric) => format!("{fabric}{transports}"),
        None => format!("no fabric that it states{transports}"),
    }
}

fn relayed(plan: &Plan, complaint: &Complaint) -> Finding {
    match complaint {
        Complaint::Unavailable { kind, names, offered } => {
            let variable = LISTS.iter().find(|(listed, _)| listed == kind).map(|(_, variable)| *variable);
            let setting = variable.and_then(|variable| plan.variables.assignments(&[variable]).into_iter().next());
            ucx::unavailable(kind, names, offered.as_deref(), setting.as_deref())
        }
        Complaint::Unused(variables) => ucx::unused_variables(variables),
    }
}

/// The UCX that the workers have loaded; `folders` are those that they search first.
/// The UCX that a transfer over UCX gets; `folders` are searched first.
pub(crate) fn find_ucx(plan: &Plan, folders: &[PathBuf]) -> Option<Ucx> {
    if !plan.pair.has(Backend::Ucx) {
        return None;
    }
    let own = plan.variables.get(LIBRARY_PATH).map(loader::split_path).unwrap_or_default();
    let loader = Loader::new(folders.iter().cloned().chain(own).collect());
    let plugin = plan.plugins.as_ref().map(|plugins| plugins.file(Backend::Ucx.name()));
    Ucx::find(&plan.nixl, plugin.as_deref(), &loader, &plan.variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stating(fabric: Fabric) -> Smoke {
        let transports = vec!["rc_verbs/rxe0:1".into()];
        Smoke { fabric: Fabrics::of([fabric]), transports, ..Smoke::skipped("UCX", String::new()) }
    }

    #[test]
    fn rdma_without_a_device_is_no_fabric() {
        for fabric in [Fabric::Ib, Fabric::Efa] {
            let mut smoke = stating(fabric);
            doubt(&mut smoke, &FabricDevices::default());
            assert_eq!(smoke.fabric, None);
            let [warning] = smoke.warnings.as_slice() else { panic!("{:?}", smoke.warnings) };
            assert!(warning.contains("rc_verbs/rxe0:1") && warning.contains("the fabric is unknown"), "{warning}");
        }
    }

    #[test]
    fn a_fabric_with_its_device_is_believed() {
        for (fabric, devices) in
            [(Fabric::Efa, FabricDevices::with_efa(Some(true))), (Fabric::Tcp, FabricDevices::default())]
        {
            let mut smoke = stating(fabric.clone());
            doubt(&mut smoke, &devices);
            assert_eq!((smoke.fabric, smoke.warnings), (Fabrics::of([fabric]), Vec::new()));
        }
    }
}
