//! Numbers of bytes in a sentence.

/// `1 byte`, `1048576 bytes`: exact, where the number itself matters.
pub(crate) fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}

/// `2.0 MiB`.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_singular() {
        assert_eq!((bytes(1), bytes(0), bytes(4096)), ("1 byte".into(), "0 bytes".into(), "4096 bytes".into()));
        assert_eq!(mebibytes(3 << 19), "1.5 MiB");
    }
}
