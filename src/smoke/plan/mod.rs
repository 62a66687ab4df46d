//! What to transfer: everything that is decided before a worker starts.
#![forbid(unsafe_code)]

pub(crate) mod deadline;
pub(crate) mod engine;
pub(crate) mod fabric;
pub(crate) mod fault;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod operation;
pub(crate) mod options;
pub(crate) mod pair;
pub(crate) mod plugins;
pub(crate) mod role;
pub(crate) mod seed;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::choice::backend::Backend;
use crate::environment::nixl::NixlInstallation;
use crate::environment::variables::Variables;
use engine::{Engine, EngineChoice};
use fabric::RequiredFabric;
use fault::Fault;
use memory::Memory;
use pair::Pair;
use plugins::PluginFolder;

/// What to transfer, with what, and how long it may take. Everything is found once, here.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// This program's file, which each worker is started from.
    pub program: PathBuf,
    /// The NIXL to load.
    pub nixl: NixlInstallation,
    /// What moves the bytes.
    pub engine: Engine,
    /// NIXL's plugin directory.
    pub plugins: Option<PluginFolder>,
    /// The backends that the agents are created with.
    pub pair: Pair,
    /// The memory that the payload is in.
    pub memory: Memory,
    /// Payload in each direction, in bytes.
    pub size: u64,
    /// Large messages in each direction, at most: the length of all but the last is a multiple of eight bytes.
    pub iterations: u32,
    /// Both sides derive the payload from it.
    pub seed: u64,
    /// Deadline of the whole transfer.
    pub timeout: Duration,
    /// Directories to search for libraries before LD_LIBRARY_PATH.
    pub library_path: Vec<PathBuf>,
    /// The directories that the environment's Python imports from: wheels with libraries are there.
    pub import_path: Vec<PathBuf>,
    /// The environment variables that the workers start from.
    pub variables: Arc<Variables>,
    /// Whether this is what the patched code would do; only then is the required fabric enforced.
    pub principal: bool,
    /// What must have carried the bytes.
    pub require_fabric: RequiredFabric,
    /// A fault to inject, for tests.
    pub fault: Option<Fault>,
}

impl Plan {
    /// The backend that the initiator prefers; with one backend, that one.
    pub(crate) fn backend(&self) -> Backend {
        self.pair.preferred()
    }

    /// The same plan for other agents, with the engine that they need.
    pub(crate) fn with_pair(&self, pair: Pair, choice: EngineChoice, principal: bool) -> Plan {
        let engine = Engine::decide(choice, &self.nixl, pair.preferred());
        Plan { pair, engine, principal, ..self.clone() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan of NIXL 1.5.1 with nothing special about it.
    pub(crate) fn plan(backend: Backend) -> Plan {
        let nixl = NixlInstallation {
            name: "nixl-cu13".into(),
            version: Some("1.5.1".into()),
            capi: None,
            plugin_dir: None,
            library_dirs: Vec::new(),
        };
        Plan {
            program: PathBuf::new(),
            engine: Engine::decide(EngineChoice::Auto, &nixl, backend),
            nixl,
            plugins: None,
            pair: Pair::alike(&[backend]),
            principal: true,
            memory: Memory::Dram,
            size: 1,
            iterations: 1,
            seed: 1,
            timeout: Duration::from_secs(1),
            library_path: Vec::new(),
            import_path: Vec::new(),
            variables: Arc::default(),
            require_fabric: RequiredFabric::Any,
            fault: None,
        }
    }
}
