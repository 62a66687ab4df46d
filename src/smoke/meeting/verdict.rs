//! A transfer's result, as the connecting side sends it.
//!
//! A type of its own: a new key in a report is no change here. Unknown keys are ignored, so that a newer version may add
//! some; a missing one is an error.

use serde::{Deserialize, Deserializer, Serialize};

use super::wire_failure::WireFailure;
use crate::report::fabric::Fabrics;
use crate::report::smoke::{self, Smoke, SmokeEngine, SmokeStatus};

/// Version of the keys below.
const VERSION: u16 = 1;

/// A transfer's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Verdict {
    /// Version of these keys.
    pub version: u16,
    /// Passed, failed or skipped.
    pub status: SmokeStatus,
    /// Why it was skipped.
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
    /// The code that moved the bytes.
    #[serde(deserialize_with = "present")]
    pub engine: Option<SmokeEngine>,
    /// The initiator's backends.
    #[serde(deserialize_with = "present")]
    pub backend: Option<String>,
    /// The target's backends, if they differ.
    #[serde(deserialize_with = "present")]
    pub peer_backend: Option<String>,
    /// The backend that NIXL chose.
    #[serde(deserialize_with = "present")]
    pub chosen_backend: Option<String>,
    /// What carried the bytes.
    #[serde(deserialize_with = "present")]
    pub fabric: Option<Fabrics>,
    /// The transports, as the library names them.
    pub transports: Vec<String>,
    /// The memory that the payload is in.
    #[serde(deserialize_with = "present")]
    pub memory: Option<String>,
    /// The initiator's GPU.
    #[serde(deserialize_with = "present")]
    pub gpu: Option<Gpu>,
    /// Payload bytes that were moved and compared, both directions added.
    pub bytes: u64,
    /// Whether every byte was compared and correct.
    pub verified: bool,
    /// Median time of one small WRITE, in microseconds.
    #[serde(deserialize_with = "present")]
    pub latency_us: Option<f64>,
    /// Large WRITEs, in Gbit/s.
    #[serde(deserialize_with = "present")]
    pub bandwidth_gbit_s: Option<f64>,
    /// Duration of the whole transfer, in milliseconds.
    pub duration_ms: f64,
    /// The part of it before both agents were connected, in milliseconds.
    #[serde(deserialize_with = "present")]
    pub setup_ms: Option<f64>,
    /// What a user should know even if it passed.
    pub warnings: Vec<String>,
    /// What went wrong.
    #[serde(deserialize_with = "present")]
    pub failure: Option<WireFailure>,
}

/// A GPU, as its driver states it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gpu {
    name: String,
    cuda: String,
    driver: String,
}

/// Without `deserialize_with`, serde reads a missing key of an `Option` as `None`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

impl Verdict {
    /// The part of a report that both sides share.
    pub(crate) fn of(smoke: &Smoke) -> Verdict {
        let smoke = smoke.clone();
        Verdict {
            version: VERSION,
            status: smoke.status,
            reason: smoke.reason,
            engine: smoke.engine,
            backend: smoke.backend,
            peer_backend: smoke.peer_backend,
            chosen_backend: smoke.chosen_backend,
            fabric: smoke.fabric,
            transports: smoke.transports,
            memory: smoke.memory,
            gpu: smoke.gpu.map(|gpu| Gpu { name: gpu.name, cuda: gpu.cuda, driver: gpu.driver }),
            bytes: smoke.bytes,
            verified: smoke.verified,
            latency_us: smoke.latency_us,
            bandwidth_gbit_s: smoke.bandwidth_gbit_s,
            duration_ms: smoke.duration_ms,
            setup_ms: smoke.setup_ms,
            warnings: smoke.warnings,
            failure: smoke.failure.map(WireFailure::from),
        }
    }

    /// The report with this verdict, and everything about this machine from `own`.
    pub(crate) fn adopt(self, own: Smoke) -> Smoke {
        Smoke {
            status: self.status,
            reason: self.reason,
            engine: self.engine,
            backend: self.backend,
            peer_backend: self.peer_backend,
            chosen_backend: self.chosen_backend,
            fabric: self.fabric,
            transports: self.transports,
            memory: self.memory,
            gpu: self.gpu.map(|gpu| smoke::Gpu { name: gpu.name, cuda: gpu.cuda, driver: gpu.driver }),
            bytes: self.bytes,
            verified: self.verified,
            latency_us: self.latency_us,
            bandwidth_gbit_s: self.bandwidth_gbit_s,
            duration_ms: self.duration_ms,
            setup_ms: self.setup_ms,
            warnings: self.warnings,
            failure: self.failure.map(WireFailure::into),
            ..own
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::stage::Stage;

    /// A verdict in which every key has a value.
    pub(crate) fn verdict() -> Verdict {
        let failure = WireFailure { stage: Stage::Fabric, message: "m".into(), advice: "a".into() };
        Verdict {
            reason: Some("r".into()),
            latency_us: Some(1.5),
            failure: Some(failure),
            gpu: Some(Gpu { name: "n".into(), cuda: "13.0".into(), driver: "d".into() }),
            fabric: Some(Fabrics::from("efa+tcp".to_string())),
            ..Verdict::of(&Smoke::nothing_observed("UCX"))
        }
    }

    #[test]
    fn a_verdict_replaces_what_is_shared_and_nothing_else() {
        let own = Smoke { nixl_version: Some("1.5.0".into()), ..Smoke::nothing_observed("LIBFABRIC") };
        let adopted = verdict().adopt(own);
        assert_eq!((adopted.backend.as_deref(), adopted.nixl_version.as_deref()), (Some("UCX"), Some("1.5.0")));
        assert_eq!(adopted.fabric.unwrap().to_string(), "efa+tcp");
        assert_eq!(adopted.failure.unwrap().message, "m");
    }
}
