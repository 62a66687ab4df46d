//! The variables and options that choose a NIXL backend, in the packages that have them: one table, read from the real
//! packages. `tests/knobs.rs` holds it against them.

use std::path::{Path, PathBuf};

use crate::environment::variables::Variables;
use crate::report::audit::{Knob, KnobKind};

/// A line of the table.
struct Row {
    package: &'static str,
    kind: KnobKind,
    name: &'static str,
    default: &'static str,
    syntax: &'static str,
    chooses: &'static str,
    /// The file in the package that has it.
    source: &'static str,
    version: &'static str,
}

/// The table: a tab between the columns.
const TABLE: &str = include_str!("knobs.tsv");

/// Where a package lies when a root is not its site-packages folder: a source checkout, or a folder of packages.
const DEEPER: usize = 1;

fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        Some(Row {
            package: columns.next()?,
            kind: match columns.next()? {
                "environment" => KnobKind::Environment,
                _ => KnobKind::Option,
            },
            name: columns.next()?,
            default: columns.next()?,
            syntax: columns.next()?,
            chooses: columns.next()?,
            source: columns.next()?,
            version: columns.next()?,
        })
    })
}

/// The settings of the packages below these folders, and what they are set to now.
pub(crate) fn installed(roots: &[PathBuf], variables: &Variables) -> Vec<Knob> {
    let folders: Vec<PathBuf> = roots.iter().flat_map(|root| with_subfolders(root, DEEPER)).collect();
    rows()
        .filter(|row| folders.iter().any(|folder| folder.join(row.source).exists()))
        .map(|row| knob(row, variables))
        .collect()
}

fn with_subfolders(root: &Path, depth: usize) -> Vec<PathBuf> {
    let mut folders = vec![root.to_path_buf()];
    if depth > 0
        && let Ok(entries) = std::fs::read_dir(root)
    {
        let inner = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        folders.extend(inner.flat_map(|folder| with_subfolders(&folder, depth - 1)));
    }
    folders
}

fn knob(row: Row, variables: &Variables) -> Knob {
    let Row { package, kind, name, default, syntax, chooses, source, version } = row;
    let value = match kind {
        KnobKind::Environment => variables.get(name).map(|value| value.to_string_lossy().into_owned()),
        KnobKind::Option => None,
    };
    Knob { package, kind, name, default, syntax, chooses, source, source_version: version, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_row() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert!(lines >= 10);
        assert_eq!(rows().count(), lines);
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(line.split('\t').count(), 9, "{line}");
        }
    }
}
