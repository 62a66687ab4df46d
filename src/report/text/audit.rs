//! An audit in the text report: the summary, the places by distribution, the settings, what could not be read.

use anstyle::Style;

use super::page::Page;
use super::style::{BAD, BOLD, GOOD, WARNING};
use crate::report::audit::{Audit, Creates, Group, Knob, KnobKind, Place, PlaceClass, Summary};
use crate::shown::Shown;

/// Shows an audit; with `verbose`, why each place has its class, and the settings that are not set.
pub(crate) fn audit(page: &mut Page, audit: &Audit, verbose: bool) {
    summary(page, audit);
    for (number, group) in audit.groups.iter().enumerate() {
        page.line(format_args!(""));
        heading(page, group);
        audit.places.iter().filter(|place| place.group == number).for_each(|it| place(page, it, verbose));
    }
    knobs(page, &audit.knobs);
    for problem in &audit.problems {
        page.line(format_args!("{WARNING}warning:{WARNING:#} {}: {}", problem.path.shown(), problem.message));
    }
}

fn summary(page: &mut Page, audit: &Audit) {
    let Summary { places, ignores_settings, .. } = audit.summary;
    let style = if ignores_settings == 0 { GOOD } else { BAD };
    let verb = if ignores_settings == 1 { "ignores" } else { "ignore" };
    let files = plural(audit.files, "file");
    match places {
        0 => page.line(format_args!("{GOOD}no place creates a NIXL agent or backend{GOOD:#} in {files}")),
        _ => page.line(format_args!(
            "{style}{ignores_settings} of {places} {verb} every setting{style:#}: agents and backends of NIXL in {files}"
        )),
    }
}

fn heading(page: &mut Page, group: &Group) {
    let Summary { places, ignores_settings, .. } = group.summary;
    let folder = group.folder.shown();
    let counts = format!("{ignores_settings} of {places}");
    match (&group.distribution, &group.distribution_version) {
        (Some(name), Some(version)) => page.line(format_args!("{BOLD}{name} {version}{BOLD:#} ({folder}): {counts}")),
        _ => page.line(format_args!("{BOLD}{folder}{BOLD:#}: {counts}")),
    }
}

fn place(page: &mut Page, place: &Place, verbose: bool) {
    let choice = &place.choice;
    let creates = match choice.creates {
        Creates::Agent => "agent",
        Creates::Configuration => "configuration",
        Creates::Backend => "backend",
    };
    let (path, line, column) = (place.path.shown(), choice.line, choice.column);
    let (style, class) = words(place);
    page.line(format_args!("  {path}:{line}:{column}: {creates}: {style}{class}{style:#}"));
    let is_wrong = matches!(choice.class, PlaceClass::IgnoresSettings | PlaceClass::Unknown);
    if verbose || (is_wrong && choice.creates != Creates::Configuration) {
        page.line(format_args!("    {}", choice.reason));
    }
}

fn words(place: &Place) -> (Style, String) {
    let choice = &place.choice;
    let setting = choice.setting.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let backends = choice.backends.join(",");
    match choice.class {
        PlaceClass::IgnoresSettings => (BAD, "ignores every setting".into()),
        PlaceClass::Environment => (GOOD, format!("environment variable{setting}")),
        PlaceClass::Option => (GOOD, format!("option{setting}")),
        PlaceClass::Deliberate if backends.is_empty() => (Style::new(), "deliberate, no backend".into()),
        PlaceClass::Deliberate => (Style::new(), format!("deliberate, `{backends}`")),
        PlaceClass::Unknown => (WARNING, "cannot be judged".into()),
    }
}

/// The settings of what was found.
pub(super) fn knobs(page: &mut Page, knobs: &[Knob]) {
    if knobs.is_empty() {
        return;
    }
    page.line(format_args!(""));
    page.line(format_args!("{BOLD}settings of what is installed{BOLD:#}"));
    for knob in knobs {
        let Knob { package, name, default, syntax, chooses, .. } = knob;
        let value = match (&knob.value, knob.kind) {
            (Some(value), _) => format!("{GOOD}set to `{value}`{GOOD:#}"),
            (None, KnobKind::Environment) => "not set".into(),
            (None, KnobKind::Option) => "an option".into(),
        };
        let facts = format!("`{name}`, {value}, default {default}: {chooses}; {syntax}");
        page.wrapped(&format!("  {package}: "), &facts);
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::tests::shown;
    use super::*;
    use crate::report::audit::{PlaceChoice, Problem};

    fn place(line: usize, creates: Creates, class: PlaceClass, setting: Option<&str>, backends: &[&str]) -> Place {
        Place {
            group: 0,
            distribution: Some("one".into()),
            distribution_version: Some("1.2".into()),
            path: PathBuf::from("/site/one/m.py"),
            choice: PlaceChoice {
                line,
                column: 5,
                function: None,
                creates,
                class,
                setting: setting.map(Into::into),
                backends: backends.iter().map(ToString::to_string).collect(),
                reason: "the reason".into(),
            },
        }
    }

    #[test]
    fn each_class_has_its_words() {
        use Creates::{Agent, Backend, Configuration};
        let places = vec![
            place(1, Agent, PlaceClass::IgnoresSettings, None, &[]),
            place(2, Configuration, PlaceClass::IgnoresSettings, None, &[]),
            place(3, Backend, PlaceClass::IgnoresSettings, None, &["UCX"]),
            place(4, Agent, PlaceClass::Environment, Some("B"), &[]),
            place(5, Agent, PlaceClass::Environment, None, &[]),
            place(6, Agent, PlaceClass::Option, Some("config.backends"), &[]),
            place(7, Agent, PlaceClass::Deliberate, None, &[]),
            place(8, Backend, PlaceClass::Deliberate, None, &["OBJ", "POSIX"]),
            Place { group: 1, ..place(9, Agent, PlaceClass::Unknown, None, &[]) },
        ];
        let mut audit = Audit { files: 1, places, ..Audit::default() };
        let count = |number| {
            let mut summary = Summary::default();
            let group = audit.places.iter().filter(|place| place.group == number);
            group.filter(|it| it.choice.creates != Configuration).for_each(|place| summary.add(place.choice.class));
            summary
        };
        let named = Group {
            distribution: Some("one".into()),
            distribution_version: Some("1.2".into()),
            folder: "/site".into(),
            summary: count(0),
        };
        let folder =
            Group { distribution: None, distribution_version: None, folder: "/site/two".into(), summary: count(1) };
        audit.summary = Summary { places: 8, ignores_settings: 2, ..Summary::default() };
        audit.groups = vec![named, folder];
        let knob = Knob {
            package: "one",
            kind: KnobKind::Environment,
            name: "B",
            default: "UCX",
            syntax: "one name",
            chooses: "transfer",
            source: "one/m.py",
            source_version: "1.2",
            value: Some("LIBFABRIC".into()),
        };
        audit.knobs = vec![
            Knob { value: None, ..knob.clone() },
            Knob { kind: KnobKind::Option, value: None, ..knob.clone() },
            knob,
        ];
        audit.problems = vec![Problem { path: "/site/x.py".into(), message: "cannot be read".into() }];
        insta::assert_snapshot!(shown(|page| super::audit(page, &audit, false)));
        let verbose = shown(|page| super::audit(page, &audit, true));
        assert_eq!(verbose.matches("the reason").count(), 9, "{verbose}");
    }

    #[test]
    fn a_setting_fits_a_terminal() {
        let knob = Knob {
            package: "sglang",
            kind: KnobKind::Environment,
            name: "SGLANG_DISAGGREGATION_NIXL_BACKEND",
            default: "UCX",
            syntax: "one name",
            chooses: "KV cache transfer of `--disaggregation-transfer-backend nixl`",
            source: "one/m.py",
            source_version: "1.2",
            value: Some("LIBFABRIC".into()),
        };
        let text = shown(|page| super::knobs(page, &[knob]));
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.ends_with("one name\n"), "{text}");
    }

    #[test]
    fn nothing_found_is_said() {
        let text = shown(|page| super::audit(page, &Audit { files: 2, ..Audit::default() }, false));
        assert_eq!(text, "no place creates a NIXL agent or backend in 2 files\n");
    }
}
