//! What an audit found: the places that choose a NIXL backend, and what a user can set.

use std::path::PathBuf;

use serde::Serialize;

use super::file::path_as_text;

/// What `audit` found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Audit {
    /// How many files were looked at.
    pub files: usize,
    /// Of these, how many were parsed: the others cannot create an agent.
    pub parsed: usize,
    /// How many places there are, and how many of them ignore every setting.
    pub summary: Summary,
    /// The distributions and folders that have places.
    pub groups: Vec<Group>,
    /// The places, by group, path and line.
    pub places: Vec<Place>,
    /// The variables and options that choose a backend in what was found.
    pub knobs: Vec<Knob>,
    /// Files and folders that could not be read or parsed.
    pub problems: Vec<Problem>,
}

/// How many agents and backends are created, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// All. A configuration counts with the agent that it is for.
    pub places: usize,
    /// Those that ignore every setting.
    pub ignores_settings: usize,
    /// Those that follow an environment variable.
    pub environment: usize,
    /// Those that follow an option.
    pub option: usize,
    /// Those that are meant for storage, or for no backend.
    pub deliberate: usize,
    /// Those that cannot be judged.
    pub unknown: usize,
}

impl Summary {
    /// Counts a place of this class.
    pub(crate) fn add(&mut self, class: PlaceClass) {
        self.places += 1;
        *match class {
            PlaceClass::IgnoresSettings => &mut self.ignores_settings,
            PlaceClass::Environment => &mut self.environment,
            PlaceClass::Option => &mut self.option,
            PlaceClass::Deliberate => &mut self.deliberate,
            PlaceClass::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// A distribution with places, or a folder that belongs to none.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    /// The distribution's name; None outside of one.
    pub distribution: Option<String>,
    /// Its version.
    pub distribution_version: Option<String>,
    /// The folder that the files lie in.
    #[serde(serialize_with = "path_as_text")]
    pub folder: PathBuf,
    /// How many places there are.
    pub summary: Summary,
}

/// A place that creates an agent, a configuration or a backend.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    /// Its group, by its number in [`Audit::groups`].
    #[serde(skip)]
    pub group: usize,
    /// The distribution that installed the file; None outside of one.
    pub distribution: Option<String>,
    /// Its version.
    pub distribution_version: Option<String>,
    /// The file.
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// Where the call is, and how it chooses.
    #[serde(flatten)]
    pub choice: PlaceChoice,
}

/// Where a call is in its file, and how it chooses the backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PlaceChoice {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The function around it.
    pub function: Option<String>,
    /// What is created.
    pub creates: Creates,
    /// How it chooses.
    pub class: PlaceClass,
    /// The environment variable or the option that chooses, as far as the file shows.
    pub setting: Option<String>,
    /// The backends that the file fixes.
    pub backends: Vec<String>,
    /// The class in words.
    pub reason: String,
}

/// What a place creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Creates {
    /// An agent.
    Agent,
    /// The configuration of one.
    Configuration,
    /// A backend of one.
    Backend,
}

/// How a place chooses its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlaceClass {
    /// The same backend whatever is set.
    IgnoresSettings,
    /// An environment variable decides.
    Environment,
    /// An option or a configuration key decides.
    Option,
    /// No backend, or one for storage: not what a network setting is for.
    Deliberate,
    /// The file does not tell.
    Unknown,
}

/// A variable or an option that chooses a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Knob {
    /// The distribution or image that has it.
    pub package: &'static str,
    /// Whether it is an environment variable or an option.
    pub kind: KnobKind,
    /// Its name.
    pub name: &'static str,
    /// What is used where it is not set.
    pub default: &'static str,
    /// What it can be set to.
    pub syntax: &'static str,
    /// What it chooses the backend of.
    pub chooses: &'static str,
    /// The file that this was read from.
    pub source: &'static str,
    /// The version that this was read in.
    pub source_version: &'static str,
    /// Its value now; None where it is not set, or is no environment variable.
    pub value: Option<String>,
}

/// What kind of setting a knob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KnobKind {
    /// An environment variable.
    Environment,
    /// An option of the command line or a configuration key.
    Option,
}

/// A file or folder that the audit had to pass over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// Where it is.
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// Why.
    pub message: String,
}
