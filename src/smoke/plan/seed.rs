//! The payload's seed.

/// A seed from the operating system's random number generator.
///
/// # Errors
/// If the generator fails.
pub(crate) fn random() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}
