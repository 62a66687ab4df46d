//! What is installed that a transfer may use, and which of it a process gets.

use std::path::PathBuf;

use super::question::Subject;
use crate::environment::elf::closure::Gap;
use crate::environment::elf::loader::{self, Loader};
use crate::environment::nixl::{self, NixlInstallation};
use crate::environment::python::distribution;
use crate::environment::ucx;
use crate::environment::ucx_modules;
use crate::report::doctor::{Component, ComponentKind};

/// Libraries that are looked up as any program would get them.
const LOOKED_UP: [(ComponentKind, &str); 6] = [
    (ComponentKind::Ucx, "libucp.so.0"),
    (ComponentKind::Libfabric, "libfabric.so.1"),
    (ComponentKind::Libibverbs, "libibverbs.so.1"),
    (ComponentKind::CudaDriver, "libcuda.so.1"),
    (ComponentKind::CudaRuntime, "libcudart.so.13"),
    (ComponentKind::CudaRuntime, "libcudart.so.12"),
];

/// NIXL's own search path for plugins.
pub(super) const PLUGIN_DIR: &str = "NIXL_PLUGIN_DIR";

/// All of it.
#[derive(Debug)]
pub(super) struct Inventory {
    /// Every NIXL; Python imports the first one.
    pub nixls: Vec<NixlInstallation>,
    /// The folder that plugins are loaded from.
    pub plugin_dir: PathBuf,
    /// The backends with a plugin there.
    pub plugins: Vec<String>,
    /// What a bare `dlopen("libnixl_capi.so")` gets.
    pub bare_capi: Option<PathBuf>,
    /// What a bare `dlopen("libibverbs.so.1")` gets.
    pub bare_libibverbs: Option<PathBuf>,
    /// The drivers of libibverbs.
    pub verbs_drivers: Vec<PathBuf>,
    /// Where libraries often are and the loader does not look.
    usual_places: Vec<PathBuf>,
    /// What any program would get, and what is in the usual places.
    pub looked_up: Vec<(ComponentKind, PathBuf)>,
    /// Dynamo's distributions.
    pub dynamo: Vec<Component>,
}

impl Inventory {
    /// Looks. None where there is no NIXL.
    pub(super) fn take(subject: &Subject, loader: &Loader) -> Option<Inventory> {
        let nixls = nixl::find(subject.import_path);
        let first = nixls.first()?;
        let named = subject.variables.non_empty(PLUGIN_DIR).map(PathBuf::from);
        let plugin_dir = named.or_else(|| first.plugin_dir.clone()).unwrap_or_default();
        let mut looked_up: Vec<(ComponentKind, PathBuf)> =
            LOOKED_UP.iter().filter_map(|(kind, name)| Some((*kind, loader.find_bare(name)?))).collect();
        looked_up.extend(ucx::other_libraries(subject.import_path).into_iter().map(|path| (ComponentKind::Ucx, path)));
        let usual_places = loader::usual_places(subject.import_path);
        for folder in &usual_places {
            let names = [
                (ComponentKind::Libfabric, "libfabric.so.1"),
                (ComponentKind::CudaRuntime, "libcudart.so.12"),
                (ComponentKind::CudaRuntime, "libcudart.so.13"),
            ];
            looked_up.extend(
                names.map(|(kind, name)| (kind, folder.join(name))).into_iter().filter(|(_, path)| path.is_file()),
            );
        }
        looked_up.extend(loader.find_bare("libgdrapi.so.2").map(|path| (ComponentKind::Gdrcopy, path)));
        Some(Inventory {
            plugins: nixl::plugins(&plugin_dir).unwrap_or_default(),
            plugin_dir,
            bare_capi: loader.find_bare("libnixl_capi.so"),
            bare_libibverbs: loader.find_bare("libibverbs.so.1"),
            verbs_drivers: ucx_modules::installed_drivers(),
            usual_places,
            looked_up,
            dynamo: dynamo(subject.import_path),
            nixls,
        })
    }

    /// The NIXL that Python imports.
    pub(super) fn nixl(&self) -> &NixlInstallation {
        // `take` returns none without one.
        &self.nixls[0]
    }

    /// A folder with the library that a gap misses, where the loader does not look.
    pub(super) fn elsewhere(&self, gap: &Gap) -> Option<PathBuf> {
        let Gap::Missing { name, .. } = gap else { return None };
        self.usual_places.iter().find(|folder| folder.join(name).is_file()).cloned()
    }
}

/// Dynamo's distributions.
fn dynamo(import_path: &[PathBuf]) -> Vec<Component> {
    let mut found = Vec::new();
    for site in import_path {
        for name in ["ai-dynamo", "ai-dynamo-runtime"] {
            if let Some(version) = distribution::version_of(site, name) {
                let (kind, name) = (ComponentKind::Dynamo, name.to_string());
                found.push(Component { kind, name, version: Some(version), path: site.clone(), remarks: Vec::new() });
            }
        }
    }
    found
}
