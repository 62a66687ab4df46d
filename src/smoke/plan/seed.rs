//! Seeds.

/// A seed from the operating system's random numbers.
///
/// # Errors
/// Where the system gives none.
pub(crate) fn random() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}
