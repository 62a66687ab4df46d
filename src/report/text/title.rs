//! The name of a transfer.

use crate::report::smoke::Smoke;

/// `LIBFABRIC,UCX to UCX`.
pub(in crate::report) fn title(smoke: &Smoke) -> String {
    let backend = smoke.backend.as_deref().unwrap_or("transfer");
    smoke.peer_backend.as_ref().map_or_else(|| backend.into(), |peer| format!("{backend} to {peer}"))
}
