//! Files in the text report. The diff is one that `patch -p1` and `git apply` accept; the lines after it begin with
//! nothing that those take for a part of it.

use std::path::Path;

use anstyle::Style;

use super::page::Page;
use super::style::{ADDED, BAD, BOLD, GOOD, HUNK, REMOVED, WARNING};
use crate::report::file::{Action, FileReport, FileStatus, SiteReport};
use crate::shown::Shown;

/// Shows what became of the files; with `verbose`, how they were found and what was checked.
pub(crate) fn files(page: &mut Page, files: &[FileReport], verbose: bool) {
    // A failed file's words are the error of the run, which is printed on standard error.
    let mut folders = files.iter().filter_map(folder).collect::<Vec<_>>();
    folders.dedup();
    let mut headings = folders.iter().filter(|_| folders.len() > 1).peekable();
    for file in files.iter().filter(|file| file.status != FileStatus::Failed) {
        if let Some(heading) = headings.next_if(|heading| folder(file) == Some(heading)) {
            page.line(format_args!("{BOLD}in {}:{BOLD:#}", heading.shown()));
        }
        diff(page, &file.diff);
        status(page, file);
        let details = file.details.iter().filter(|_| verbose);
        for line in file.notes.iter().chain(details) {
            page.line(format_args!("  {line}"));
        }
    }
}

/// What the names in a file's diff are relative to.
fn folder(file: &FileReport) -> Option<&Path> {
    file.diff_folder.as_deref().filter(|_| !file.diff.is_empty())
}

fn status(page: &mut Page, file: &FileReport) {
    let (word, style) = match file.status {
        FileStatus::Patched => ("patched:", GOOD),
        FileStatus::WouldPatch => ("would patch:", WARNING),
        FileStatus::AlreadyPatched => ("already patched:", GOOD),
        FileStatus::EnvAware => ("unchanged, reads the environment already:", GOOD),
        FileStatus::Configured => ("unchanged, chooses its own backends:", WARNING),
        FileStatus::Unresolved => ("unchanged, a call cannot be judged:", WARNING),
        FileStatus::NothingToPatch if !file.notes.is_empty() => ("unchanged:", GOOD),
        FileStatus::NothingToPatch => ("nothing to patch:", WARNING),
        FileStatus::Unfinished => ("unfinished:", BAD),
        FileStatus::Reverted => ("reverted:", GOOD),
        FileStatus::Failed => ("failed:", BAD),
    };
    page.line(format_args!("{style}{word}{style:#} {}{}", file.path.shown(), owner(file)));
    for call in &file.sites {
        page.line(format_args!("  {}", site(call, file.status)));
    }
    if file.sites.is_empty() && file.notes.is_empty() && file.status == FileStatus::NothingToPatch {
        page.line(format_args!("  no call in this file creates a NIXL agent"));
    }
}

fn owner(file: &FileReport) -> String {
    match (&file.distribution, &file.distribution_version) {
        (Some(name), Some(version)) => format!(" ({name} {version})"),
        (Some(name), None) => format!(" ({name})"),
        _ => String::new(),
    }
}

fn site(site: &SiteReport, status: FileStatus) -> String {
    let function = site.function.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
    let action = match site.action {
        Action::Rewrite if status == FileStatus::WouldPatch => "would be rewritten",
        Action::Rewrite | Action::Done => "rewritten",
        Action::Leave => "unchanged",
    };
    format!("line {}, column {}{function}: {action}; {}", site.line, site.column, site.reason)
}

fn diff(page: &mut Page, diff: &[u8]) {
    for line in diff.split_inclusive(|&byte| byte == b'\n') {
        let style = match line.first() {
            _ if line.starts_with(b"--- ") || line.starts_with(b"+++ ") => BOLD,
            Some(b'@') => HUNK,
            Some(b'+') => ADDED,
            Some(b'-') => REMOVED,
            _ => Style::new(),
        };
        let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
        page.text(format_args!("{style}"));
        page.raw(&line[..end]);
        page.text(format_args!("{style:#}"));
        page.raw(&line[end..]);
    }
}

#[cfg(test)]
mod tests {
    use anstream::ColorChoice;

    use super::super::tests::{bytes, shown};
    use super::*;
    use crate::report::file::SiteShape;

    const DIFF: &[u8] = b"--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-a\r\n+b\n same\n\\ No newline at end of file\n";

    fn file(status: FileStatus) -> FileReport {
        FileReport::new(Path::new("/opt/dynamo/venv/dynamo/nixl_connect/__init__.py"), status)
    }

    fn call(shape: SiteShape, action: Action, reason: &'static str) -> SiteReport {
        let function = Some("__init__".into());
        SiteReport {
            line: 623,
            column: 22,
            function,
            shape,
            action,
            variable: None,
            reason: reason.into(),
            choice: None,
        }
    }

    #[test]
    fn each_status_has_its_words() {
        use FileStatus::*;
        let bare = |action| vec![call(SiteShape::Bare, action, "no configuration: NIXL's default backend")];
        let own = call(SiteShape::Configured, Action::Leave, "names its backends");
        let files = [
            FileReport {
                distribution: Some("ai-dynamo-runtime".into()),
                distribution_version: Some("1.6.1".into()),
                diff: DIFF.into(),
                sites: bare(Action::Rewrite),
                details: vec!["only with -v".into()],
                ..file(Patched)
            },
            FileReport { diff: DIFF.into(), sites: bare(Action::Rewrite), ..file(WouldPatch) },
            FileReport { sites: bare(Action::Done), ..file(AlreadyPatched) },
            FileReport { distribution: Some("ai-dynamo-runtime".into()), ..file(EnvAware) },
            FileReport { sites: vec![own], notes: vec!["a note".into()], ..file(Configured) },
            file(Unresolved),
            FileReport { notes: vec!["a run was stopped".into()], ..file(Unfinished) },
            file(NothingToPatch),
            FileReport { notes: vec!["nothing to revert".into()], ..file(NothingToPatch) },
            FileReport { diff: DIFF.into(), details: vec!["only with -v".into()], ..file(Reverted) },
            FileReport { notes: vec!["on standard error".into()], ..file(Failed) },
        ];
        insta::assert_snapshot!(shown(|page| super::files(page, &files, false)));
        let verbose = shown(|page| super::files(page, &files, true));
        assert_eq!(verbose.matches("only with -v").count(), 2, "{verbose}");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let painted = bytes(ColorChoice::Always, |page| diff(page, DIFF));
        insta::assert_snapshot!(painted.escape_ascii().to_string().replace("\\n", "\\n\n"));
        assert_eq!(bytes(ColorChoice::Never, |page| diff(page, DIFF)), DIFF);
    }

    #[test]
    fn a_files_own_bytes_pass_unchanged() {
        let diff = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\x1b[31mred\x1b[0m \xe9\xff\x07\n+\x1b]0;title\x07 \xa4\n";
        assert_eq!(bytes(ColorChoice::Never, |page| super::diff(page, diff)), diff);
        let painted = bytes(ColorChoice::Always, |page| super::diff(page, diff));
        assert!(
            painted.windows(20).any(|bytes| bytes == b"-\x1b[31mred\x1b[0m \xe9\xff\x07\x1b[0"),
            "{}",
            painted.escape_ascii()
        );
    }
}
