//! What a module itself chooses: by this program's patch, by one made by hand, or not at all.

use rustpython_parser::ast::Stmt;

use super::agent_call::survey::survey;
use super::agent_call::{self, Shape, Site};
use super::encoding::SourceText;
use super::meaning::{Alias, Imports, NixlClass};
use super::patch::{self, PatchError, Read};
use crate::choice::rule::Rule;
use crate::report::audit::{Creates, PlaceChoice};
use crate::report::file::ChoiceReport;

/// How a module chooses the backends of the agents that it creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnChoice {
    /// By this rule: nixl-retrofit patched it.
    Patched(Rule),
    /// By an environment variable, in a way of its own.
    Variable {
        /// How, as far as the file shows.
        read: ChoiceReport,
        /// Whether it adds to an agent that has NIXL's default already.
        besides_default: bool,
        /// The call's line, from 1.
        line: usize,
    },
    /// Always these.
    Fixed {
        /// The names in the file.
        names: Vec<String>,
        /// Whether they are created besides NIXL's default, in an agent that has that already.
        besides_default: bool,
        /// The call's line, from 1.
        line: usize,
    },
    /// Not at all: NIXL's default.
    Default,
    /// In a way that the file does not tell.
    Unclear {
        /// Why.
        reason: String,
        /// The call's line, from 1.
        line: usize,
    },
}

/// The choice of a module's first call that creates an agent; None where it has no such call.
///
/// # Errors
/// Where the file is not understood.
pub(crate) fn of(bytes: &[u8]) -> Result<Option<OwnChoice>, PatchError> {
    if let Some(rule) = patch::own_marker(bytes)?.and_then(|own| own.marker.options.parse().ok()) {
        return Ok(Some(OwnChoice::Patched(rule)));
    }
    let source = SourceText::decode(bytes)?;
    let Read { module, sites, .. } = patch::read(source.text(), None)?;
    Ok(first(&sites).map(|site| choice(site, source.text(), &module)))
}

/// The first call that says something: one without a choice may follow it on another way.
fn first(sites: &[Site]) -> Option<&Site> {
    let chooses = |site: &&Site| !matches!(site.shape, Shape::Bare | Shape::ConfigurationWithoutBackends);
    sites.iter().find(chooses).or_else(|| sites.first())
}

fn choice(site: &Site, text: &str, module: &[Stmt]) -> OwnChoice {
    let line = site.line;
    match &site.shape {
        Shape::Bare | Shape::ConfigurationWithoutBackends => OwnChoice::Default,
        Shape::EnvironmentAware(read, how) => {
            let besides_default = how.as_deref().is_some_and(|how| how.contains(agent_call::CREATED_LATER));
            OwnChoice::Variable { read: ChoiceReport::clone(read), besides_default, line }
        }
        Shape::Configured(how) => fixed(&survey(text, module, &NoOtherModule), line)
            .unwrap_or_else(|| OwnChoice::Unclear { reason: format!("it chooses its own backends: {how}"), line }),
        Shape::Unresolved(_, reason) => OwnChoice::Unclear { reason: reason.clone(), line },
    }
}

/// The names that the file writes out, where all that it creates is written out.
fn fixed(places: &[PlaceChoice], line: usize) -> Option<OwnChoice> {
    let names = |of: &dyn Fn(Creates) -> bool| -> Vec<String> {
        places.iter().filter(|place| of(place.creates)).flat_map(|place| place.backends.iter().cloned()).collect()
    };
    let configured = names(&|creates| creates != Creates::Backend);
    let created = names(&|creates| creates == Creates::Backend);
    let besides_default = configured.is_empty();
    // An agent has the names of its configuration.
    let mut names: Vec<String> = Vec::new();
    for name in configured.into_iter().chain(created) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then_some(OwnChoice::Fixed { names, besides_default, line })
}

/// What other modules bind is not followed.
struct NoOtherModule;

impl Imports for NoOtherModule {
    fn absolute(&self, _level: u32, module: &str) -> String {
        module.to_string()
    }

    fn alias(&self, _module: &str, _name: &str) -> Option<Alias> {
        None
    }

    fn all(&self, _module: &str) -> Vec<(String, NixlClass)> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const IMPORT: &str = "import os\nfrom nixl._api import nixl_agent, nixl_agent_config\n";

    fn choice_of(call: &str) -> OwnChoice {
        of(format!("{IMPORT}{call}\n").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_out_is_fixed() {
        let fixed = |names: &[&str], besides_default| OwnChoice::Fixed {
            names: names.iter().map(ToString::to_string).collect(),
            besides_default,
            line: 3,
        };
        let listed = "a = nixl_agent('x', nixl_agent_config(backends=['LIBFABRIC', 'UCX']))";
        assert_eq!(choice_of(listed), fixed(&["LIBFABRIC", "UCX"], false));
        assert_eq!(choice_of("a = nixl_agent('x')\na.create_backend('LIBFABRIC')"), fixed(&["LIBFABRIC"], true));
    }

    #[test]
    fn the_variable_and_the_default_are_told_apart() {
        let read = "a = nixl_agent('x', nixl_agent_config(backends=[os.environ.get('B', 'UCX')]))";
        let OwnChoice::Variable { read, besides_default: false, line: 3 } = choice_of(read) else { panic!() };
        assert_eq!((read.variable.as_deref(), read.list, read.default.as_deref()), (Some("B"), false, Some("UCX")));
        let added = "a = nixl_agent('x')\nif os.environ.get('B') == 'LIBFABRIC':\n    a.create_backend('LIBFABRIC')";
        assert!(matches!(choice_of(added), OwnChoice::Variable { besides_default: true, .. }));
        assert_eq!(choice_of("a = nixl_agent('x')"), OwnChoice::Default);
        assert_eq!(of(b"import os\n").unwrap(), None);
        assert!(matches!(choice_of("a = nixl_agent('x', f())"), OwnChoice::Unclear { .. }));
    }

    #[test]
    fn a_patched_file_has_the_rule_of_its_marker() {
        let rule = Rule { variable: "MYB".parse().unwrap(), ..Rule::default() };
        let original = format!("{IMPORT}a = nixl_agent('x')\n");
        let patched = patch::plan(Path::new("x.py"), original.as_bytes(), &rule, None).unwrap().patched.unwrap();
        assert_eq!(of(&patched).unwrap(), Some(OwnChoice::Patched(rule.clone())));
        let edited = [&patched[..], b"# edited\n"].concat();
        assert_eq!(of(&edited).unwrap(), Some(OwnChoice::Patched(rule)));
    }
}
