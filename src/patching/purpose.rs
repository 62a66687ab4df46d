//! What a run is for.

/// What a run does with the files that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It reads them.
    Look,
    /// It changes them.
    Change,
}
