//! Libraries that cannot be loaded, and what to do about each.

use std::path::{Path, PathBuf};

use super::packages;
use crate::environment::elf::closure::Gap;
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The finding for a gap in what these libraries need; `elsewhere` is a folder with the missing library that the loader
/// does not search.
pub(crate) fn gap(gap: &Gap, needed_by: &[PathBuf], elsewhere: Option<&Path>) -> Finding {
    let (id, path, cure) = match gap {
        Gap::Damaged { path, .. } => ("library-damaged", Some(path.clone()), vec![reinstall(path)]),
        Gap::OtherMachine { path, .. } => {
            ("library-other-machine", Some(path.clone()), vec![format!("install {} for this processor", title(path))])
        }
        Gap::Missing { name, .. } => ("library-missing", needed_by.first().cloned(), missing(name, elsewhere)),
        Gap::Version { path, version, .. } => ("library-too-old", Some(path.clone()), newer(path, version)),
        Gap::Undefined { wanted_by, .. } => ("symbol-undefined", Some(wanted_by.clone()), vec![reinstall(wanted_by)]),
    };
    let names: Vec<String> = needed_by.iter().map(|path| title(path)).collect();
    let consequence = format!("{} cannot be loaded", names.join(", "));
    Finding { id, severity: Severity::Error, message: gap.describe(), consequence, cure, path, line: None }
}

fn missing(name: &str, elsewhere: Option<&Path>) -> Vec<String> {
    if let Some(folder) = elsewhere {
        return vec![format!("ENV LD_LIBRARY_PATH={}:$LD_LIBRARY_PATH    # `{name}` is there", folder.shown())];
    }
    packages::cure(name)
}

/// The symbol versions are those of libfabric's release tags (libfabric.map.in).
fn newer(path: &Path, version: &str) -> Vec<String> {
    match version {
        "FABRIC_1.10" => vec![
            "use NIXL 1.5.0: no libfabric up to 2.6.0 has `FABRIC_1.10`, since NIXL 1.5.1's wheel was built with a development \
             version of libfabric"
                .into(),
        ],
        "FABRIC_1.7" => vec!["install libfabric 1.20 or newer (on AWS, the EFA installer has it)".into()],
        "FABRIC_1.8" | "FABRIC_1.9" => vec!["install libfabric 2.0 or newer (on AWS, the EFA installer has it)".into()],
        // The interface between libibverbs and its drivers, which changes with rdma-core's releases.
        _ if version.starts_with("IBVERBS_PRIVATE") => vec![
            "apt-get install -y --reinstall libibverbs1 ibverbs-providers    # Debian, Ubuntu: both of one rdma-core".into(),
            "dnf reinstall -y libibverbs    # RHEL".into(),
            "on AWS, let the EFA installer install rdma-core too, and copy no single library from another image".into(),
        ],
        _ if version.starts_with("GLIBC") => vec![format!("use a base image whose C library has `{version}`")],
        _ => vec![format!("install a newer {}", title(path))],
    }
}

fn reinstall(path: &Path) -> String {
    format!("install the package with {} again", title(path))
}

fn title(path: &Path) -> String {
    format!("`{}`", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// The finding for a backend without a plugin.
pub(crate) fn no_plugin(nixl: &str, backend: &str, folder: &Path) -> Finding {
    Finding {
        id: "plugin-not-shipped",
        severity: Severity::Error,
        message: format!("{nixl} has no plugin for {backend} in `{}`", folder.shown()),
        consequence: "NIXL leaves the backend out with a warning, and the agent has none".into(),
        cure: vec![format!("install a NIXL with `libplugin_{backend}.so` (LIBFABRIC: 0.6.1 or newer)")],
        path: Some(folder.to_path_buf()),
        line: None,
    }
}

/// Lines for a Dockerfile that make the drivers in that folder use UCX's own libibverbs: it gets the name that they ask for,
/// first in the loader's search. Seen to work with SoftRoCE.
pub(super) fn one_libibverbs(own: &Path, drivers: &Path) -> [String; 2] {
    let folder = "/opt/nixl-libibverbs";
    [
        format!("RUN mkdir -p {folder} && ln -s {} {folder}/libibverbs.so.1", own.shown()),
        format!("ENV LD_LIBRARY_PATH={folder}:{}", drivers.shown()),
    ]
}

/// The finding for two copies of libibverbs in one process.
///
/// Measured with SoftRoCE: a driver registers itself with the copy that it is linked against, and the other copy has no
/// device.
pub(crate) fn two_libibverbs(own: &Path, system: &Path) -> Finding {
    let drivers = system.parent().map(|folder| folder.join("libibverbs")).unwrap_or_default();
    Finding {
        id: "two-libibverbs",
        severity: Severity::Error,
        message: format!(
            "UCX uses its own libibverbs (`{}`), and the RDMA drivers use `{}`",
            own.shown(),
            system.shown()
        ),
        consequence: "UCX sees no device whose driver is the system's (EFA, SoftRoCE, all but mlx5), and goes over TCP"
            .into(),
        cure: one_libibverbs(own, &drivers).into(),
        path: Some(own.to_path_buf()),
        line: None,
    }
}

/// The identifier of the finding that a libfabric has no efa.
pub(crate) const WITHOUT_EFA: &str = "libfabric-built-without-efa";

/// The finding for a libfabric that was built with these providers, efa not among them.
pub(crate) fn without_efa(severity: Severity, library: &Path, providers: &[&str]) -> Finding {
    Finding {
        id: WITHOUT_EFA,
        severity,
        message: format!("`{}` was built without the efa provider: it has {}", library.shown(), providers.join(", ")),
        consequence: "LIBFABRIC cannot use EFA with this image, on any node: it goes over TCP".into(),
        cure: vec![
            "ENV LD_LIBRARY_PATH=/opt/amazon/efa/lib:$LD_LIBRARY_PATH    # the EFA installer's libfabric".into(),
            "the EFA installer is at https://efa-installer.amazonaws.com".into(),
        ],
        path: Some(library.to_path_buf()),
        line: None,
    }
}

/// The finding for a library that the files say can be loaded, and the loader refuses.
pub(crate) fn loader_refuses(path: &Path, words: &str) -> Finding {
    Finding {
        id: "loader-refuses",
        severity: Severity::Error,
        message: format!("the loader refuses `{}`: {words}", path.shown()),
        consequence: format!("{} cannot be loaded, although nothing in the files says why", title(path)),
        cure: vec!["read the loader's words; `LD_DEBUG=libs` shows its search".into()],
        path: Some(path.to_path_buf()),
        line: None,
    }
}

/// The finding for a library that the files say cannot be loaded, and the loader accepts.
pub(crate) fn loader_accepts(path: &Path, gap: &str) -> Finding {
    Finding {
        id: "loader-accepts",
        severity: Severity::Warning,
        message: format!("the loader loads `{}`, although {gap}", path.shown()),
        consequence: "what this program says of libraries may be wrong here".into(),
        cure: vec!["report it with the output of `doctor --output-format json`".into()],
        path: Some(path.to_path_buf()),
        line: None,
    }
}

/// The finding for a library that ends the process that loads it.
pub(crate) fn loading_ended(path: &Path, how: &str) -> Finding {
    Finding {
        id: "loading-ends-the-process",
        severity: Severity::Error,
        message: format!("loading `{}` ended the process: {how}", path.shown()),
        consequence: "a server that loads it ends the same way".into(),
        cure: vec![reinstall(path)],
        path: Some(path.to_path_buf()),
        line: None,
    }
}

/// The finding for something that the machine lacks, where it is judged as a node.
pub(crate) fn machine_lacks(backend: &str, fabric: &str, what: &str) -> Finding {
    Finding {
        id: "machine-lacks",
        severity: Severity::Error,
        message: format!("{backend} over {fabric} needs {what}, which this machine does not have"),
        consequence: "the transfer fails or takes another way".into(),
        cure: vec!["run it on a node that has it, and give the container its devices".into()],
        path: None,
        line: None,
    }
}
