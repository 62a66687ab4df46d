//! The declaration of a file's encoding (PEP 263), found as CPython's tokenizer finds it.

/// The encoding's name in a comment of the first two lines, which a line feed, a carriage return or both end. PEP 263's
/// pattern: `^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)`; the first line must be blank or a comment for the second
/// to count.
pub(super) fn cookie(bytes: &[u8]) -> Option<&str> {
    let (first, rest) = split_line(bytes);
    of_line(first).or_else(|| {
        let trimmed = trim(first);
        let open = trimmed.is_empty() || trimmed.starts_with(b"#");
        open.then(|| of_line(split_line(rest).0)).flatten()
    })
}

/// The first line, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else { return (bytes, &[]) };
    let newline = if bytes[end..].starts_with(b"\r\n") { 2 } else { 1 };
    (&bytes[..end], &bytes[end + newline..])
}

fn of_line(line: &[u8]) -> Option<&str> {
    let comment = trim(line).strip_prefix(b"#")?;
    memchr::memmem::find_iter(comment, b"coding").find_map(|at| {
        let rest = &comment[at + b"coding".len()..];
        let rest = trim(rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b"="))?);
        let end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"-_.".contains(b))).unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).ok().filter(|name| !name.is_empty())
    })
}

fn trim(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !b" \t\x0c".contains(byte)).unwrap_or(line.len());
    &line[start..]
}
