//! The fabric that a user requires.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::report::fabric::{Fabric, Fabrics};

/// What must carry the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RequiredFabric {
    /// EFA
    Efa,
    /// EFA, InfiniBand, RoCE or Slingshot
    Rdma,
    /// Any fabric, with a warning if LIBFABRIC uses TCP or shared memory
    #[default]
    Any,
}

impl RequiredFabric {
    /// Whether the observed fabrics satisfy it. Only `any` accepts an unknown fabric or several.
    pub fn accepts(self, observed: Option<&Fabrics>) -> bool {
        let only = observed.and_then(Fabrics::only);
        match self {
            RequiredFabric::Any => true,
            RequiredFabric::Efa => only == Some(&Fabric::Efa),
            RequiredFabric::Rdma => only.is_some_and(Fabric::is_rdma),
        }
    }

    /// The one of the two that satisfies both: EFA is RDMA.
    pub fn stricter(self, other: RequiredFabric) -> RequiredFabric {
        match (self, other) {
            (RequiredFabric::Efa, _) | (_, RequiredFabric::Efa) => RequiredFabric::Efa,
            (RequiredFabric::Rdma, _) | (_, RequiredFabric::Rdma) => RequiredFabric::Rdma,
            (RequiredFabric::Any, RequiredFabric::Any) => RequiredFabric::Any,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            RequiredFabric::Efa => "efa",
            RequiredFabric::Rdma => "rdma",
            RequiredFabric::Any => "any",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_mixed_fabrics_satisfy_nothing() {
        let fabrics = |names: &str| Fabrics::from(names.to_string());
        for observed in
            [None, Some("tcp"), Some("efa+tcp"), Some("ib+shm"), Some("shm"), Some("")].map(|n| n.map(fabrics))
        {
            assert!(!RequiredFabric::Efa.accepts(observed.as_ref()), "{observed:?}");
            assert!(!RequiredFabric::Rdma.accepts(observed.as_ref()), "{observed:?}");
            assert!(RequiredFabric::Any.accepts(observed.as_ref()), "{observed:?}");
        }
        let accepts = |required: RequiredFabric, names| required.accepts(Some(&fabrics(names)));
        assert!(accepts(RequiredFabric::Efa, "efa") && accepts(RequiredFabric::Rdma, "efa"));
        assert!(!accepts(RequiredFabric::Efa, "ib"));
        assert!(!accepts(RequiredFabric::Rdma, "sockets"));
        for names in ["ib", "cxi"] {
            assert!(accepts(RequiredFabric::Rdma, names), "{names}");
        }
    }

    #[test]
    fn the_stricter_requirement_counts() {
        use RequiredFabric::{Any, Efa, Rdma};
        for (one, other, both) in
            [(Any, Any, Any), (Any, Rdma, Rdma), (Rdma, Efa, Efa), (Any, Efa, Efa), (Rdma, Any, Rdma)]
        {
            assert_eq!((one.stricter(other), other.stricter(one)), (both, both));
        }
    }
}
