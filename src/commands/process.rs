//! What this process was started with, read once.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::OutputArgs;
use crate::environment::variables::Variables;
use crate::patching::{Selection, Targets};

/// This process's program and environment variables, and what it may not do.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// The program's file, which a smoke transfer starts once more for each worker.
    pub program: PathBuf,
    /// The environment variables.
    pub variables: Arc<Variables>,
    /// The current directory; empty where it was removed.
    pub directory: PathBuf,
    /// Whether `--no-exec` forbids to start an interpreter.
    pub no_exec: bool,
    /// How to report.
    pub output: OutputArgs,
}

impl Process {
    /// Reads them.
    pub(super) fn current(no_exec: bool, output: OutputArgs) -> Process {
        // The kernel keeps a replaced program under this name (proc(5)).
        let replaced = || PathBuf::from("/proc/self/exe");
        Process {
            program: env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(replaced),
            variables: Arc::new(Variables::of_process()),
            directory: env::current_dir().unwrap_or_default(),
            no_exec,
            output,
        }
    }

    /// The targets that the command line names.
    pub(super) fn targets<'a>(&'a self, named: &'a [PathBuf], selection: Selection<'a>) -> Targets<'a> {
        Targets { named, selection, variables: &self.variables, directory: &self.directory, no_exec: self.no_exec }
    }
}
