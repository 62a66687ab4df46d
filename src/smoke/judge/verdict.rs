//! Whether a transfer passed.

use super::quantity::bytes;
use crate::report::smoke::{Failure, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::shown::Shown;
use crate::smoke::plan::Plan;
use crate::smoke::plan::pair::Pair;
use crate::smoke::wire::worker::Measurements;

/// For a NIXL without its C API: skipped before 0.10.1, whose wheels never had it, and failed for newer ones.
pub(crate) fn no_library(plan: &Plan, smoke: &mut Smoke) {
    if plan.nixl.should_have_capi() {
        smoke.failure = Some(Failure {
            stage: Stage::Load,
            message: format!("{} has no `libnixl_capi.so`, although NIXL has had it since 0.10.1", plan.nixl.title()),
            advice: "reinstall this NIXL: a part of it was removed".into(),
        });
        return;
    }
    smoke.status = SmokeStatus::Skipped;
    smoke.reason = Some(format!(
        "{} has no C API to make the transfer with: `libnixl_capi.so` came with NIXL 0.10.1",
        plan.nixl.title()
    ));
}

/// Fails a transfer that the native engine passed for a backend whose plugin this NIXL does not ship: NIXL cannot create that
/// backend, whatever the library below it can do.
pub(crate) fn require_plugin(smoke: &mut Smoke, plan: &Plan) {
    let name = plan.backend().name();
    let Some(plugins) = plan.plugins.as_ref().filter(|plugins| !plugins.file(name).exists()) else { return };
    if smoke.status != SmokeStatus::Passed || plan.engine.is_nixl() {
        return;
    }
    smoke.status = SmokeStatus::Failed;
    smoke.failure = Some(Failure {
        stage: Stage::Backend,
        message: format!(
            "{} has no plugin `libplugin_{name}.so` in `{}`: the library below it moved the bytes, and NIXL cannot use it",
            plan.nixl.title(),
            plugins.path.shown()
        ),
        advice: "install a NIXL that ships this plugin (LIBFABRIC: 0.6.1 or newer), or choose another backend".into(),
    });
}

/// For a transfer in which both workers report success.
pub(crate) fn passed(smoke: &mut Smoke, plan: &Plan, initiator: &Measurements, target: &Measurements) {
    smoke.verified = initiator.compared == plan.size && target.compared == plan.size;
    if !smoke.verified {
        smoke.failure = Some(Failure {
            stage: Stage::Compare,
            message: format!(
                "both workers report success, but they compared {} and {} of {}",
                initiator.compared,
                target.compared,
                bytes(plan.size)
            ),
            advice: "report this bug in nixl-retrofit, on one side at least, with the output of `-v`".into(),
        });
        return;
    }
    smoke.status = SmokeStatus::Passed;
    smoke.chosen_backend = initiator.chosen.clone();
    smoke.bytes = initiator.compared + target.compared;
    smoke.latency_us = initiator.latency_us;
    smoke.bandwidth_gbit_s =
        initiator.write_seconds.filter(|seconds| *seconds > 0.0).map(|seconds| plan.size as f64 * 8e-9 / seconds);
    smoke.warnings.extend(other_than_first(&plan.pair, initiator.chosen.as_deref()));
    if smoke.fabric.is_none() {
        let stated = if smoke.transports.is_empty() { "no transport" } else { "transports of several kinds" };
        smoke.warnings.push(format!("{} stated {stated}, so the fabric is unknown", plan.pair.title()));
    }
}

/// NIXL ignores the order of the list. Measured, twenty runs each with UCX,LIBFABRIC on both sides: 1.0.1 chose LIBFABRIC in
/// all, 1.3.2 UCX in all, 1.5.0 LIBFABRIC in 14 and UCX in 6; with LIBFABRIC,UCX all chose LIBFABRIC.
fn other_than_first(pair: &Pair, chosen: Option<&str>) -> Option<String> {
    let first = pair.initiator.iter().find(|backend| pair.target.contains(backend))?;
    let chosen = chosen.filter(|chosen| *chosen != first.name())?;
    Some(format!(
        "NIXL chose {chosen}, although {first} comes first and both agents have it: NIXL ignores the order of the list, and \
         the next process may choose otherwise\nhelp: to be sure of {first}, name it alone"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::backend::Backend::{Libfabric, Ucx};

    #[test]
    fn a_choice_against_the_order_is_reported() {
        let both = Pair::alike(&[Ucx, Libfabric]);
        assert!(other_than_first(&both, Some("LIBFABRIC")).unwrap().contains("although UCX comes first"));
        assert_eq!(other_than_first(&both, Some("UCX")), None);
        assert_eq!(other_than_first(&both, None), None);
        let mixed = Pair { initiator: vec![Libfabric, Ucx], target: vec![Ucx] };
        assert_eq!(other_than_first(&mixed, Some("UCX")), None, "the only one that both have");
    }
}
