//! How this program starts itself again, as a worker.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::variables::WorkerVariables;

/// The hidden subcommand that a worker process is started with.
pub(crate) const WORKER_COMMAND: &str = "__smoke-worker";

/// What a worker process is started with.
pub(crate) struct WorkerCommand {
    /// This program's file.
    pub program: PathBuf,
    /// The worker's environment variables.
    pub variables: WorkerVariables,
    /// A variable that marks the processes of this run, and whatever they start.
    pub mark: Option<(&'static str, String)>,
}

impl WorkerCommand {
    /// A command for one worker; its standard streams are the caller's to set.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0(env!("CARGO_PKG_NAME")).arg(WORKER_COMMAND);
        self.variables.apply(&mut command);
        command.envs(self.mark.iter().map(|(name, value)| (name, value)));
        command
    }
}
