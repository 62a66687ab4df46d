//! What a transfer does.

use serde::{Deserialize, Serialize};

/// What a transfer does, by its number in NIXL's `nixl_capi_xfer_op_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// `NIXL_CAPI_XFER_OP_READ`.
    Read = 0,
    /// `NIXL_CAPI_XFER_OP_WRITE`.
    Write = 1,
}

impl Operation {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::Read => "READ",
            Operation::Write => "WRITE",
        }
    }
}
