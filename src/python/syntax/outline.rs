//! A module seen line by line, without a tree: which statements could be left out of it, and which names each line has.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use rustc_hash::FxHasher;
use rustpython_parser::Tok;
use rustpython_parser::lexer::Spanned;

use super::accept::clauses::Clauses;
use super::accept::{self, Form, begins_expression};
use super::blocks::Change;
use super::divide;
use super::lexer::Lexer;
use crate::python::span;
use crate::source::offset::TextOffset;
use crate::threads;

/// A name, by a number. Two names rarely have the same, but they may; those that differ only in the class that a private
/// name is mangled with always have.
pub(crate) type Name = u32;

/// A module.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Its logical lines.
    pub lines: Vec<Line>,
    /// What can be left out of it: functions outside functions, with their decorators, and simple statements outside
    /// functions that neither import nor end anything.
    pub units: Vec<Unit>,
    mentions: Vec<Mention>,
}

/// A logical line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Where it is, from its first token to its last.
    pub span: Range<u32>,
    /// How many blocks it is in.
    pub depth: u32,
    /// What it is.
    pub kind: Kind,
    /// Whether it is directly in a class: functions do not see the names that it binds.
    pub in_class: bool,
    /// Whether the grammar accepts it on its own.
    pub accepted: bool,
    /// Where its mentions begin.
    first: u32,
}

/// What a logical line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A decorator.
    Decorator,
    /// The header of a function.
    Function,
    /// The header of a class.
    Class,
    /// A `global` statement, perhaps beside others.
    Global,
    /// Simple statements that change neither what comes next nor what is imported.
    Plain,
    /// Anything else.
    Other,
}

/// What can be left out.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Its lines, by their number.
    pub lines: Range<usize>,
    /// Whether the grammar accepts it.
    pub accepted: bool,
}

/// A name in a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mention {
    /// The name.
    pub name: Name,
    /// After a dot.
    pub attribute: bool,
    /// Whether the line may bind it: it does not miss one that it binds.
    pub bound: bool,
    /// Before a dot.
    pub owner: bool,
    /// Before an opening parenthesis.
    pub called: bool,
}

impl Outline {
    /// Adds what follows.
    fn append(&mut self, rest: Outline) {
        let (lines, mentions) = (self.lines.len(), self.mentions.len() as u32);
        self.lines.extend(rest.lines.into_iter().map(|line| Line { first: line.first + mentions, ..line }));
        let moved = |unit: Unit| Unit { lines: unit.lines.start + lines..unit.lines.end + lines, ..unit };
        self.units.extend(rest.units.into_iter().map(moved));
        self.mentions.extend(rest.mentions);
    }

    /// The names in a line.
    pub(crate) fn mentions(&self, line: usize) -> &[Mention] {
        let end = self.lines.get(line + 1).map_or(self.mentions.len(), |next| next.first as usize);
        &self.mentions[self.lines[line].first as usize..end]
    }

    /// The number of a line's first mention, among all.
    pub(crate) fn first_mention(&self, line: usize) -> usize {
        self.lines[line].first as usize
    }

    /// Where a unit is, from its first token to its last.
    pub(crate) fn span(&self, unit: &Unit) -> Range<usize> {
        let (first, last) = (&self.lines[unit.lines.start], &self.lines[unit.lines.end - 1]);
        first.span.start as usize..last.span.end as usize
    }

    /// Where some of the units are, in order: joined where they follow each other in one block, up to this length or a bit more.
    pub(crate) fn joined<'u>(&self, units: impl Iterator<Item = &'u Unit>, most: usize) -> Vec<Range<usize>> {
        let mut joined: Vec<Range<usize>> = Vec::new();
        let mut last: Option<&Unit> = None;
        for unit in units {
            let span = self.span(unit);
            let depth = |unit: &Unit| self.lines[unit.lines.start].depth;
            let follows = last.is_some_and(|last| last.lines.end == unit.lines.start && depth(last) == depth(unit));
            match joined.last_mut().filter(|before| follows && before.len() < most) {
                Some(before) => before.end = span.end,
                None => joined.push(span),
            }
            last = Some(unit);
        }
        joined
    }

    /// The header of a unit that is a function.
    pub(crate) fn header(&self, unit: &Unit) -> Option<usize> {
        unit.lines.clone().find(|line| self.lines[*line].kind == Kind::Function)
    }

    /// Whether a unit is a function without decorators or a simple statement, which the grammar accepts.
    pub(crate) fn is_undecorated(&self, unit: &Unit) -> bool {
        unit.accepted && self.lines[unit.lines.start].kind != Kind::Decorator
    }

    /// The lines after a header that are in its block.
    pub(crate) fn block(&self, header: usize) -> Range<usize> {
        let depth = self.lines[header].depth;
        let length = self.lines[header + 1..].iter().take_while(|line| line.depth > depth).count();
        header + 1..header + 1 + length
    }
}

/// Looks at the tokens of each line while an outline is read.
pub(crate) trait Look: Clone + Send + Sync {
    /// Looks at the next line, its newline included; None to give up.
    fn line(&mut self, line: &[Spanned]) -> Option<()>;
    /// Adds what another one saw of the lines that follow, of which the first has this number.
    fn append(&mut self, after: Self, first: usize);
}

/// Reads the outline of a module, a long one's in two parts at a time. None where `look` gives up, or the lexer refuses
/// the text.
pub(crate) fn read<L: Look>(text: &str, look: &L) -> Option<(Outline, L)> {
    let parts = divide(text);
    if parts.len() == 1 {
        return read_part(text, 0, look);
    }
    let middle = parts[parts.len() / 2].start;
    // Cut inside a string, a bracket or a block, one of the parts is refused, or the whole module is when it is parsed.
    let (before, after) = text.split_at(middle);
    let (here, aside) = threads::join(|| read_part(after, middle, look), || read_part(before, 0, look));
    let ((mut outline, mut look), (rest, seen)) = (here?, aside?);
    let first = outline.lines.len();
    outline.append(rest);
    look.append(seen, first);
    Some((outline, look))
}

/// Reads the outline of a module on this thread alone, where other threads read others.
pub(crate) fn read_alone<L: Look>(text: &str, look: &L) -> Option<(Outline, L)> {
    read_part(text, 0, look)
}

fn read_part<L: Look>(text: &str, base: usize, look: &L) -> Option<(Outline, L)> {
    let mut lexer = Lexer::new(text, span::to_parser(TextOffset(base)));
    let (mut reader, mut look) = (Reader::default(), look.clone());
    while let Some((change, _)) = lexer.read_line().ok()? {
        look.line(&lexer.line)?;
        reader.line(&change, &lexer.line)?;
    }
    let end = reader.outline.lines.len();
    reader.end_unit(end);
    Some((reader.outline, look))
}

/// The number of a name.
pub(crate) fn name(text: &str) -> Name {
    let mut hasher = FxHasher::default();
    unmangled(text).hash(&mut hasher);
    // Truncated, two names are one more often.
    hasher.finish() as Name
}

/// The part of a private name that a class does not change: `__x` of `_C__x`.
fn unmangled(name: &str) -> &str {
    if !name.starts_with('_') || name.ends_with("__") {
        return name;
    }
    // A searcher for two bytes takes longer to make than a name to look through.
    name.as_bytes().windows(2).rposition(|pair| pair == b"__").map_or(name, |at| &name[at..])
}

#[derive(Default)]
struct Reader {
    outline: Outline,
    /// What opened the blocks.
    headers: Vec<Kind>,
    /// The unit that is being read.
    unit: Option<Open>,
}

/// A unit that is being read.
struct Open {
    first: usize,
    depth: u32,
    /// Whether the decorators are over.
    function: bool,
    clauses: Clauses,
    accepted: bool,
}

impl Reader {
    fn line(&mut self, change: &Change, tokens: &[Spanned]) -> Option<()> {
        self.headers.extend(self.outline.lines.last().map(|header| header.kind).filter(|_| change.opens()));
        self.headers.truncate(self.headers.len().saturating_sub(change.closes()));
        let form = accept::form(tokens);
        let kind = kind(tokens, form);
        // A semicolon at the end is part of no statement.
        let last = tokens.iter().rev().find(|(token, _)| !matches!(token, Tok::Newline | Tok::Semi))?;
        let span = u32::from(tokens.first()?.1.start())..u32::from(last.1.end());
        let first = self.outline.mentions.len() as u32;
        let in_class = self.headers.last() == Some(&Kind::Class);
        let (depth, accepted) = (self.headers.len() as u32, form.is_some());
        self.outline.lines.push(Line { span, depth, kind, in_class, accepted, first });
        mention(tokens, &mut self.outline.mentions);
        self.join(change, form, kind);
        Some(())
    }

    /// Adds the line that was read to a unit.
    fn join(&mut self, change: &Change, form: Option<Form>, kind: Kind) {
        let number = self.outline.lines.len() - 1;
        let depth = self.headers.len() as u32;
        if self.unit.as_ref().is_some_and(|unit| depth <= unit.depth && (unit.function || depth < unit.depth)) {
            self.end_unit(number);
        }
        let begins = matches!(kind, Kind::Decorator | Kind::Function);
        if self.unit.is_none() && begins {
            let mut clauses = Clauses::new();
            let accepted = form.is_some_and(|form| clauses.follow(None, form));
            self.unit = Some(Open { first: number, depth, function: kind == Kind::Function, clauses, accepted });
            return;
        }
        match &mut self.unit {
            Some(unit) if !unit.function && !begins => self.unit = None,
            Some(unit) => {
                unit.function |= kind == Kind::Function;
                unit.accepted = unit.accepted && form.is_some_and(|form| unit.clauses.follow(Some(change), form));
                return;
            }
            None => {}
        }
        if kind == Kind::Plain && number > 0 {
            self.outline.units.push(Unit { lines: number..number + 1, accepted: true });
        }
    }

    /// Ends the unit that is being read, before a line.
    fn end_unit(&mut self, end: usize) {
        let Some(unit) = self.unit.take().filter(|unit| unit.function) else { return };
        let accepted = unit.accepted && unit.clauses.are_whole();
        self.outline.units.push(Unit { lines: unit.first..end, accepted });
    }
}

fn kind(tokens: &[Spanned], form: Option<Form>) -> Kind {
    let token = |at: usize| tokens.get(at).map(|(token, _)| token);
    match (token(0), token(1)) {
        (Some(Tok::At), _) => Kind::Decorator,
        (Some(Tok::Def), _) | (Some(Tok::Async), Some(Tok::Def)) => Kind::Function,
        (Some(Tok::Class), _) => Kind::Class,
        _ if tokens.iter().any(|(token, _)| matches!(token, Tok::Global)) => Kind::Global,
        _ if form == Some(Form::Simple) && !tokens.iter().any(|(token, _)| goes_elsewhere(token)) => Kind::Plain,
        _ => Kind::Other,
    }
}

/// Whether a statement with this token may end a block, or import something.
fn goes_elsewhere(token: &Tok) -> bool {
    matches!(token, Tok::Return | Tok::Raise | Tok::Break | Tok::Continue | Tok::Import | Tok::Nonlocal | Tok::Yield)
}

/// Adds the names of a line.
fn mention(tokens: &[Spanned], mentions: &mut Vec<Mention>) {
    let binding = Binding::of(tokens);
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.0 {
            Tok::Lpar | Tok::Lsqb | Tok::Lbrace => depth += 1,
            Tok::Rpar | Tok::Rsqb | Tok::Rbrace => depth = depth.saturating_sub(1),
            Tok::Name { name: text } => {
                let name = name(text);
                let before = at.checked_sub(1).map(|before| &tokens[before].0);
                let attribute = matches!(before, Some(Tok::Dot));
                let after = tokens.get(at + 1).map(|(token, _)| token);
                let bound = binding.binds(at, depth, before, after);
                let (owner, called) = (matches!(after, Some(Tok::Dot)), matches!(after, Some(Tok::Lpar)));
                mentions.push(Mention { name, attribute, bound, owner, called });
            }
            _ => {}
        }
    }
}

/// Which names of a line it may bind.
struct Binding {
    /// All of them.
    all: bool,
    /// Those up to this token, unless something of them is bound: `x.y` of `x.y[0] = 1` is not.
    targets: usize,
    /// The own name of a function or class.
    definition: bool,
    /// The parameters of a function.
    parameters: bool,
}

impl Binding {
    fn of(tokens: &[Spanned]) -> Self {
        let (mut depth, mut targets, mut all) = (0_usize, 0, false);
        let (mut definition, mut parameters, mut several) = (false, false, false);
        let mut annotated = None;
        for (at, (token, _)) in tokens.iter().enumerate() {
            match token {
                Tok::Lpar | Tok::Lsqb | Tok::Lbrace => depth += 1,
                Tok::Rpar | Tok::Rsqb | Tok::Rbrace => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Tok::Import | Tok::Global | Tok::Nonlocal | Tok::Del | Tok::As | Tok::Case | Tok::For => all = true,
                Tok::Def if at <= 1 => (definition, parameters) = (true, true),
                Tok::Class if at == 0 => definition = true,
                Tok::Def | Tok::Class | Tok::Lambda | Tok::Type => all = true,
                Tok::Colon => _ = annotated.get_or_insert(at),
                Tok::Semi => several = true,
                token if is_assignment(token) => targets = at,
                _ => {}
            }
        }
        // Of `x: y = z`, the first. Where a block is on its header's line, or several statements are on one, too many.
        let annotation = annotated.filter(|_| !several && begins_expression(&tokens[0].0));
        let targets = annotation.unwrap_or(targets);
        Binding { all, targets, definition, parameters }
    }

    /// Whether the name at this place is bound.
    fn binds(&self, at: usize, depth: usize, before: Option<&Tok>, after: Option<&Tok>) -> bool {
        let is_part = matches!(after, Some(Tok::Dot | Tok::Lpar | Tok::Lsqb));
        let own = depth == 0 && matches!(before, Some(Tok::Def | Tok::Class));
        let parameter = depth == 1 && matches!(before, Some(Tok::Lpar | Tok::Comma | Tok::Star | Tok::DoubleStar));
        self.all
            || matches!(after, Some(Tok::ColonEqual))
            || self.definition && own
            || self.parameters && parameter
            || at < self.targets && !is_part
    }
}

fn is_assignment(token: &Tok) -> bool {
    matches!(token, Tok::Equal) || accept::statement::is_augmented(token)
}
