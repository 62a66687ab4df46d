//! Unified diffs that `patch -p1` and `git apply` accept.

use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use similar::udiff::UnifiedHunkHeader;
use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use super::edit::{Inserted, InsertedSpan};
use super::offset::ByteOffset;
use crate::shown::is_printable;

/// Lines of context, as in `diff -u`.
const CONTEXT: usize = 3;

/// How long a diff of two files that nothing else is known about may look for its shortest form.
const PATIENCE: Duration = Duration::from_secs(1);

/// The unified diff from `old` to `new`, in the file's own encoding and line endings. Empty when they are equal.
pub(crate) fn unified(path: &Path, old: &[u8], new: &[u8]) -> Vec<u8> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (lines(old), lines(new));
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Instant::now().checked_add(PATIENCE));
    written(path, &old, &new, ops)
}

/// The unified diff from `original` to the file with insertions: their lines alone are compared, so that any number of
/// them takes linear time.
pub(crate) fn of_insertions(
    path: &Path,
    original: &[u8],
    patched: &[u8],
    spans: &[InsertedSpan<ByteOffset>],
) -> Vec<u8> {
    let (old, new) = (lines(original), lines(patched));
    let ops = insertion_ops(original, patched, &old, &new, spans);
    written(path, &old, &new, ops)
}

/// The unified diff that removes insertions.
pub(crate) fn of_removal(path: &Path, patched: &[u8], original: &[u8], spans: &[InsertedSpan<ByteOffset>]) -> Vec<u8> {
    let (old, new) = (lines(patched), lines(original));
    let ops = insertion_ops(original, patched, &new, &old, spans).into_iter().map(reversed).collect();
    written(path, &old, &new, ops)
}

/// Whole lines that differ: their bytes in the original, and in the patched file.
struct Difference {
    old: Range<usize>,
    new: Range<usize>,
}

fn differences(original: &[u8], patched: &[u8], spans: &[InsertedSpan<ByteOffset>]) -> Vec<Difference> {
    let inserted = Inserted::new(spans);
    let mut old: Vec<Range<usize>> = Vec::new();
    for span in spans {
        let at = span.offset.0;
        let start = memchr::memrchr(b'\n', &original[..at]).map_or(0, |newline| newline + 1);
        let behind = inserted.patched(at, false) + span.length;
        let whole = at == start && patched[..behind].ends_with(b"\n");
        let end =
            if whole { at } else { memchr::memchr(b'\n', &original[at..]).map_or(original.len(), |n| at + n + 1) };
        match old.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => old.push(start..end),
        }
    }
    let new = |range: &Range<usize>| inserted.patched(range.start, false)..inserted.patched(range.end, true);
    old.into_iter().map(|range| Difference { new: new(&range), old: range }).collect()
}

fn insertion_ops(
    original: &[u8],
    patched: &[u8],
    old: &[&[u8]],
    new: &[&[u8]],
    spans: &[InsertedSpan<ByteOffset>],
) -> Vec<DiffOp> {
    let mut ops = Vec::new();
    let (mut bytes, mut at_old, mut at_new) = (0, 0, 0);
    for Difference { old: in_old, new: in_new } in differences(original, patched, spans) {
        let equal = count_lines(&original[bytes..in_old.start]);
        push_equal(&mut ops, at_old, at_new, equal);
        (at_old, at_new) = (at_old + equal, at_new + equal);
        let (olds, news) = (count_lines(&original[in_old.clone()]), count_lines(&patched[in_new]));
        let (part_old, part_new) = (&old[at_old..at_old + olds], &new[at_new..at_new + news]);
        match (part_old, part_new) {
            // One changed line, as nearly all are, needs no search.
            ([before], [after]) if before != after => {
                ops.push(DiffOp::Replace { old_index: at_old, old_len: 1, new_index: at_new, new_len: 1 });
            }
            _ => {
                let deadline = Instant::now().checked_add(PATIENCE);
                let part = capture_diff_slices_deadline(Algorithm::Myers, part_old, part_new, deadline);
                ops.extend(part.into_iter().map(|op| moved(op, at_old, at_new)));
            }
        }
        (bytes, at_old, at_new) = (in_old.end, at_old + olds, at_new + news);
    }
    push_equal(&mut ops, at_old, at_new, old.len() - at_old);
    ops
}

fn count_lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count() + usize::from(!bytes.is_empty() && !bytes.ends_with(b"\n"))
}

/// Adds equal lines; hunks are cut where enough of them stand together, so neighbours become one.
fn push_equal(ops: &mut Vec<DiffOp>, old_index: usize, new_index: usize, len: usize) {
    if len > 0 {
        ops.push(DiffOp::Equal { old_index, new_index, len });
    }
}

fn moved(op: DiffOp, by_old: usize, by_new: usize) -> DiffOp {
    let (tag, old, new) = op.as_tag_tuple();
    operation(tag, old.start + by_old..old.end + by_old, new.start + by_new..new.end + by_new)
}

fn reversed(op: DiffOp) -> DiffOp {
    let (tag, old, new) = op.as_tag_tuple();
    let tag = match tag {
        DiffTag::Insert => DiffTag::Delete,
        DiffTag::Delete => DiffTag::Insert,
        DiffTag::Equal | DiffTag::Replace => tag,
    };
    operation(tag, new, old)
}

fn operation(tag: DiffTag, old: Range<usize>, new: Range<usize>) -> DiffOp {
    let (old_index, new_index) = (old.start, new.start);
    match tag {
        DiffTag::Equal => DiffOp::Equal { old_index, new_index, len: old.len() },
        DiffTag::Delete => DiffOp::Delete { old_index, old_len: old.len(), new_index },
        DiffTag::Insert => DiffOp::Insert { old_index, new_index, new_len: new.len() },
        DiffTag::Replace => DiffOp::Replace { old_index, old_len: old.len(), new_index, new_len: new.len() },
    }
}

fn joined(ops: Vec<DiffOp>) -> Vec<DiffOp> {
    let mut joined: Vec<DiffOp> = Vec::with_capacity(ops.len());
    for op in ops {
        match (joined.last_mut(), op) {
            (Some(DiffOp::Equal { len, .. }), DiffOp::Equal { len: more, .. }) => *len += more,
            _ => joined.push(op),
        }
    }
    joined
}

fn written(path: &Path, old: &[&[u8]], new: &[&[u8]], ops: Vec<DiffOp>) -> Vec<u8> {
    let hunks = group_diff_ops(joined(ops), CONTEXT);
    if hunks.is_empty() {
        return Vec::new();
    }
    let mut output = [b"--- ", &*name("a", path), b"\n+++ ", &*name("b", path), b"\n"].concat();
    for hunk in hunks {
        // A vector takes whatever is written.
        let _ = writeln!(output, "{}", UnifiedHunkHeader::new(&hunk));
        for op in hunk {
            let (tag, of_old, of_new) = op.as_tag_tuple();
            let (kept, removed, added) = match tag {
                DiffTag::Equal => (&old[of_old], &[][..], &[][..]),
                _ => (&[][..], &old[of_old], &new[of_new]),
            };
            kept.iter().for_each(|line| push_line(&mut output, b' ', line));
            removed.iter().for_each(|line| push_line(&mut output, b'-', line));
            added.iter().for_each(|line| push_line(&mut output, b'+', line));
        }
    }
    output
}

fn push_line(output: &mut Vec<u8>, sign: u8, line: &[u8]) {
    output.push(sign);
    output.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        output.extend_from_slice(b"\n\\ No newline at end of file\n");
    }
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

/// `a/` and the path without its leading slash, as git writes it: in quotes where a character would end the name or mislead
/// its reader, with a tab behind a name that has a space.
fn name(side: &str, path: &Path) -> Vec<u8> {
    let path = path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes();
    let name = [side.as_bytes(), b"/", path].concat();
    let plain =
        std::str::from_utf8(&name).is_ok_and(|text| text.chars().all(|c| is_printable(c) && !"\"\\".contains(c)));
    if !plain {
        return quoted(&name);
    }
    if name.contains(&b' ') { [&name, &b"\t"[..]].concat() } else { name }
}

/// A name as C writes strings, which `patch` and git read: <https://git-scm.com/docs/git-config#Documentation/git-config.txt-corequotePath>.
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for &byte in name {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', byte]),
            b'\n' => quoted.extend(b"\\n"),
            b'\t' => quoted.extend(b"\\t"),
            b' '..=b'~' => quoted.push(byte),
            _ => quoted.extend(format!("\\{byte:03o}").into_bytes()),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

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
    fn a_name_that_would_mislead_is_quoted() {
        let named = |path: &[u8]| String::from_utf8(name("a", Path::new(OsStr::from_bytes(path)))).unwrap();
        assert_eq!(named("/größe/x.py".as_bytes()), "a/größe/x.py");
        assert_eq!(named(b"/x y.py"), "a/x y.py\t");
        assert_eq!(named(b"x\n+++ b/y\t\x1b.py"), r#""a/x\n+++ b/y\t\033.py""#);
        assert_eq!(named(b"x\"\\\xff.py"), r#""a/x\"\\\377.py""#);
        assert_eq!(named("\u{202e}yp.x".as_bytes()), r#""a/\342\200\256yp.x""#);
    }

    #[test]
    fn a_missing_newline_at_the_end_is_marked() {
        assert!(text("a", "a\nb").contains("\\ No newline at end of file\n"), "{}", text("a", "a\nb"));
    }

    #[test]
    fn insertions_are_compared_alone() {
        use crate::source::edit::{Insertion, insert};
        let original = "import a\n\n\nf(1)\nx = 2\nx = 3\nx = 4\nx = 5\nx = 6\nx = 7\nx = 8\ng(2)";
        let at = |text: &str| ByteOffset(original.find(text).unwrap() + text.len());
        let insertions = [
            Insertion::new(ByteOffset(0), "# first\n"),
            Insertion::new(at("import a\n"), "\n\ndef h():\n    pass\n"),
            Insertion::new(at("f(1"), ", c(2)"),
            Insertion::new(at("g(2"), ", c(3)"),
        ];
        let patched = insert(original.as_bytes(), &insertions);
        let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
        let path = Path::new("x.py");
        let diff = String::from_utf8(of_insertions(path, original.as_bytes(), &patched, &spans)).unwrap();
        assert_eq!(
            diff,
            "--- a/x.py\n+++ b/x.py\n@@ -1,7 +1,12 @@\n+# first\n import a\n+\n+\n+def h():\n+    pass\n \n \n-f(1)\n+f(1, c(2))\n \
             x = 2\n x = 3\n x = 4\n@@ -9,4 +14,4 @@\n x = 6\n x = 7\n x = 8\n-g(2)\n\\ No newline at end of file\n+g(2, c(3))\n\
             \\ No newline at end of file\n"
        );
        let lines = |diff: &[u8], sign| diff.split(|b| *b == b'\n').filter(|line| line.first() == Some(&sign)).count();
        let removal = of_removal(path, &patched, original.as_bytes(), &spans);
        assert_eq!(lines(&removal, b'-'), lines(diff.as_bytes(), b'+'));
        assert_eq!(lines(&removal, b'+'), lines(diff.as_bytes(), b'-'));
    }
}
