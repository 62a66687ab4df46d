//! What a libfabric was built with.

use std::path::{Path, PathBuf};

use super::elf::shared_library::SharedLibrary;

/// Amazon's provider.
const EFA: &str = "efa";
/// Amazon's library below it, which the provider of every version calls (libfabric, `prov/efa/configure.m4`).
const EFA_LIBRARY: &str = "libefa.so";

/// Whether a libfabric that lists these providers has efa.
///
/// Debian 13's 2.1.0 lists efa on every machine. Debian 12's 1.17 lists it only where it finds a device, although it has it
/// (measured): there, that it is linked with EFA's own library tells. A provider may also be a module, `libefa-fi.so`, in
/// libfabric's folder.
pub(crate) fn has_efa(library: &Path, providers: &[String]) -> bool {
    providers.iter().any(|provider| provider == EFA) || is_linked_with_efa(library) || module(library).is_some()
}

fn is_linked_with_efa(library: &Path) -> bool {
    SharedLibrary::read(library).is_ok_and(|library| library.needed.iter().any(|name| name.starts_with(EFA_LIBRARY)))
}

fn module(library: &Path) -> Option<PathBuf> {
    let folder = library.canonicalize().ok()?.parent()?.to_path_buf();
    [folder.clone(), folder.join("libfabric")]
        .into_iter()
        .map(|folder| folder.join("libefa-fi.so"))
        .find(|file| file.is_file())
}

/// The providers that carry bytes: not the hooks around them, nor the offload of collectives.
pub(crate) fn carriers(providers: &[String]) -> Vec<&str> {
    let is_carrier = |name: &&str| !name.starts_with("ofi_hook") && *name != "off_coll";
    providers.iter().map(String::as_str).filter(is_carrier).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efa_is_listed_or_a_module_beside_the_library() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libfabric.so.1");
        std::fs::write(&library, "").unwrap();
        let listed = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(!has_efa(&library, &listed(&["tcp", "shm"])));
        assert!(has_efa(&library, &listed(&["efa", "shm"])));
        std::fs::write(folder.path().join("libefa-fi.so"), "").unwrap();
        assert!(has_efa(&library, &listed(&["tcp"])));
    }

    #[test]
    fn hooks_carry_no_bytes() {
        let all = ["tcp", "ofi_rxm", "ofi_hook_noop", "off_coll"].map(String::from);
        assert_eq!(carriers(&all), ["tcp", "ofi_rxm"]);
    }
}
