//! Where NIXL looks for its backends' plugins.

use std::path::{Path, PathBuf};

use crate::environment::nixl::{self, NixlInstallation};
use crate::environment::variables::Variables;

/// The variable that overrides NIXL's own directory.
pub(crate) const PLUGIN_DIR_VARIABLE: &str = "NIXL_PLUGIN_DIR";

/// Where the plugin directory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The command line; the workers get it as an environment variable.
    Option,
    /// The environment variable.
    Variable,
    /// The installed NIXL.
    Installation,
}

/// NIXL's plugin directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginFolder {
    /// The directory.
    pub path: PathBuf,
    /// Where it comes from.
    pub named_by: NamedBy,
}

impl PluginFolder {
    /// The option, else the variable, else the installation's own; `None` if there is none.
    pub(crate) fn decide(
        option: Option<&Path>,
        variables: &Variables,
        nixl: &NixlInstallation,
    ) -> Option<PluginFolder> {
        let folder = |path: &Path, named_by| PluginFolder { path: path.to_path_buf(), named_by };
        let variable = variables.non_empty(PLUGIN_DIR_VARIABLE).map(Path::new);
        option
            .map(|path| folder(path, NamedBy::Option))
            .or_else(|| variable.map(|path| folder(path, NamedBy::Variable)))
            .or_else(|| nixl.plugin_dir.as_deref().map(|path| folder(path, NamedBy::Installation)))
    }

    /// The file of a backend's plugin.
    pub(crate) fn file(&self, backend: &str) -> PathBuf {
        nixl::plugin_file(&self.path, backend)
    }
}
