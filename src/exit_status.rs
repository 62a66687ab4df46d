//! What the program's exit status means; users' scripts rely on it.

use std::process::ExitCode;

/// How a run ended, as README's table of exit statuses has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitStatus {
    /// 0: nothing to change, or changed; the transfer passed or was skipped by choice.
    Success = 0,
    /// 1: `check` would change a file, the transfer failed, or files were changed and something after that failed.
    Findings = 1,
    /// 2: usage, nothing found, source not understood, I/O. Nothing was changed.
    Error = 2,
}

impl ExitStatus {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status.code())
    }
}
