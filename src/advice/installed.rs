//! What is to be said of the NIXL that a process gets, and of what is beside it.

use std::path::{Path, PathBuf};

use super::machine::{SHARED_MEMORY, small_shared_memory};
use super::{nixl_mix, variables};
use crate::environment::machine;
use crate::environment::misspelt;
use crate::environment::nixl::{self, NixlInstallation};
use crate::environment::nixl_mix::{self as mix, BareCapi};
use crate::environment::variables::Variables;
use crate::report::finding::Finding;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Installed<'a> {
    /// The NIXL that is tested.
    pub nixl: &'a NixlInstallation,
    /// The folders that the environment's Python imports from.
    pub import_path: &'a [PathBuf],
    /// A plugin folder that somebody named, and by what.
    pub plugins: Option<(&'a Path, &'a str)>,
    /// The variables of a process there.
    pub variables: &'a Variables,
    /// The variable that chooses the backends.
    pub variable: &'a str,
    /// Whether Dynamo is there.
    pub has_dynamo: bool,
    /// Whether UCX is used.
    pub has_ucx: bool,
}

impl Installed<'_> {
    /// All of it.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let all = nixl::find(self.import_path);
        let mut findings: Vec<Finding> = nixl_mix::several(self.nixl, &all).into_iter().collect();
        findings.extend(nixl_mix::preloaded(&mix::preloaded(self.variables)));
        findings.extend(self.foreign_plugins(&all));
        findings.extend(small_shared_memory(machine::space(SHARED_MEMORY).filter(|_| self.has_ucx)));
        let near = misspelt::near_misses(self.variables, self.variable);
        findings.extend(near.iter().map(|(name, meant)| variables::misspelt(name, meant)));
        findings
            .extend(self.nixl.capi.as_deref().filter(|_| self.has_dynamo).and_then(|capi| self.compiled_side(capi)));
        findings
    }

    /// Plugins of another NIXL than the tested one.
    fn foreign_plugins(&self, all: &[NixlInstallation]) -> Option<Finding> {
        let (folder, named_by) = self.plugins?;
        if mix::belongs_to(folder, self.nixl) {
            return None;
        }
        let owner = all.iter().find(|other| mix::belongs_to(folder, other));
        Some(nixl_mix::foreign_plugins(folder, named_by, self.nixl, owner))
    }

    /// Whether Dynamo's compiled side, which looks for NIXL by name alone, finds this one.
    fn compiled_side(&self, capi: &Path) -> Option<Finding> {
        let other = match mix::bare_capi(capi, self.variables) {
            BareCapi::This => return None,
            BareCapi::Other(found) => Some(found),
            BareCapi::Nothing => None,
        };
        Some(nixl_mix::not_on_loader_path(capi, other.as_deref()))
    }
}
