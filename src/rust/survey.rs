//! Every place in a Rust source that creates an agent or a backend, and how it chooses: for `audit`.

use super::agent_call::{self, Created};
use super::patch;
use super::site::{Shape, Site};
use super::syntax::{Source, SyntaxError};
use crate::report::audit::{Creates, PlaceChoice, PlaceClass};
use crate::report::file::{ChoiceReport, SiteShape};
use crate::source::edit::Inserted;
use crate::source::lines::LineIndex;
use crate::source::marker::Marker;
use crate::source::offset::TextOffset;

/// Methods that add a backend to an agent; the others that choose create the agent.
const ADDING: [&str; 3] = ["add_backend", "add_backend_with_params", "create_backend"];
/// How a source reads the variables of dynamo-memory's `nixl/config.rs`.
const FROM_ENVIRONMENT: &str = "NixlBackendConfig::from_env";
/// Those variables.
const VARIABLES: &str = "DYN_KVBM_NIXL_BACKEND_<NAME>";

/// All places of a source, in order; none in test code. Of a patched one, those of its original. The stack has to be large.
///
/// # Errors
/// When it is not Rust.
pub(crate) fn survey(bytes: &[u8]) -> Result<Vec<PlaceChoice>, SyntaxError> {
    match patch::intact(bytes) {
        Some((marker, original)) => survey_patched(bytes, &marker, &original),
        None => survey_original(bytes),
    }
}

fn survey_original(bytes: &[u8]) -> Result<Vec<PlaceChoice>, SyntaxError> {
    let source = Source::parse(bytes)?;
    let lines = LineIndex::new(source.text);
    let (sites, created) = agent_call::find_all(&source, false);
    let mut places: Vec<PlaceChoice> = sites.iter().map(|site| place(site, &source, &lines)).collect();
    places.extend(created.into_iter().map(|created| agent(created, source.text, &lines)));
    places.sort_by_key(|place| (place.line, place.column));
    Ok(places)
}

/// The places of a patched source: those that something was inserted around follow the variable.
fn survey_patched(bytes: &[u8], marker: &Marker, original: &[u8]) -> Result<Vec<PlaceChoice>, SyntaxError> {
    let text = Source::parse(bytes)?.text;
    let source = Source::parse(original)?;
    let (lines, inserted) = (LineIndex::new(text), Inserted::new(&marker.inserted));
    let (mut sites, created) = agent_call::find_all(&source, true);
    let follows = Shape::EnvironmentAware(ChoiceReport {
        variable: marker.variable().map(Into::into),
        ..ChoiceReport::default()
    });
    let mut changed: Vec<Shape> = Vec::new();
    for site in &mut sites {
        let start = site.edit.as_ref().map(|edit| edit.around.start);
        if start.is_some_and(|start| marker.inserted.iter().any(|span| span.offset.0 == start)) {
            changed.push(std::mem::replace(&mut site.shape, follows.clone()));
        }
    }
    let mut places: Vec<PlaceChoice> = Vec::new();
    for site in &sites {
        let offset = inserted.patched(site.offset, true);
        let verdict = judged(&site.shape, source.text);
        places.push(at(offset, site.function.clone(), creates(site, source.text), verdict, &lines));
    }
    for created in created {
        let shape = created.shape.map(|shape| if changed.contains(&shape) { follows.clone() } else { shape });
        let moved = Created { offset: inserted.patched(created.offset, true), shape, ..created };
        places.push(agent(moved, source.text, &lines));
    }
    places.sort_by_key(|place| (place.line, place.column));
    Ok(places)
}

fn place(site: &Site, source: &Source, lines: &LineIndex) -> PlaceChoice {
    let verdict = judged(&site.shape, source.text);
    at(site.offset, site.function.clone(), creates(site, source.text), verdict, lines)
}

fn creates(site: &Site, text: &str) -> Creates {
    let rest = text.get(site.offset..).unwrap_or_default();
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    if ADDING.contains(&name) { Creates::Backend } else { Creates::Agent }
}

fn agent(created: Created, text: &str, lines: &LineIndex) -> PlaceChoice {
    let verdict = match &created.shape {
        Some(shape) => judged(shape, text),
        None => Verdict { class: PlaceClass::Deliberate, reason: "created without a backend".into(), ..UNKNOWN },
    };
    at(created.offset, created.function, Creates::Agent, verdict, lines)
}

fn at(offset: usize, function: Option<String>, creates: Creates, verdict: Verdict, lines: &LineIndex) -> PlaceChoice {
    let (line, column) = lines.position(TextOffset(offset));
    let Verdict { class, setting, backends, reason } = verdict;
    PlaceChoice { line, column, function, creates, class, setting, backends, reason }
}

/// How a place chooses, in an audit's words.
struct Verdict {
    class: PlaceClass,
    setting: Option<String>,
    backends: Vec<String>,
    reason: String,
}

const UNKNOWN: Verdict =
    Verdict { class: PlaceClass::Unknown, setting: None, backends: Vec::new(), reason: String::new() };

fn judged(shape: &Shape, text: &str) -> Verdict {
    match shape {
        Shape::HardCoded | Shape::BlockManager(_) => Verdict {
            class: PlaceClass::IgnoresSettings,
            backends: vec!["UCX".into()],
            reason: "`UCX` is fixed in the file".into(),
            ..UNKNOWN
        },
        Shape::EnvironmentAware(read) => Verdict {
            class: PlaceClass::Environment,
            setting: read.variable.clone(),
            reason: "an environment variable gives the backends".into(),
            ..UNKNOWN
        },
        Shape::Configured(how) => configured(how),
        Shape::Unresolved(..) if text.contains(FROM_ENVIRONMENT) => Verdict {
            class: PlaceClass::Environment,
            setting: Some(VARIABLES.into()),
            reason: format!("`{FROM_ENVIRONMENT}` reads the variables"),
            ..UNKNOWN
        },
        Shape::Unresolved(SiteShape::Parameter, reason) => Verdict {
            class: PlaceClass::Option,
            setting: quoted(reason).next().map(Into::into),
            reason: reason.clone(),
            ..UNKNOWN
        },
        Shape::Unresolved(_, reason) => Verdict { reason: reason.clone(), ..UNKNOWN },
    }
}

/// What the file chooses: the names that its description quotes.
fn configured(how: &str) -> Verdict {
    let is_backend =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let backends: Vec<String> = quoted(how).filter(is_backend).map(Into::into).collect();
    let class = match backends.is_empty() || how.starts_with("storage") {
        true => PlaceClass::Deliberate,
        false => PlaceClass::IgnoresSettings,
    };
    Verdict { class, backends, reason: format!("chooses its own backends: {how}"), ..UNKNOWN }
}

fn quoted(words: &str) -> impl Iterator<Item = &str> {
    words.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let text = format!("use dynamo_memory::nixl::NixlAgent;\n{text}");
        let places = survey(text.as_bytes()).expect("the test's source is Rust");
        let words = |it: &PlaceChoice| {
            format!("{} {:?} {:?} {:?} {}", it.line, it.creates, it.class, it.setting, it.backends.join(","))
        };
        places.iter().map(words).collect()
    }

    #[test]
    fn each_class_has_its_shapes() {
        assert_eq!(
            found("fn f() { let mut a = NixlAgent::new(\"x\").unwrap();\na.add_backend(\"UCX\").unwrap(); }"),
            ["2 Agent Deliberate None ", "3 Backend IgnoresSettings None UCX"]
        );
        assert_eq!(
            found("fn f() { NixlAgent::with_backends(\"x\", &[\"UCX\"]); }"),
            ["2 Agent IgnoresSettings None UCX"]
        );
        assert_eq!(found("fn f(mut a: NixlAgent) { a.add_backend(\"POSIX\"); }"), ["2 Backend Deliberate None POSIX"]);
        assert_eq!(found("fn f(b: &[&str]) { NixlAgent::with_backends(\"x\", b); }"), ["2 Agent Option Some(\"b\") "]);
        let own = "impl NixlAgent { fn f() { Self::require_backends(\"x\", &[\"UCX\", \"POSIX\"]); } }";
        let own = survey(format!("struct NixlAgent;\n{own}").as_bytes()).expect("Rust");
        assert_eq!((own[0].line, own[0].class), (2, PlaceClass::IgnoresSettings));
        assert_eq!(found("#[cfg(test)] mod t { fn f() { super::NixlAgent::new(\"x\"); } }"), Vec::<String>::new());
    }
}
