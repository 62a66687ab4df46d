//! From what a list of backends is made of to the class of the place.

use super::root::Root;
use crate::report::audit::PlaceClass;

/// Backends for storage and object stores, in the releases of NIXL up to 1.5.1 and in the programs that use them: a
/// network setting is not for them.
const STORAGE: [&str; 14] = [
    "OBJ",
    "POSIX",
    "GDS",
    "GDS_MT",
    "HF3FS",
    "3FS",
    "AZURE_BLOB",
    "DOCA_MEMOS",
    "IBM_SCALE",
    "GUSLI",
    "INFINIA",
    "S3",
    "S3_CRT",
    "DAOS",
];

/// How a place chooses, by what, and why that is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: PlaceClass,
    /// The variable or the option.
    pub(super) setting: Option<String>,
    /// The backends that the file fixes.
    pub(super) backends: Vec<String>,
    pub(super) reason: String,
}

impl Verdict {
    pub(super) fn new(class: PlaceClass, setting: Option<String>, reason: impl Into<String>) -> Self {
        Verdict { class, setting, backends: Vec::new(), reason: reason.into() }
    }

    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Verdict::new(PlaceClass::Unknown, None, reason)
    }

    pub(super) fn ignores(reason: impl Into<String>) -> Self {
        Verdict::new(PlaceClass::IgnoresSettings, None, reason)
    }

    /// The verdict on what a list of backends is made from. `written` is how the file gives it: `backends=x`.
    pub(super) fn of(roots: &[Root], written: &str) -> Self {
        let environment = roots.iter().find_map(|root| match root {
            Root::Environment(name) => Some(name.clone()),
            _ => None,
        });
        if let Some(name) = environment {
            let variable = name.as_ref().map_or("an environment variable".to_string(), |name| format!("`{name}`"));
            return Verdict::new(PlaceClass::Environment, name, format!("`{written}` comes from {variable}"));
        }
        if let Some(name) = roots.iter().find_map(|root| if let Root::Option(name) = root { Some(name) } else { None })
        {
            let reason = format!("`{written}` comes from the option `{name}`");
            return Verdict::new(PlaceClass::Option, Some(name.clone()), reason);
        }
        if let Some(why) = roots.iter().find_map(|root| if let Root::Unknown(why) = root { Some(why) } else { None }) {
            return Verdict::unknown(format!("`{written}`: {why}"));
        }
        let names: Vec<&str> = roots
            .iter()
            .filter_map(|root| if let Root::Name(name) = root { Some(name.as_str()) } else { None })
            .collect();
        if names.is_empty() {
            return Verdict::new(PlaceClass::Deliberate, None, format!("`{written}` names no backend"));
        }
        let backends = names.iter().map(ToString::to_string).collect();
        let (class, reason) = match names.iter().all(|name| is_storage(name)) {
            true => (PlaceClass::Deliberate, format!("`{written}` is for storage")),
            false => (PlaceClass::IgnoresSettings, format!("`{written}` is fixed in the file")),
        };
        Verdict { backends, ..Verdict::new(class, None, reason) }
    }

    /// Of several ways to one agent, the one that says most: a setting before what cannot be judged, before what ignores
    /// every setting, before what was meant so.
    pub(super) fn strongest(verdicts: Vec<Verdict>) -> Option<Verdict> {
        verdicts.into_iter().min_by_key(|verdict| match verdict.class {
            PlaceClass::Environment => 0,
            PlaceClass::Option => 1,
            PlaceClass::Unknown => 2,
            PlaceClass::IgnoresSettings => 3,
            PlaceClass::Deliberate => 4,
        })
    }

    /// Whether a variable or an option decides.
    pub(super) fn is_setting(&self) -> bool {
        matches!(self.class, PlaceClass::Environment | PlaceClass::Option)
    }
}

/// Whether a backend is for storage.
fn is_storage(name: &str) -> bool {
    STORAGE.iter().any(|storage| storage.eq_ignore_ascii_case(name))
}
