//! All rules, held against a folder of sources.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use super::circles::{self, Graph};
use super::modules::House;
use super::names::{self, Import};
use super::rules::Exception;
use super::{rules, safety};

/// What a violation breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A file that no table knows, or no module declares.
    Place,
    /// An import of a room that the importing one must not know.
    Direction,
    /// Files that import each other.
    Circle,
    /// `unsafe` where it must not be, or without its argument.
    Unsafe,
    /// Printing or exiting where it must not be.
    Speech,
    /// A typed value compared with text.
    Text,
}

/// One violation.
#[derive(Debug)]
pub(crate) struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The file below src/.
    pub file: String,
    /// The line.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.message)
    }
}

/// What was found.
pub(crate) struct Report {
    /// How many files were read.
    pub files: usize,
    /// How many pairs of files there are of which one imports the other.
    pub imports: usize,
    /// How many circles.
    pub circles: usize,
    /// Sets of files in which each leads to each.
    pub knots: Vec<Vec<String>>,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// The rows of the table of exceptions that excuse nothing.
    pub idle_exceptions: Vec<&'static Exception>,
}

/// Reads the sources below a folder.
pub(crate) fn check(root: &Path) -> Report {
    let house = House::read(root);
    let mut checker = Checker { house: &house, violations: Vec::new(), excused: HashSet::new() };
    let mut imports = Vec::new();
    for file in 0..house.files.len() {
        checker.place(file);
        checker.unsafety(file);
        let found = names::read(&house, file);
        checker.speech(file, found.speech);
        for (line, name) in found.comparisons {
            let message = format!("compares `{name}` with a string literal; compare it with a value of its type");
            checker.object(Rule::Text, file, line, message);
        }
        imports.extend(found.imports);
    }
    checker.strangers();
    let imports = names::distinct(imports);
    checker.directions(&imports);
    let graph = graph(&imports);
    let circles = checker.circles(&graph);
    let name = |file: &usize| house.files[*file].path.clone();
    let knots = circles::knots(&graph).iter().map(|knot| knot.iter().map(name).collect()).collect();
    let Checker { mut violations, excused, .. } = checker;
    violations.sort_by(|a, b| (a.rule, &a.file, a.line).cmp(&(b.rule, &b.file, b.line)));
    let idle = rules::EXCEPTIONS.iter().filter(|row| !excused.contains(&(row.file, row.what)));
    Report {
        files: house.files.len(),
        imports: graph.values().map(std::collections::BTreeMap::len).sum(),
        circles,
        knots,
        violations,
        idle_exceptions: idle.collect(),
    }
}

fn graph(imports: &[Import]) -> Graph {
    let mut graph = Graph::new();
    for import in imports.iter().filter(|import| !import.module) {
        graph.entry(import.from).or_default().entry(import.to).or_insert(import.line);
    }
    graph
}

struct Checker<'a> {
    house: &'a House,
    violations: Vec<Violation>,
    excused: HashSet<(&'static str, &'static str)>,
}

impl Checker<'_> {
    fn object(&mut self, rule: Rule, file: usize, line: usize, message: String) {
        let file = self.house.files[file].path.clone();
        self.violations.push(Violation { rule, file, line, message });
    }

    fn place(&mut self, file: usize) {
        let module = self.house.files[file].module_path();
        if rules::row_of(&module).is_none() {
            let message = format!("{module} is in no room; move it, or add a row to tests/house/rules.rs");
            self.object(Rule::Place, file, 1, message);
        }
    }

    fn strangers(&mut self) {
        let strangers = self.house.strangers.iter().filter(|path| !rules::OTHER_PROGRAMS.contains(&path.as_str()));
        self.violations.extend(strangers.map(|path| Violation {
            rule: Rule::Place,
            file: path.clone(),
            line: 1,
            message: "no module declares this file".into(),
        }));
    }

    fn unsafety(&mut self, file: usize) {
        let source = &self.house.files[file];
        let allowed = rules::UNSAFE.iter().any(|place| source.path.starts_with(place));
        for found in safety::find(&source.text) {
            if !allowed {
                let message = format!("`unsafe` outside src/{}", rules::UNSAFE.join(" and src/"));
                self.object(Rule::Unsafe, file, found.line, message);
            } else if found.unargued {
                let message = "`unsafe` without a `// SAFETY:` comment right before it".into();
                self.object(Rule::Unsafe, file, found.line, message);
            }
        }
    }

    fn speech(&mut self, file: usize, speech: Vec<(usize, String)>) {
        let path = &self.house.files[file].path;
        if rules::SPEAKERS.iter().any(|speaker| path == speaker || speaker.ends_with('/') && path.starts_with(speaker))
        {
            return;
        }
        for (line, what) in speech {
            match rules::EXCEPTIONS.iter().find(|row| row.file == path && row.what == what) {
                Some(row) => _ = self.excused.insert((row.file, row.what)),
                None => {
                    let message = format!("`{what}`: only src/commands/ and src/main.rs print and exit");
                    self.object(Rule::Speech, file, line, message);
                }
            }
        }
    }

    fn directions(&mut self, imports: &[Import]) {
        let mut reported = BTreeSet::new();
        // A path through a name that a `use` brings is the same fault again.
        let (plain, derived): (Vec<_>, Vec<_>) = imports.iter().partition(|import| import.plain);
        for import in plain.into_iter().chain(derived) {
            let (from, to) = (&self.house.files[import.from], &self.house.files[import.to]);
            let (module, imported) = (from.module_path(), to.module_path());
            let Some(row) = rules::row_of(&module) else { continue };
            let room = rules::row_of(&imported).map_or(imported.as_str(), |row| row.room).to_string();
            // A `use` of the module around this one: what is then named through it counts.
            let around = import.module && rules::is_inside(&module, &imported);
            let narrower = rules::NARROWER.iter().find(|row| row.file == from.path && room == row.never);
            let why = match narrower {
                Some(row) => format!(": {}", row.why),
                None if around || rules::allows(row, &room) => continue,
                None => String::new(),
            };
            let known = !import.plain && reported.iter().any(|(file, other, _)| (*file, other) == (import.from, &room));
            if known || !reported.insert((import.from, room.clone(), import.line)) {
                continue;
            }
            let who = narrower.map_or(row.room, |row| row.file);
            let message = format!("imports {room}, which {who} must not know{why}");
            self.object(Rule::Direction, import.from, import.line, message);
        }
    }

    fn circles(&mut self, graph: &Graph) -> usize {
        let circles = circles::find(graph);
        for circle in &circles {
            let name = |file: usize| self.house.files[file].path.as_str();
            let closed = || circle.iter().copied().chain([circle[0]]);
            let chain: Vec<&str> = closed().map(name).collect();
            let steps = closed().zip(closed().skip(1));
            let steps = steps
                .map(|(from, to)| format!("\n    src/{}:{} imports src/{}", name(from), graph[&from][&to], name(to)));
            let message = format!("circle: {}{}", chain.join(" -> "), steps.collect::<String>());
            let line = graph[&circle[0]][&closed().nth(1).expect("a circle has two files")];
            self.object(Rule::Circle, circle[0], line, message);
        }
        circles.len()
    }
}
