//! The UCX that a NIXL uses: its transport modules, and the libibverbs behind its InfiniBand module.
//!
//! UCX loads its modules from the folder `ucx` beside its own libraries, or from `UCX_MODULE_DIR`; one that is absent or that
//! the dynamic loader refuses is left out without a word at the usual log level (UCX, `ucs/sys/module.c`).

use std::fs;
use std::path::{Path, PathBuf};

use super::elf::loader::{self, Loader};
use super::elf::needs::{Missing, Needs};
use super::elf::shared_library::SharedLibrary;
use super::nixl::NixlInstallation;
use super::ucx;
use super::variables::Variables;
use crate::source::regular::is_same_file;

/// Where distributions have the libraries of libibverbs's drivers; the last is also where that of NIXL's wheels looks.
const DRIVER_FOLDERS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libibverbs",
    "/usr/lib/aarch64-linux-gnu/libibverbs",
    "/usr/lib/libibverbs",
    "/usr/lib64/libibverbs",
];
/// Libraries of NVIDIA's driver and of DOCA, which a machine without the device has not: no fault of an image.
const DEVICE_LIBRARIES: [&str; 3] = ["libcuda.so", "libnvidia-ml.so", "libflexio.so"];
/// What other programs' libibverbs is called: the drivers are linked with this name.
const VERBS: &str = "libibverbs.so.1";

/// A module that UCX has and the dynamic loader refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedModule {
    /// Its file.
    pub path: PathBuf,
    /// The libraries that were not found.
    pub missing: Vec<Missing>,
}

/// The libibverbs that UCX's InfiniBand module loads, and what else matters to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verbs {
    /// That library, if it was found.
    pub library: Option<PathBuf>,
    /// The second copy of libibverbs, which the drivers would load: they register with it, and UCX asks the first.
    pub second: Option<PathBuf>,
    /// The libraries of drivers, `librxe-rdmav34.so`.
    pub drivers: Vec<PathBuf>,
}

/// A UCX.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ucx {
    /// The folder of its modules, whether it is there or not.
    pub folder: PathBuf,
    /// The modules that are there, `libuct_ib`.
    pub present: Vec<String>,
    /// Of these, those that the dynamic loader refuses.
    pub refused: Vec<RefusedModule>,
    /// What its InfiniBand module works with.
    pub verbs: Verbs,
}

impl Ucx {
    /// The UCX that `nixl` brings, or that its plugin is linked with; `None` if none is found.
    pub(crate) fn find(
        nixl: &NixlInstallation,
        plugin: Option<&Path>,
        loader: &Loader,
        variables: &Variables,
    ) -> Option<Ucx> {
        let own = nixl.bundled("libucs").or_else(|| linked(plugin?, "libucs.so.0", loader));
        let own = own?;
        let named = variables.non_empty("UCX_MODULE_DIR").map(PathBuf::from);
        let files = ucx::modules(&own, named.as_deref());
        let folder = named.or_else(|| Some(own.parent()?.join("ucx")))?;
        Some(Ucx::of(folder, &files, loader, &DRIVER_FOLDERS.map(PathBuf::from)))
    }

    fn of(folder: PathBuf, files: &[PathBuf], loader: &Loader, driver_folders: &[PathBuf]) -> Ucx {
        let verbs = files
            .iter()
            .find(|file| ucx::module_name(file) == Some("libuct_ib"))
            .map(|file| verbs(file, loader, driver_folders));
        Ucx {
            folder,
            present: files.iter().filter_map(|file| ucx::module_name(file)).map(String::from).collect(),
            refused: files.iter().filter_map(|file| refusal(file, loader)).collect(),
            verbs: verbs.unwrap_or_default(),
        }
    }

    /// Whether it has this module, `libuct_ib`.
    pub(crate) fn has(&self, module: &str) -> bool {
        self.present.iter().any(|present| present == module)
    }

    /// The refusal of this module.
    pub(crate) fn refusal(&self, module: &str) -> Option<&RefusedModule> {
        self.refused.iter().find(|refused| ucx::module_name(&refused.path) == Some(module))
    }
}

impl Verbs {
    /// The driver's library for the provider of a device, `rxe` for example.
    pub(crate) fn driver(&self, provider: &str) -> Option<&Path> {
        let start = format!("lib{provider}-rdmav");
        self.drivers.iter().find(|path| file_name(path).starts_with(&start)).map(PathBuf::as_path)
    }
}

fn refusal(module: &Path, loader: &Loader) -> Option<RefusedModule> {
    let contents = SharedLibrary::read(module).ok()?;
    let needs = Needs::of(module.to_path_buf(), contents, loader, &[]);
    let is_fault = |missing: &Missing| !DEVICE_LIBRARIES.iter().any(|library| missing.name.starts_with(library));
    let missing: Vec<Missing> = needs.missing.into_iter().filter(is_fault).collect();
    (!missing.is_empty()).then(|| RefusedModule { path: module.to_path_buf(), missing })
}

fn verbs(module: &Path, loader: &Loader, driver_folders: &[PathBuf]) -> Verbs {
    let Ok(contents) = SharedLibrary::read(module) else { return Verbs::default() };
    let name = contents.needed.iter().find(|name| name.starts_with("libibverbs"));
    let found = name.and_then(|name| loader.find(name, module, &contents, &[])).map(|(path, _)| path);
    // `ucx/../libibverbs.so.1` becomes a path to read.
    let library = found.map(|path| fs::canonicalize(&path).unwrap_or(path));
    let drivers = loader.library_path().iter().chain(driver_folders).flat_map(|folder| drivers_in(folder)).collect();
    let usual = loader.find_bare(VERBS);
    // The loader knows a library by its file: a link to the first copy is no second one.
    let is_first = |path: &PathBuf| library.as_ref().is_some_and(|library| is_same_file(library, path));
    Verbs { second: usual.filter(|path| library.is_some() && !is_first(path)), library, drivers }
}

/// The path of a library that `plugin` needs, as the loader finds it.
fn linked(plugin: &Path, name: &str, loader: &Loader) -> Option<PathBuf> {
    let contents = SharedLibrary::read(plugin).ok()?;
    let inherited = loader::expand(&contents.rpath, plugin);
    loader.find(name, plugin, &contents, &inherited).map(|(path, _)| path)
}

/// The drivers of libibverbs that distributions install.
pub(crate) fn installed_drivers() -> Vec<PathBuf> {
    DRIVER_FOLDERS.iter().flat_map(|folder| drivers_in(Path::new(folder))).collect()
}

fn drivers_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut drivers: Vec<PathBuf> = entries.filter(|path| file_name(path).contains("-rdmav")).collect();
    drivers.sort();
    drivers
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
