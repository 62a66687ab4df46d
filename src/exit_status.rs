//! What the program's exit status means; users' scripts rely on it.

use std::process::ExitCode;

/// The three answers a run can give (design: the table "Exit status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitStatus {
    /// 0: everything is as it should be; `check` found nothing to change, the transfer passed.
    Success = 0,
    /// 1: `check` would change a file, or the transfer failed.
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
