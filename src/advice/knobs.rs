//! The variables and options that choose a NIXL backend, in the packages that have them: one table, read from the real
//! packages. `tests/knobs.rs` holds it against them.

use std::path::{Path, PathBuf};

use crate::choice::backend;
use crate::environment::variables::Variables;
use crate::report::audit::{Knob, KnobKind};
use crate::report::finding::{Finding, Severity};

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

/// A variable's choice of backends for transfers between agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Who reads the variable.
    pub package: String,
    /// The variable.
    pub variable: String,
    /// Its value.
    pub value: String,
    /// The names in it, in capitals.
    pub names: Vec<String>,
}

impl Chosen {
    /// The choice that a value with commas makes.
    pub(crate) fn new(package: &str, variable: &str, value: &str) -> Chosen {
        let names = value.split(',').map(backend::trim).filter(|name| !name.is_empty());
        let names = names.map(str::to_ascii_uppercase).collect();
        Chosen { package: package.into(), variable: variable.into(), value: value.into(), names }
    }
}

/// What the settings that are set choose, those of storage left out.
pub(crate) fn chosen(knobs: &[Knob]) -> Vec<Chosen> {
    let is_transfer = |knob: &&Knob| !knob.chooses.contains("storage") && !knob.name.contains('<');
    let set = knobs.iter().filter(is_transfer).filter_map(|knob| Some((knob, knob.value.as_deref()?)));
    set.map(|(knob, value)| Chosen::new(knob.package, knob.name, value)).filter(|it| !it.names.is_empty()).collect()
}

/// Two components whose settings have no backend in common: an agent of one and an agent of the other cannot talk.
pub(crate) fn disagreements(chosen: &[Chosen]) -> Vec<Finding> {
    let Some((first, others)) = chosen.split_first() else { return Vec::new() };
    let has_none_in_common = |other: &&Chosen| !other.names.iter().any(|name| first.names.contains(name));
    others
        .iter()
        .filter(has_none_in_common)
        .map(|other| Finding {
            id: "settings-disagree",
            severity: Severity::Warning,
            message: format!(
                "`{}={}` ({}) and `{}={}` ({}) have no backend in common",
                first.variable, first.value, first.package, other.variable, other.value, other.package
            ),
            consequence: "an agent of one and an agent of the other find no way to transfer".into(),
            cure: vec![format!("ENV {}={} {}={}", first.variable, first.value, other.variable, first.value)],
            path: None,
            line: None,
        })
        .collect()
}

/// A setting that names a backend without a plugin.
pub(crate) fn without_plugin(chosen: &[Chosen], nixl: &str, plugins: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for it in chosen {
        for name in it.names.iter().filter(|name| !plugins.iter().any(|plugin| plugin == *name)) {
            findings.push(Finding {
                id: "setting-names-no-plugin",
                severity: Severity::Error,
                message: format!(
                    "`{}={}` names `{name}`, and {nixl} has no plugin of that name",
                    it.variable, it.value
                ),
                consequence: format!("{} gets an agent without it, or an error", it.package),
                cure: vec![format!("name one of {}", plugins.join(", "))],
                path: None,
                line: None,
            });
        }
    }
    findings
}

/// The variables of the table that are set, and whose packages are not here.
pub(crate) fn unread(installed: &[Knob], variables: &Variables) -> Vec<Finding> {
    let is_read = |row: &Row| installed.iter().any(|knob| knob.name == row.name);
    rows()
        .filter(|row| row.kind == KnobKind::Environment && !is_read(row))
        .filter_map(|row| {
            let value = variables.non_empty(row.name)?.to_string_lossy().into_owned();
            Some(Finding {
                id: "setting-read-by-nobody",
                severity: Severity::Warning,
                message: format!(
                    "`{}={value}` is set, and {}, which reads it, is not installed here",
                    row.name, row.package
                ),
                consequence: "the variable does nothing".into(),
                cure: vec![format!("remove `{}`, or install {}", row.name, row.package)],
                path: None,
                line: None,
            })
        })
        .collect()
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

    #[test]
    fn settings_without_a_common_backend_disagree() {
        let one = Chosen::new("sglang", "A", "LIBFABRIC");
        let [same, other] = ["ucx, libfabric", "UCX"].map(|value| Chosen::new("lmcache", "B", value));
        assert!(disagreements(&[one.clone(), same]).is_empty());
        let found = disagreements(&[one, other]);
        assert_eq!(found[0].message, "`A=LIBFABRIC` (sglang) and `B=UCX` (lmcache) have no backend in common");
        assert!(disagreements(&[]).is_empty());
    }

    #[test]
    fn a_name_without_a_plugin_is_found() {
        let chosen = [Chosen::new("sglang", "A", "LIBFABRIK,UCX")];
        let found = without_plugin(&chosen, "nixl-cu13 1.5.0", &["UCX".into(), "LIBFABRIC".into()]);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("names `LIBFABRIK`"), "{}", found[0].message);
    }

    #[test]
    fn a_variable_of_an_absent_package_is_read_by_nobody() {
        let variables: Variables = [("MX_NIXL_BACKEND", "UCX"), ("OTHER", "x")].into_iter().collect();
        let found = unread(&[], &variables);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.starts_with("`MX_NIXL_BACKEND=UCX` is set, and modelexpress"));
    }
}
