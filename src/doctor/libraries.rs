//! The plugins of NIXL and the modules of UCX: what each lacks, and which libraries a process with them has.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use super::inventory::Inventory;
use super::question::Subject;
use crate::environment::elf::closure::{Closure, Gap, Judge};
use crate::environment::elf::loader::Loader;
use crate::environment::libfabric;
use crate::environment::nixl::plugin_file;
use crate::environment::ucx;
use crate::report::doctor::{ComponentKind, LibraryCheck};
use crate::smoke::launch::load_command::Answer;
use crate::smoke::supervise::load;
use crate::source::regular::is_same_file;
use crate::threads;

/// Roughly what is read of all libraries.
const HEAP_BYTES: usize = 16 << 20;

/// What one library is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// NIXL's plugin for a backend.
    Plugin(String),
    /// A module of UCX: `libuct_ib`.
    Module(String),
    /// NIXL's C API.
    CApi,
    /// libucp, for its version.
    Ucp,
    /// A libfabric, for its providers: the one that NIXL's plugin gets first.
    Libfabric,
}

impl Role {
    fn name(&self) -> String {
        match self {
            Role::Plugin(name) => format!("plugin {name}"),
            Role::Module(name) => format!("module {name}"),
            Role::CApi => "C API".into(),
            Role::Ucp => "libucp".into(),
            Role::Libfabric => "libfabric".into(),
        }
    }
}

/// One library and what was found out about it.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    /// What it is.
    pub role: Role,
    /// The file.
    pub path: PathBuf,
    /// What it comes with, and lacks.
    pub closure: Closure,
    /// What the loader said; None when it was not asked.
    pub answer: Option<Answer>,
}

impl Checked {
    /// The gaps that the image is to blame for: NVIDIA's driver comes with the machine.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.closure.gaps.iter().filter(|gap| !is_driver(gap))
    }

    /// Whether it lacks NVIDIA's driver.
    pub(super) fn lacks_driver(&self) -> bool {
        self.closure.gaps.iter().any(is_driver)
    }

    /// The file of a library in its process, by the start of its name.
    pub(super) fn library(&self, stem: &str) -> Option<&Path> {
        let is_it = |path: &&PathBuf| has_stem(path, stem);
        self.closure.libraries.iter().find(is_it).map(PathBuf::as_path)
    }
}

/// Whether a file is that library: `libucs.so.0`, or auditwheel's `libucs-98a42727.so.0.0.0`.
pub(super) fn has_stem(path: &Path, stem: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name.strip_prefix(stem);
    rest.is_some_and(|rest| rest.starts_with(".so") || rest.starts_with('-') && rest.contains(".so"))
}

/// Libraries that come with NVIDIA's driver, which a machine has and an image does not.
pub(super) fn is_driver(gap: &Gap) -> bool {
    let of_driver = ["libcuda.so.", "libnvidia-ml.so.", "libnvidia-ptxjitcompiler.so."];
    matches!(gap, Gap::Missing { name, .. } if of_driver.iter().any(|prefix| name.starts_with(prefix)))
}

/// All that were judged.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    /// In the order of the report.
    pub checked: Vec<Checked>,
}

impl Libraries {
    /// Judges the plugins of the NIXL that Python imports, and the modules of the UCX that its plugin gets.
    pub(super) fn judge(inventory: &Inventory, subject: &Subject, loader: &Loader) -> Libraries {
        threads::grow_heap(HEAP_BYTES);
        // To free what it has read takes a tenth of the time of reading it, and the process soon ends.
        let judge = ManuallyDrop::new(Judge::new(loader));
        let check = |role: Role, path: PathBuf| Checked { closure: judge.judge(&path), role, path, answer: None };
        let mut libraries = Libraries::default();
        libraries.checked.extend(inventory.nixl().capi.iter().map(|path| check(Role::CApi, path.clone())));
        let plugins = inventory.plugins.iter();
        libraries
            .checked
            .extend(plugins.map(|name| check(Role::Plugin(name.clone()), plugin_file(&inventory.plugin_dir, name))));
        let plugin = libraries.plugin("UCX");
        let [libucp, libucs] =
            ["libucp", "libucs"].map(|stem| plugin.and_then(|it| it.library(stem)).map(Path::to_path_buf));
        let module_dir = subject.variables.non_empty("UCX_MODULE_DIR").map(Path::new);
        let modules = libucs.map(|libucs| ucx::modules(&libucs, module_dir)).unwrap_or_default();
        for path in libfabrics(inventory, &libraries) {
            libraries.checked.push(check(Role::Libfabric, path));
        }
        libraries.checked.extend(libucp.map(|path| check(Role::Ucp, path)));
        libraries.checked.extend(modules.into_iter().map(|path| {
            let name = ucx::module_name(&path).unwrap_or_default().to_string();
            check(Role::Module(name), path)
        }));
        libraries
    }

    /// Has each loaded in a process of its own.
    pub(super) fn ask_the_loader(&mut self, program: &Path) {
        let paths: Vec<PathBuf> = self.checked.iter().map(|checked| checked.path.clone()).collect();
        for (checked, answer) in self.checked.iter_mut().zip(load::all(program, &paths)) {
            checked.answer = Some(answer);
        }
    }

    /// A backend's plugin.
    pub(super) fn plugin(&self, name: &str) -> Option<&Checked> {
        self.checked.iter().find(|checked| matches!(&checked.role, Role::Plugin(own) if own == name))
    }

    /// A module of UCX: `libuct_ib`.
    pub(super) fn module(&self, name: &str) -> Option<&Checked> {
        self.checked.iter().find(|checked| matches!(&checked.role, Role::Module(own) if own == name))
    }

    /// The version that libucp stated.
    pub(super) fn ucx_version(&self) -> Option<&str> {
        let ucp = self.checked.iter().find(|checked| checked.role == Role::Ucp)?;
        match &ucp.answer {
            Some(Answer::Loaded { version, .. }) => version.as_deref(),
            _ => None,
        }
    }

    /// The libfabric that NIXL's plugin gets, and its providers, where it told them and has neither efa nor Slingshot's cxi.
    pub(super) fn without_efa(&self) -> Option<(&Path, &[String])> {
        let own = self.plugin("LIBFABRIC")?.library("libfabric")?;
        let providers = self.providers(own)?;
        let has_other = providers.iter().any(|provider| provider == "cxi");
        (!has_other && !libfabric::has_efa(own, providers)).then_some((own, providers))
    }

    /// The providers of the libfabric at that path, where it told them.
    pub(super) fn providers(&self, path: &Path) -> Option<&[String]> {
        let is_it = |it: &&Checked| it.role == Role::Libfabric && is_same_file(&it.path, path);
        self.checked.iter().find(is_it)?.providers()
    }

    /// For the report.
    pub(super) fn report(&self) -> Vec<LibraryCheck> {
        self.checked.iter().map(Checked::report).collect()
    }
}

/// The libfabric that NIXL's plugin gets, then the others.
fn libfabrics(inventory: &Inventory, libraries: &Libraries) -> Vec<PathBuf> {
    let own = libraries.plugin("LIBFABRIC").and_then(|plugin| plugin.library("libfabric"));
    let others = inventory.looked_up.iter().filter(|(kind, _)| *kind == ComponentKind::Libfabric);
    let mut found: Vec<PathBuf> = Vec::new();
    for path in own.into_iter().chain(others.map(|(_, path)| path.as_path())) {
        if !found.iter().any(|known| is_same_file(known, path)) {
            found.push(path.to_path_buf());
        }
    }
    found
}

impl Checked {
    /// The providers that it told: of a libfabric that was loaded.
    fn providers(&self) -> Option<&[String]> {
        match &self.answer {
            Some(Answer::Loaded { providers, .. }) => providers.as_deref(),
            _ => None,
        }
    }

    fn report(&self) -> LibraryCheck {
        let loader = self.answer.as_ref().map(|answer| match answer {
            Answer::Loaded { .. } => "loaded".to_string(),
            Answer::Refused(words) => words.clone(),
            Answer::Ended(how) => format!("the process that loaded it: {how}"),
        });
        LibraryCheck {
            role: self.role.name(),
            path: self.path.clone(),
            gaps: self.closure.gaps.iter().map(Gap::describe).collect(),
            loader,
            loaded: self.answer.as_ref().map(|answer| matches!(answer, Answer::Loaded { .. })),
            providers: self.providers().map(<[String]>::to_vec),
        }
    }
}
