//! What became of a file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// One file that was looked at.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FileReport {
    /// Where it is, as it was found.
    #[serde(serialize_with = "path_as_text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// The distribution that installed it.
    pub distribution: Option<String>,
    /// Its version.
    pub distribution_version: Option<String>,
    /// The releases of Dynamo that have its original: `released source, 1.2.1 to 1.6.1`. Null where none has it, or it is not
    /// known.
    pub release: Option<String>,
    /// What the file is now.
    pub status: FileStatus,
    /// The calls in it that create an agent.
    pub sites: Vec<SiteReport>,
    /// The unified diff; empty when nothing changes.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub diff: Vec<u8>,
    /// The folder that the names in the diff are relative to: `patch -d FOLDER -p1` applies it. Null where there is no file.
    #[serde(serialize_with = "path_or_null")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub diff_folder: Option<PathBuf>,
    /// What a user should know besides.
    pub notes: Vec<String>,
    /// How it was found and what was checked and touched, for `-v`.
    pub details: Vec<String>,
    /// Whether a file beside it was changed, although it was not: RECORD, or bytecode.
    #[serde(skip)]
    pub mended: bool,
}

impl FileReport {
    /// A report of which only this much is known.
    pub(crate) fn new(path: &Path, status: FileStatus) -> Self {
        FileReport {
            path: path.to_path_buf(),
            distribution: None,
            distribution_version: None,
            release: None,
            status,
            sites: Vec::new(),
            diff: Vec::new(),
            diff_folder: None,
            notes: Vec::new(),
            details: Vec::new(),
            mended: false,
        }
    }
}

/// What a file is, or has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileStatus {
    /// Rewritten now.
    Patched,
    /// `apply` would rewrite it.
    WouldPatch,
    /// Rewritten by this tool before.
    AlreadyPatched,
    /// It reads an environment variable: upstream's own fix, or a patch made by hand.
    EnvAware,
    /// Its callers choose their backends.
    Configured,
    /// A call in it that may create an agent cannot be judged; the site says why.
    Unresolved,
    /// It creates no agent.
    NothingToPatch,
    /// A run was stopped before it finished: the module is patched, and its RECORD is not updated.
    Unfinished,
    /// The original again.
    Reverted,
    /// It cannot be processed.
    Failed,
}

impl FileStatus {
    /// Its name in documents.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FileStatus::Patched => "patched",
            FileStatus::WouldPatch => "would-patch",
            FileStatus::AlreadyPatched => "already-patched",
            FileStatus::EnvAware => "env-aware",
            FileStatus::Configured => "configured",
            FileStatus::Unresolved => "unresolved",
            FileStatus::NothingToPatch => "nothing-to-patch",
            FileStatus::Unfinished => "unfinished",
            FileStatus::Reverted => "reverted",
            FileStatus::Failed => "failed",
        }
    }
}

/// One call that creates an agent.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SiteReport {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The function around it.
    pub function: Option<String>,
    /// How it chooses its backends.
    pub shape: SiteShape,
    /// What is done with it.
    pub action: Action,
    /// The environment variable that it reads.
    pub variable: Option<String>,
    /// The shape in words.
    pub reason: Cow<'static, str>,
    /// How the file itself chooses, where it reads an environment variable.
    pub choice: Option<Box<ChoiceReport>>,
}

/// How a call chooses the agent's backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SiteShape {
    /// Without a configuration.
    Bare,
    /// With a configuration that has no `backends`.
    ConfigWithoutBackends,
    /// With the name of a backend in the source.
    HardCoded,
    /// With `backends`.
    Configured,
    /// With what an environment variable says.
    EnvAware,
    /// In a way that cannot be told from the file.
    Unclear,
    /// Through a parameter.
    Parameter,
    /// Through a parameter's default.
    DefaultArgument,
    /// Through an attribute of an object.
    Attribute,
    /// Through a class attribute.
    ClassAttribute,
    /// Through a subclass.
    Subclass,
    /// Through `functools.partial`.
    Partial,
    /// Through a container.
    Collection,
    /// Through a loop variable.
    LoopVariable,
    /// Through a `with` statement.
    With,
    /// Through `getattr`.
    Getattr,
    /// Through a name in a string.
    DynamicImport,
    /// By what a function does with the class or with a configuration.
    PassedOn,
    /// By what a caller does with the class.
    Returned,
}

/// How a file chooses by an environment variable, as far as it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChoiceReport {
    /// The variable's name, where it is a constant.
    pub variable: Option<String>,
    /// Whether the value is split into several names.
    pub list: bool,
    /// What an unset variable means, where it is a constant.
    pub default: Option<String>,
    /// The names that the value is compared with.
    pub allowed: Vec<String>,
    /// A name that the read uses and nothing binds.
    pub unbound: Option<String>,
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// It is, or would be, rewritten.
    Rewrite,
    /// It was rewritten before.
    Done,
    /// It is left as it is.
    Leave,
}

/// A path that is not UTF-8 has replacement characters.
pub(crate) fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// As [`path_as_text`], or null.
pub(crate) fn path_or_null<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => path_as_text(path, serializer),
        None => serializer.serialize_none(),
    }
}

fn as_text<S: Serializer>(diff: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(diff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_same_names() {
        use FileStatus::*;
        for status in [
            Patched,
            WouldPatch,
            AlreadyPatched,
            EnvAware,
            Configured,
            Unresolved,
            NothingToPatch,
            Unfinished,
            Reverted,
            Failed,
        ] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
