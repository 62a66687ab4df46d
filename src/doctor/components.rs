//! What is here, as the report lists it.

use std::path::Path;

use super::inventory::Inventory;
use super::libraries::Libraries;
use crate::environment::efa_installer;
use crate::environment::libfabric;
use crate::environment::nixl::{self, NixlInstallation};
use crate::report::doctor::{Component, ComponentKind};
use crate::source::regular::is_same_file;

/// Every component, by kind.
pub(super) fn list(inventory: &Inventory, libraries: &Libraries) -> Vec<Component> {
    let mut components: Vec<Component> =
        inventory.nixls.iter().enumerate().map(|(number, nixl)| nixl_component(inventory, number == 0, nixl)).collect();
    components.extend(used(libraries));
    for (kind, path) in &inventory.looked_up {
        if !components.iter().any(|known| is_same_file(&known.path, path)) {
            components.push(component(*kind, path, providers(libraries, path).into_iter().collect()));
        }
    }
    components
        .extend(inventory.verbs_drivers.iter().map(|path| component(ComponentKind::VerbsDriver, path, Vec::new())));
    components.extend(efa_installer());
    components.extend(inventory.dynamo.iter().cloned());
    components.sort_by_key(|component| component.kind);
    components
}

fn nixl_component(inventory: &Inventory, is_first: bool, nixl: &NixlInstallation) -> Component {
    let mut remarks = Vec::new();
    if is_first {
        remarks.push("Python imports it".to_string());
    }
    let bare = inventory.bare_capi.as_deref();
    match &nixl.capi {
        Some(capi) if bare.is_some_and(|bare| is_same_file(bare, capi)) => {
            remarks.push("a bare dlopen finds its C API".into());
        }
        Some(_) => {}
        None => remarks.push("has no C API".into()),
    }
    let plugins = nixl.plugin_dir.as_deref().and_then(nixl::plugins).unwrap_or_default();
    remarks.push(if plugins.is_empty() { "no plugins".into() } else { format!("plugins {}", plugins.join(", ")) });
    let path = nixl.library_dirs.first().cloned().unwrap_or_default();
    Component { kind: ComponentKind::Nixl, name: nixl.name.clone(), version: nixl.version.clone(), path, remarks }
}

/// The libraries that NIXL's plugins get, which may be others than any program gets.
fn used(libraries: &Libraries) -> Vec<Component> {
    let wanted = [
        ("UCX", "libucp", ComponentKind::Ucx),
        ("LIBFABRIC", "libfabric", ComponentKind::Libfabric),
        ("LIBFABRIC", "libcudart", ComponentKind::CudaRuntime),
    ];
    let mut found: Vec<Component> = Vec::new();
    for (backend, stem, kind) in wanted {
        let path = libraries.plugin(backend).and_then(|plugin| plugin.library(stem));
        found.extend(path.map(|path| component(kind, path, vec![format!("NIXL's {backend} plugin gets it")])));
    }
    let ib = libraries.module("libuct_ib").and_then(|module| module.library("libibverbs"));
    found.extend(ib.map(|path| component(ComponentKind::Libibverbs, path, vec!["UCX's libuct_ib gets it".into()])));
    for component in &mut found {
        component.remarks.extend(providers(libraries, &component.path));
        if component.kind == ComponentKind::Ucx {
            component.version = libraries.ucx_version().map(String::from);
        }
    }
    found
}

fn efa_installer() -> Option<Component> {
    let path = Path::new(efa_installer::INSTALLED);
    let (kind, name) = (ComponentKind::EfaInstaller, "EFA installer".to_string());
    let version = Some(efa_installer::version(path)?);
    Some(Component { kind, name, version, path: path.to_path_buf(), remarks: Vec::new() })
}

/// Of a libfabric that was loaded.
fn providers(libraries: &Libraries, path: &Path) -> Option<String> {
    let providers = libraries.providers(path)?;
    let hint = if libfabric::has_efa(path, providers) && !providers.iter().any(|it| it == "efa") {
        "; efa where there is a device"
    } else {
        ""
    };
    Some(format!("providers {}{hint}", libfabric::carriers(providers).join(", ")))
}

fn component(kind: ComponentKind, path: &Path, remarks: Vec<String>) -> Component {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Component { kind, version: version_in_name(path), name, path: path.to_path_buf(), remarks }
}

/// The version that a library's real file name ends in: `1.14.56.1` of `libibverbs.so.1.14.56.1`. UCX numbers its ABI
/// there, so it has none.
fn version_in_name(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let name = real.file_name()?.to_str()?;
    let (stem, version) = name.split_once(".so.")?;
    (!stem.starts_with("libuc") && version.contains('.')).then(|| version.to_string())
}
