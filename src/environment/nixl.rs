//! The NIXL installations of a Python environment: their libraries and plugins.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shown::Shown;

/// The wheels with the libraries, in the order in which `nixl` tries them where torch names no CUDA version.
pub(crate) const WHEELS: [&str; 3] = ["nixl_cu13", "nixl_cu12", "nixl_rocm"];
/// Where NVIDIA's containers have NIXL.
const SYSTEM: &str = "/opt/nvidia/nvda_nixl";
/// Its library folders.
const SYSTEM_LIBRARIES: [&str; 4] = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"];

/// A NIXL on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NixlInstallation {
    /// The distribution's name (`nixl-cu13`), or the folder of a NIXL that belongs to none.
    pub name: String,
    /// The distribution's version.
    pub version: Option<String>,
    /// `libnixl_capi.so`, which wheels have since 0.10.1.
    pub capi: Option<PathBuf>,
    /// The folder that this NIXL loads backend plugins from by default (`libplugin_UCX.so`, …).
    pub plugin_dir: Option<PathBuf>,
    /// Folders with the libraries that it comes with (meson-python's and auditwheel's: `nixl_cu13.libs`).
    pub library_dirs: Vec<PathBuf>,
}

impl NixlInstallation {
    /// Name and version, for a message.
    pub(crate) fn title(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.name),
            None => format!("the NIXL in {}", self.name),
        }
    }

    /// Whether a complete NIXL of this version has the C API.
    pub(crate) fn should_have_capi(&self) -> bool {
        self.version.as_deref().is_some_and(should_have_capi)
    }

    /// A library that it comes with, by the start of its name: auditwheel renames `libucp.so.0` to
    /// `libucp-6f3a1c52.so.0.0.0`.
    pub(crate) fn bundled(&self, stem: &str) -> Option<PathBuf> {
        let entries = self.library_dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_bundled(path, stem)).collect();
        files.sort();
        files.into_iter().next()
    }
}

fn is_bundled(path: &Path, stem: &str) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(stem));
    name.is_some_and(|rest| rest.starts_with(".so") || rest.starts_with('-') && rest.contains(".so")) && path.is_file()
}

/// Whether wheels of that version have `libnixl_capi.so`. The first was 0.10.1.
fn should_have_capi(version: &str) -> bool {
    let mut numbers = version.split(['.', '+', '-', 'r', 'a', 'b']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= (0, 10, 1)
}

/// The backends with a plugin in a folder, sorted: `UCX` for `libplugin_UCX.so`. None when there is no such folder.
pub(crate) fn plugins(dir: &Path) -> Option<Vec<String>> {
    let entries = fs::read_dir(dir).ok()?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix("libplugin_")?.strip_suffix(".so")?.to_string())
        })
        .collect();
    names.sort();
    Some(names)
}

/// The file of a backend's plugin.
pub(crate) fn plugin_file(folder: &Path, backend: &str) -> PathBuf {
    folder.join(format!("libplugin_{backend}.so"))
}

/// Every NIXL on an import path, beginning with the one that Python would use.
///
/// After 1.0.1, the package `nixl` prefers the wheel for the CUDA version that the installed torch was built with. The other
/// wheels follow, then an older `nixl` that contains its libraries, the system's, and the one that TensorRT-LLM bundles.
pub(crate) fn find(search_path: &[PathBuf]) -> Vec<NixlInstallation> {
    find_with_system(search_path, Path::new(SYSTEM))
}

fn find_with_system(search_path: &[PathBuf], system: &Path) -> Vec<NixlInstallation> {
    let mut modules: Vec<String> = WHEELS.map(String::from).into();
    let package = search_path.iter().find_map(|dir| fs::read_to_string(dir.join("nixl/__init__.py")).ok());
    let by_torch = package.is_none_or(|source| source.is_empty() || looks_at_torch(&source));
    if by_torch && let Some(major) = search_path.iter().find_map(|dir| torch_cuda_major(dir)) {
        let preferred = format!("nixl_cu{major}");
        modules.retain(|module| *module != preferred);
        modules.insert(0, preferred);
    }
    modules.push("nixl".into());
    let wheels = modules.iter().filter_map(|module| search_path.iter().find_map(|dir| wheel(dir, module)));
    let bundled = search_path.iter().filter_map(|dir| folder(&dir.join("tensorrt_llm/libs/nixl")));
    wheels.chain(system_installation(system)).chain(bundled).collect()
}

/// The NIXL that a path is: the folder of its libraries or one of them, an installation's root, or a wheel's package.
pub(crate) fn of_target(target: &Path) -> Option<NixlInstallation> {
    let target = std::path::absolute(target).ok()?;
    if target.is_file() {
        let name = target.file_name()?.to_string_lossy();
        let is_library = name.contains(".so") && (name.starts_with("libnixl") || name.starts_with("libplugin_"));
        let folder = target.parent().filter(|_| is_library)?;
        return of_folder(folder).or_else(|| of_folder(folder.parent()?));
    }
    // A prefix with a Python is an environment, whatever else is installed there.
    if target.join("bin/python3").exists() || target.join("pyvenv.cfg").exists() {
        return None;
    }
    of_folder(&target).or_else(|| system_installation(&target))
}

fn of_folder(dir: &Path) -> Option<NixlInstallation> {
    let name = dir.file_name()?.to_str()?;
    let of_libraries = name.strip_prefix('.').and_then(|name| name.strip_suffix(".mesonpy.libs"));
    let module = of_libraries.or_else(|| name.strip_suffix(".libs")).unwrap_or(name);
    if WHEELS.contains(&module) || module == "nixl" {
        return wheel(dir.parent()?, module).or_else(|| folder(dir));
    }
    folder(dir)
}

/// The folder of packages that an installation lies in.
pub(crate) fn site_packages_of(nixl: &NixlInstallation) -> Option<PathBuf> {
    let above = nixl.library_dirs.first()?.ancestors().skip(1);
    let is_site = |dir: &&Path| dir.ends_with("site-packages") || dir.ends_with("dist-packages") || has_metadata(dir);
    above.take(4).find(is_site).map(Path::to_path_buf)
}

fn has_metadata(dir: &Path) -> bool {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info"))
}

/// The NIXL of the package `module`, whose libraries are beside it.
fn wheel(site_packages: &Path, module: &str) -> Option<NixlInstallation> {
    let own = site_packages.join(format!(".{module}.mesonpy.libs"));
    let bundled = site_packages.join(format!("{module}.libs"));
    let library_dirs: Vec<PathBuf> = [own, bundled].into_iter().filter(|dir| dir.is_dir()).collect();
    if library_dirs.is_empty() || !site_packages.join(module).is_dir() {
        return None;
    }
    Some(NixlInstallation {
        name: module.replace('_', "-"),
        version: recorded_version(site_packages, module),
        capi: library_dirs.iter().map(|dir| dir.join("libnixl_capi.so")).find(|path| path.is_file()),
        plugin_dir: plugin_dir(&library_dirs),
        library_dirs,
    })
}

fn plugin_dir(library_dirs: &[PathBuf]) -> Option<PathBuf> {
    let candidates = library_dirs.iter().flat_map(|dir| [dir.join("plugins"), dir.join("nixl")]);
    candidates.into_iter().find(|dir| dir.is_dir())
}

fn system_installation(root: &Path) -> Option<NixlInstallation> {
    let mut found = SYSTEM_LIBRARIES.iter().find_map(|dir| folder(&root.join(dir)))?;
    found.name = root.shown().to_string();
    Some(found)
}

/// A NIXL with its libraries in one folder, which belongs to no distribution.
fn folder(dir: &Path) -> Option<NixlInstallation> {
    if !dir.join("libnixl.so").is_file() {
        return None;
    }
    let library_dirs = vec![dir.to_path_buf()];
    let capi = dir.join("libnixl_capi.so");
    Some(NixlInstallation {
        name: dir.shown().to_string(),
        version: declared_version(dir),
        capi: capi.is_file().then_some(capi),
        plugin_dir: plugin_dir(&library_dirs),
        library_dirs,
    })
}

/// The version in the `nixl.pc` of an installation that was built from source.
fn declared_version(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("pkgconfig/nixl.pc")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix("Version:")?.trim().to_string()))
}

/// The version in the name of `nixl_cu13-1.5.0.dist-info`. A folder without METADATA is a leftover of an uninstalled one.
fn recorded_version(site_packages: &Path, module: &str) -> Option<String> {
    let mut versions: Vec<String> = fs::read_dir(site_packages)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().join("METADATA").is_file())
        .filter_map(|entry| version_in_name(&entry.file_name(), module))
        .collect();
    versions.sort();
    versions.pop()
}

fn version_in_name(folder: &OsStr, module: &str) -> Option<String> {
    let (name, version) = folder.to_str()?.strip_suffix(".dist-info")?.split_once('-')?;
    let normal: String =
        name.chars().map(|c| if c == '-' || c == '.' { '_' } else { c.to_ascii_lowercase() }).collect();
    (normal == module).then(|| version.to_string())
}

/// Whether the source of the package `nixl` chooses its wheel by the CUDA version of torch: not so up to 1.0.1.
pub(crate) fn looks_at_torch(source: &str) -> bool {
    source.contains("torch") || source.contains("nixl_meta_utils")
}

/// The major CUDA version that torch was built with, read from `torch/version.py` without importing it:
/// `cuda: Optional[str] = '12.8'`.
pub(crate) fn torch_cuda_major(site_packages: &Path) -> Option<u32> {
    let text = fs::read_to_string(site_packages.join("torch/version.py")).ok()?;
    let mut assigned = text.lines().rev().filter_map(|line| {
        let (target, value) = line.split_once('=')?;
        let name = target.split(':').next()?.trim();
        (name == "cuda").then(|| value.trim().trim_matches(['\'', '"']).to_string())
    });
    assigned.next()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree {
        root: tempfile::TempDir,
    }

    impl Tree {
        fn new(files: &[&str]) -> Tree {
            let tree = Tree { root: tempfile::tempdir().unwrap() };
            files.iter().for_each(|file| tree.write(file, ""));
            tree
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn wheel(&self, site: &str, module: &str, version: &str) {
            self.write(&format!("{site}/{module}/__init__.py"), "");
            self.write(&format!("{site}/.{module}.mesonpy.libs/libnixl_capi.so"), "");
            self.write(&format!("{site}/.{module}.mesonpy.libs/plugins/libplugin_UCX.so"), "");
            self.write(&format!("{site}/{module}.libs/libucp.so"), "");
            self.write(&format!("{site}/{module}-{version}.dist-info/METADATA"), "");
        }

        fn find(&self, sites: &[&str]) -> Vec<NixlInstallation> {
            let path: Vec<PathBuf> = sites.iter().map(|site| self.root.path().join(site)).collect();
            find_with_system(&path, &self.root.path().join("opt/nixl"))
        }

        fn names(&self, sites: &[&str]) -> Vec<String> {
            self.find(sites).into_iter().map(|found| found.name.rsplit('/').next().unwrap().to_string()).collect()
        }
    }

    #[test]
    fn a_wheel_is_found_with_its_parts() {
        let tree = Tree::new(&[]);
        tree.wheel("site", "nixl_cu13", "1.5.0");
        let found = tree.find(&["site"]);
        let site = tree.root.path().join("site");
        let [nixl] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(nixl.title(), "nixl-cu13 1.5.0");
        assert_eq!(nixl.capi.as_ref().unwrap(), &site.join(".nixl_cu13.mesonpy.libs/libnixl_capi.so"));
        assert_eq!(nixl.plugin_dir.as_ref().unwrap(), &site.join(".nixl_cu13.mesonpy.libs/plugins"));
        assert_eq!(nixl.library_dirs.len(), 2);
    }

    #[test]
    fn a_bundled_library_is_found_by_the_start_of_its_name() {
        let tree = Tree::new(&["site/nixl_cu13.libs/libucp_set-1.so", "site/nixl_cu13.libs/libucp-6f3a1c52.so.0.0.0"]);
        tree.wheel("site", "nixl_cu13", "0.9.0");
        fs::remove_file(tree.root.path().join("site/nixl_cu13.libs/libucp.so")).unwrap();
        let found = tree.find(&["site"]);
        let name = |stem| found[0].bundled(stem).map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(name("libucp").as_deref(), Some("libucp-6f3a1c52.so.0.0.0"));
        assert_eq!(name("libucs"), None);
    }

    #[test]
    fn the_order_is_the_one_python_would_use() {
        let tree = Tree::new(&["opt/nixl/lib64/libnixl.so", "site/tensorrt_llm/libs/nixl/libnixl.so"]);
        tree.wheel("site", "nixl_cu12", "1.0.1");
        tree.wheel("site", "nixl_cu13", "1.0.1");
        assert_eq!(tree.names(&["site"]), ["nixl-cu13", "nixl-cu12", "nixl", "nixl"]);
        tree.write("site/torch/version.py", "__version__ = '2.9'\ncuda: Optional[str] = '12.8'\nhip = None\n");
        assert_eq!(tree.names(&["site"])[..2], ["nixl-cu12", "nixl-cu13"]);
        tree.write("site/torch/version.py", "cuda = None\n");
        assert_eq!(tree.names(&["site"])[..2], ["nixl-cu13", "nixl-cu12"]);
        assert_eq!(tree.find(&["site"])[2].name, tree.root.path().join("opt/nixl").display().to_string());
    }

    #[test]
    fn the_first_site_packages_wins() {
        let tree = Tree::new(&[]);
        tree.wheel("user", "nixl_cu13", "1.5.1");
        tree.wheel("system", "nixl_cu13", "1.0.1");
        assert_eq!(tree.find(&["user", "system"])[0].version.as_deref(), Some("1.5.1"));
        assert_eq!(tree.find(&["user", "system"]).len(), 1);
    }

    #[test]
    fn an_older_wheel_has_no_c_api() {
        let tree = Tree::new(&["site/nixl/_api.py", "site/.nixl.mesonpy.libs/libnixl.so"]);
        tree.write("site/nixl-0.4.1.dist-info/METADATA", "");
        let found = tree.find(&["site"]);
        assert_eq!((found[0].title().as_str(), &found[0].capi), ("nixl 0.4.1", &None));
    }

    #[test]
    fn the_c_api_came_with_0_10_1() {
        for with in ["0.10.1", "1.0.0", "1.5.1", "2.0", "0.11.0rc1"] {
            assert!(should_have_capi(with), "{with}");
        }
        for without in ["0.10.0", "0.9.0", "0.10", "0.1.1", ""] {
            assert!(!should_have_capi(without), "{without}");
        }
    }

    #[test]
    fn leftovers_are_not_a_nixl() {
        let tree =
            Tree::new(&["site/nixl_cu13.libs/old.so", "site/nixl/__init__.py", "site/nixl_cu13-1.0.dist-info/RECORD"]);
        assert!(tree.find(&["site", "absent"]).is_empty());
    }
}
