//! The EFA installer, which puts AWS's libfabric and rdma-core into an image.

use std::path::Path;

use crate::source::regular;

/// What the installer writes about itself: a comment with its version first, then the names of its packages.
pub(crate) const INSTALLED: &str = "/opt/amazon/efa_installed_packages";

/// The version of the installer that wrote this file.
pub(crate) fn version(file: &Path) -> Option<String> {
    let content = regular::read(file).ok()?;
    let text = String::from_utf8_lossy(&content);
    let version = text.lines().next()?.strip_prefix("# EFA installer version:")?.trim();
    (!version.is_empty()).then(|| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("efa_installed_packages");
        let version_in = |text: &str| {
            std::fs::write(&file, text).unwrap();
            version(&file)
        };
        let whole = "# EFA installer version: 1.38.0\n# Debug packages installed: no\n# Packages installed:\nefa-config_1.17_all\n";
        assert_eq!(version_in(whole).as_deref(), Some("1.38.0"));
        assert_eq!(version_in("# Packages installed:\n# EFA installer version: 1.38.0\n"), None);
        assert_eq!(version_in("# EFA installer version:\n"), None);
        assert_eq!(version_in(""), None);
        assert_eq!(version(folder.path()), None);
    }
}
