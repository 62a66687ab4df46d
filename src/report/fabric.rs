//! What carries a transfer's bytes.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A fabric, named as reports name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fabric {
    /// Amazon's Elastic Fabric Adapter.
    Efa,
    /// InfiniBand or RoCE.
    Ib,
    /// HPE Slingshot.
    Cxi,
    /// TCP.
    Tcp,
    /// Memory of this machine, shared or copied by the kernel.
    Shm,
    /// GPUs of one machine, directly.
    GpuIpc,
    /// One that is not known here, under the library's own name for it.
    Other(String),
}

impl Fabric {
    /// Those that have a name of their own here.
    const KNOWN: [Fabric; 6] = [Fabric::Efa, Fabric::Ib, Fabric::Cxi, Fabric::Tcp, Fabric::Shm, Fabric::GpuIpc];

    /// The fabric of that name.
    pub fn named(name: &str) -> Fabric {
        Fabric::KNOWN.into_iter().find(|fabric| fabric.name() == name).unwrap_or_else(|| Fabric::Other(name.into()))
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        match self {
            Fabric::Efa => "efa",
            Fabric::Ib => "ib",
            Fabric::Cxi => "cxi",
            Fabric::Tcp => "tcp",
            Fabric::Shm => "shm",
            Fabric::GpuIpc => "gpu-ipc",
            Fabric::Other(name) => name,
        }
    }

    /// Whether the network card itself reads and writes memory.
    pub fn is_rdma(&self) -> bool {
        matches!(self, Fabric::Efa | Fabric::Ib | Fabric::Cxi)
    }
}

/// The fabrics that carried one transfer; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "String", from = "String")]
pub struct Fabrics(BTreeSet<Fabric>);

impl Fabrics {
    /// All of these; `None` where there are none.
    pub fn of(fabrics: impl IntoIterator<Item = Fabric>) -> Option<Fabrics> {
        let fabrics: BTreeSet<Fabric> = fabrics.into_iter().collect();
        (!fabrics.is_empty()).then_some(Fabrics(fabrics))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fabric> {
        self.0.iter()
    }

    /// The one fabric, where there is no other beside it.
    pub fn only(&self) -> Option<&Fabric> {
        self.0.first().filter(|_| self.0.len() == 1)
    }
}

/// The names in alphabetical order, joined by `+`.
impl fmt::Display for Fabrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.0.iter().map(Fabric::name).collect();
        names.sort_unstable();
        f.write_str(&names.join("+"))
    }
}

impl From<Fabrics> for String {
    fn from(fabrics: Fabrics) -> String {
        fabrics.to_string()
    }
}

impl From<String> for Fabrics {
    fn from(names: String) -> Fabrics {
        Fabrics(names.split('+').map(Fabric::named).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for names in ["efa", "efa+tcp", "gpu-ipc+ib", "new_thing", "shm+tcp"] {
            assert_eq!(Fabrics::from(names.to_string()).to_string(), names);
        }
        assert_eq!(Fabrics::of([]), None);
        assert_eq!(Fabrics::of([Fabric::Tcp, Fabric::Tcp]).unwrap().only(), Some(&Fabric::Tcp));
        assert_eq!(Fabrics::of([Fabric::Tcp, Fabric::Efa]).unwrap().only(), None);
    }
}
