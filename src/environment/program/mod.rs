//! Programs that this one starts and waits for: limited, and ended with everything that they started.

pub(crate) mod bounded;
pub(crate) mod group;
