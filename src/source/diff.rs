//! Unified diffs that `patch -p1` and `git apply` accept.

use std::path::Path;

use similar::TextDiff;

/// Lines of context, as in `diff -u`.
const CONTEXT: usize = 3;

/// The unified diff from `old` to `new`, in the file's own encoding and line endings. Empty when they are equal.
pub(crate) fn unified(path: &Path, old: &[u8], new: &[u8]) -> Vec<u8> {
    if old == new {
        return Vec::new();
    }
    let (old_name, new_name) = (name("a", path), name("b", path));
    let (old_lines, new_lines) = (lines(old), lines(new));
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old_lines, &new_lines);
    let mut output = Vec::new();
    diff.unified_diff()
        .context_radius(CONTEXT)
        .header(&old_name, &new_name)
        .to_writer(&mut output)
        .expect("writing to memory does not fail");
    output
}

/// Splits at line feeds only, as `patch` and git do: a carriage return belongs to its line.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let ends = memchr::memchr_iter(b'\n', text).map(|newline| newline + 1);
    let mut start = 0;
    let mut lines: Vec<&[u8]> = ends.map(|end| &text[std::mem::replace(&mut start, end)..end]).collect();
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// `a/` and the path without its leading slash. GNU diff and git end a name that has a space with a tab.
fn name(side: &str, path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path.trim_start_matches('/');
    let end = if path.contains(' ') { "\t" } else { "" };
    format!("{side}/{path}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(old: &str, new: &str) -> String {
        String::from_utf8(unified(Path::new("/x/y.py"), old.as_bytes(), new.as_bytes())).unwrap()
    }

    #[test]
    fn a_diff_is_in_the_standard_form() {
        assert_eq!(text("a\nb\n", "a\nc\nb\n"), "--- a/x/y.py\n+++ b/x/y.py\n@@ -1,2 +1,3 @@\n a\n+c\n b\n");
        assert_eq!(text("a\n", "a\n"), "");
    }

    #[test]
    fn a_missing_newline_at_the_end_is_marked() {
        assert!(text("a", "a\nb").contains("\\ No newline at end of file\n"), "{}", text("a", "a\nb"));
    }
}
