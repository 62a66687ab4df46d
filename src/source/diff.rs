//! Unified diffs that `patch -p1` and `git apply` accept.

use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use similar::udiff::UnifiedHunkHeader;
use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline};

use super::edit::InsertedSpan;
use super::offset::ByteOffset;
use crate::shown::is_printable;

/// Lines of context, as in `diff -u`.
const CONTEXT: usize = 3;

/// How long a diff of two files that nothing else is known about may look for its shortest form.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whole lines that differ: their bytes in the old file, and in the new one.
#[derive(Clone)]
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

/// The unified diff from `old` to `new`, in the file's own encoding and line endings. Empty when they are equal.
pub(crate) fn unified(path: &Path, old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut changes = Vec::new();
    if old != new {
        compare(old, new, &Change { old: 0..old.len(), new: 0..new.len() }, &mut changes);
    }
    written(path, old, new, &changes)
}

/// The unified diff from `original` to the file with insertions: their lines alone are compared, so that any number of
/// them takes linear time.
pub(crate) fn of_insertions(
    path: &Path,
    original: &[u8],
    patched: &[u8],
    spans: &[InsertedSpan<ByteOffset>],
) -> Vec<u8> {
    written(path, original, patched, &changes(original, patched, spans))
}

/// The unified diff that removes insertions.
pub(crate) fn of_removal(path: &Path, patched: &[u8], original: &[u8], spans: &[InsertedSpan<ByteOffset>]) -> Vec<u8> {
    let changes = changes(original, patched, spans).into_iter();
    let reversed: Vec<Change> = changes.map(|Change { old, new }| Change { old: new, new: old }).collect();
    written(path, patched, original, &reversed)
}

fn changes(original: &[u8], patched: &[u8], spans: &[InsertedSpan<ByteOffset>]) -> Vec<Change> {
    let mut changes = Vec::with_capacity(spans.len());
    for lines in inserted_lines(original, patched, spans) {
        let (before, after) = (&original[lines.old.clone()], &patched[lines.new.clone()]);
        // One changed line, as nearly all are, or nothing but new ones need no search.
        if before.is_empty() || is_one_line(before) && is_one_line(after) {
            changes.push(lines);
        } else {
            compare(original, patched, &lines, &mut changes);
        }
    }
    changes
}

/// The whole lines that insertions are in.
fn inserted_lines(original: &[u8], patched: &[u8], spans: &[InsertedSpan<ByteOffset>]) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::with_capacity(spans.len());
    let mut inserted = 0;
    for span in spans.iter().filter(|span| span.length > 0) {
        let at = span.offset.0;
        // Many can be on one line.
        if let Some(last) = all.last_mut().filter(|last| at < last.old.end) {
            inserted += span.length;
            last.new.end = last.old.end + inserted;
            continue;
        }
        let start = memchr::memrchr(b'\n', &original[..at]).map_or(0, |newline| newline + 1);
        let before = inserted;
        inserted += span.length;
        let whole = at == start && patched[..at + inserted].ends_with(b"\n");
        let end =
            if whole { at } else { memchr::memchr(b'\n', &original[at..]).map_or(original.len(), |n| at + n + 1) };
        match all.last_mut() {
            Some(last) if start <= last.old.end => {
                last.old.end = last.old.end.max(end);
                last.new.end = last.old.end + inserted;
            }
            _ => all.push(Change { old: start..end, new: start + before..end + inserted }),
        }
    }
    all
}

fn is_one_line(bytes: &[u8]) -> bool {
    memchr::memchr(b'\n', bytes).is_none_or(|newline| newline + 1 == bytes.len())
}

/// Adds the changes between some lines of two files.
fn compare(old: &[u8], new: &[u8], lines: &Change, changes: &mut Vec<Change>) {
    let deadline = Instant::now().checked_add(PATIENCE);
    let (olds, news) = (lines_of(&old[lines.old.clone()]), lines_of(&new[lines.new.clone()]));
    let (mut at_old, mut at_new) = (lines.old.start, lines.new.start);
    for op in capture_diff_slices_deadline(Algorithm::Myers, &olds, &news, deadline) {
        let (tag, of_old, of_new) = op.as_tag_tuple();
        let length = |lines: &[&[u8]]| lines.iter().map(|line| line.len()).sum::<usize>();
        let (from_old, from_new) = (at_old, at_new);
        at_old += length(&olds[of_old]);
        at_new += length(&news[of_new]);
        if tag != DiffTag::Equal {
            changes.push(Change { old: from_old..at_old, new: from_new..at_new });
        }
    }
}

/// Writes the changes in hunks, with the lines around them.
fn written(path: &Path, old: &[u8], new: &[u8], changes: &[Change]) -> Vec<u8> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut output = [b"--- ", &*name("a", path), b"\n+++ ", &*name("b", path), b"\n"].concat();
    // The end of the hunk before, and how many lines of both files are before it.
    let (mut at, mut old_index, mut new_index) = (0, 0, 0);
    let are_near = |one: &Change, next: &Change| {
        each_line(&old[one.old.end..next.old.start]).take(2 * CONTEXT + 1).count() <= 2 * CONTEXT
    };
    let mut hunks = changes.chunk_by(are_near).peekable();
    while let Some(hunk) = hunks.next() {
        let (first, last) = (&hunk[0], &hunk[hunk.len() - 1]);
        let behind = hunks.peek().map_or(old.len(), |next| next[0].old.start);
        let start = first.old.start - last_lines(&old[at..first.old.start], CONTEXT).len();
        let end = last.old.end + first_lines(&old[last.old.end..behind], CONTEXT).len();
        let between = count_lines(&old[at..start]);
        (old_index, new_index) = (old_index + between, new_index + between);
        let old_len = count_lines(&old[start..end]);
        let removed: usize = hunk.iter().map(|change| count_lines(&old[change.old.clone()])).sum();
        let added: usize = hunk.iter().map(|change| count_lines(&new[change.new.clone()])).sum();
        let new_len = old_len - removed + added;
        let header = UnifiedHunkHeader::new(&[DiffOp::Replace { old_index, old_len, new_index, new_len }]);
        // A vector takes whatever is written.
        let _ = writeln!(output, "{header}");
        at = start;
        for change in hunk {
            push_lines(&mut output, b' ', &old[at..change.old.start]);
            push_lines(&mut output, b'-', &old[change.old.clone()]);
            push_lines(&mut output, b'+', &new[change.new.clone()]);
            at = change.old.end;
        }
        push_lines(&mut output, b' ', &old[at..end]);
        (at, old_index, new_index) = (end, old_index + old_len, new_index + new_len);
    }
    output
}

fn push_lines(output: &mut Vec<u8>, sign: u8, lines: &[u8]) {
    for line in each_line(lines) {
        output.push(sign);
        output.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            output.extend_from_slice(b"\n\\ No newline at end of file\n");
        }
    }
}

/// A line ends with a line feed only, as for `patch` and git: a carriage return belongs to its line.
fn each_line(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

fn lines_of(text: &[u8]) -> Vec<&[u8]> {
    each_line(text).collect()
}

fn count_lines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count() + usize::from(!text.is_empty() && !text.ends_with(b"\n"))
}

fn first_lines(text: &[u8], count: usize) -> &[u8] {
    let length = each_line(text).take(count).map(<[u8]>::len).sum();
    &text[..length]
}

fn last_lines(text: &[u8], count: usize) -> &[u8] {
    let start = memchr::memrchr_iter(b'\n', text.strip_suffix(b"\n").unwrap_or(text)).nth(count - 1);
    &text[start.map_or(0, |newline| newline + 1)..]
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
    fn changes_share_a_hunk_where_their_context_meets() {
        for (between, hunks) in [(0, 1), (1, 1), (6, 1), (7, 2), (8, 2)] {
            let same: String = (0..between).map(|number| format!("{number}\n")).collect();
            let diff = text(&format!("a\n{same}b\n"), &format!("A\n{same}B\n"));
            assert_eq!(diff.matches("@@ -").count(), hunks, "{diff}");
            assert_eq!(diff.lines().filter(|line| line.starts_with(' ')).count(), between.min(6), "{diff}");
        }
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
