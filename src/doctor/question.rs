//! What is asked, and of what.

use std::path::{Path, PathBuf};

use crate::choice::backend::Backend;
use crate::environment::variables::Variables;

/// What is examined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The folders that the environment's Python imports from.
    pub import_path: &'a [PathBuf],
    /// Whether Dynamo is there.
    pub has_dynamo: bool,
    /// The variables of a process there.
    pub variables: &'a Variables,
    /// This program, which loads libraries in processes of their own.
    pub program: &'a Path,
}

/// What it is examined for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    /// Only these backends; all when empty.
    pub backends: Vec<Backend>,
    /// Only this fabric.
    pub fabric: Option<Fabric>,
    /// Judge as for the machine that it runs on, devices and driver included.
    pub expect_node: bool,
    /// Ask the loader too.
    pub load: bool,
}

/// A fabric, or the kind of memory that a transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fabric {
    /// TCP, which needs nothing.
    Tcp,
    /// InfiniBand or RoCE.
    Rdma,
    /// Amazon's EFA.
    Efa,
    /// GPU memory.
    Cuda,
}

impl Fabric {
    /// As it is written in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fabric::Tcp => "tcp",
            Fabric::Rdma => "rdma",
            Fabric::Efa => "efa",
            Fabric::Cuda => "cuda",
        }
    }
}

impl Question {
    /// Whether it is not limited.
    pub(crate) fn is_about_everything(&self) -> bool {
        self.backends.is_empty() && self.fabric.is_none()
    }

    /// Whether it is about this.
    pub(super) fn is_about(&self, backend: Backend, fabric: Fabric) -> bool {
        (self.backends.is_empty() || self.backends.contains(&backend)) && self.fabric.is_none_or(|only| only == fabric)
    }
}
