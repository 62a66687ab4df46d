//! What of a module its calls do not depend on, so that the grammar need not read it.
//!
//! Only where all agents are created in the plainest way: `nixl_agent(name)`, `module.nixl_agent(name)`. Then no agent's
//! class or configuration goes anywhere but into these calls, and what they call depends on what the names in
//! `module.nixl_agent` are bound to, on what the names in these bindings are bound to, and so on. Names are compared as
//! they are written, whatever their scope, so what is taken as a binding is too much rather than too little.

use std::cell::LazyCell;
use std::hash::BuildHasherDefault;
use std::ops::{Deref, Range};

use rustc_hash::{FxHashSet, FxHasher};
use rustpython_parser::lexer::Spanned;
use rustpython_parser::{StringKind, Tok};
use smallvec::{SmallVec, smallvec};

use super::NIXL;
use super::reference::{self, AGENT};
use crate::python::syntax::outline::{self, Kind, Look, Mention, Name, Outline, Unit};
use crate::python::syntax::{Judged, Kept};

/// Names by which backends are chosen in other ways, or names are bound unseen.
const OTHER_WAYS: [&str; 5] = ["nixl_agent_config", "create_backend", "backends", "setattr", "globals"];
/// Looks up an attribute by a name that need not be a constant.
const GETATTR: &str = "getattr";
/// Says what an attribute of a module is that nothing binds.
const MODULE_GETATTR: &str = "__getattr__";
/// For each first byte, the lengths of the names that matter: bit 4 for a name of four bytes.
const LENGTHS: [u32; 256] = lengths(&[&[AGENT, GETATTR, MODULE_GETATTR], &OTHER_WAYS, &reference::RUN_TEXT]);
/// What a string can name.
const IN_STRINGS: [&str; 3] = [AGENT, "nixl_agent_config", "create_backend"];
/// How many tokens the first argument of a `getattr` may have: so many calls on one line take linear time.
const FIRST_ARGUMENT: usize = 64;
/// The longest chain of bindings that is followed.
const ROUNDS: usize = 16;
/// From this length on, in bytes, what is left out is not joined with what follows: the proof of a rewrite reads all of
/// the statement beside an insertion.
const JOINED: usize = 1 << 10;
/// The end of a string that decides whether it can be one of the names.
const TAIL: usize = 64;

/// What of a module is not read as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relevant {
    /// Where statements can be left out, in order: from the first token of whole logical lines to the last one's end.
    pub left_out: Vec<Range<usize>>,
    /// The other functions and simple statements, as far as they can be like each other.
    pub kept: Vec<Kept>,
}

/// What is relevant of a module. None where its calls may depend on all of it.
pub(crate) fn of(text: &str) -> Option<Relevant> {
    let concerned = memchr::memmem::find(text.as_bytes(), NIXL).is_some();
    let (outline, watcher) = outline::read(text, &Watcher { concerned, ..Watcher::default() })?;
    let closure = Closure::of(&outline, &watcher)?;
    Some(Relevant { left_out: closure.left_out(text), kept: closure.kept(&watcher.calls) })
}

/// Looks for the calls, and for what else could create or configure an agent.
#[derive(Clone, Default)]
struct Watcher {
    /// Whether the module has anything to do with NIXL.
    concerned: bool,
    /// The number of the present line.
    line: usize,
    calls: Vec<Call>,
    /// The lines that define a `__getattr__`.
    getattrs: Vec<usize>,
}

/// A call.
#[derive(Clone)]
struct Call {
    line: usize,
    /// The names in what is called: the first is a variable, the others are attributes.
    callee: SmallVec<[Name; 4]>,
    /// Whether its line may bind them.
    binds: bool,
}

impl Look for Watcher {
    /// None where the line may have anything but the plainest calls.
    fn line(&mut self, line: &[Spanned]) -> Option<()> {
        if !self.concerned {
            return Some(());
        }
        let binds = LazyCell::new(|| line.iter().any(|(token, _)| may_bind(token)));
        for (at, (token, _)) in line.iter().enumerate() {
            match token {
                Tok::Name { name } if !may_matter(name) => {}
                Tok::Name { name } if name == AGENT => self.agent(line, at, &binds)?,
                Tok::Name { name } if OTHER_WAYS.contains(&name.as_str()) => {
                    let is_harmless = name == "backends" && before(line, at) != Some(&Tok::Dot);
                    is_harmless.then_some(())?;
                }
                Tok::Name { name } if name == GETATTR => self.look_up(line, at + 1)?,
                Tok::Name { name } if reference::runs_text(name) && runs_agent(&line[at + 1..]) => return None,
                Tok::Name { name } if name == MODULE_GETATTR => self.getattrs.push(self.line),
                Tok::String { value, .. } if may_name(value, at + 1 < line.len() && is_string(&line[at + 1].0)) => {
                    return None;
                }
                _ => {}
            }
        }
        self.line += 1;
        Some(())
    }

    fn append(&mut self, after: Self, first: usize) {
        self.calls.extend(after.calls.into_iter().map(|call| Call { line: call.line + first, ..call }));
        self.getattrs.extend(after.getattrs.into_iter().map(|line| line + first));
    }
}

impl Watcher {
    /// Looks at what follows a `getattr`: whose attribute it is counts like what is called. None where that is not certain.
    fn look_up(&mut self, line: &[Spanned], at: usize) -> Option<()> {
        match looked_up(&line[at..]) {
            LookedUp::Nothing => Some(()),
            LookedUp::Perhaps => None,
            LookedUp::Of(owner) => {
                self.calls.push(Call { line: self.line, callee: owner, binds: true });
                Some(())
            }
        }
    }

    /// Looks at the name of the class. `binds`: whether the line may bind names.
    fn agent(&mut self, line: &[Spanned], at: usize, binds: &impl Deref<Target = bool>) -> Option<()> {
        let after = line.get(at + 1).map(|(token, _)| token);
        if before(line, at) != Some(&Tok::Dot) && line[0].0 == Tok::From {
            // Imported under its own name.
            return matches!(after, Some(Tok::Comma | Tok::Rpar | Tok::Newline)).then_some(());
        }
        if after != Some(&Tok::Lpar) || matches!(before(line, at), Some(Tok::Def | Tok::Class)) {
            return None;
        }
        takes_one_argument(&line[at + 2..]).then_some(())?;
        let mut callee = smallvec![outline::name(AGENT)];
        let mut first = at;
        while before(line, first) == Some(&Tok::Dot) {
            first = first.checked_sub(2)?;
            let Tok::Name { name } = &line[first].0 else { return None };
            callee.push(outline::name(name));
        }
        callee.reverse();
        self.calls.push(Call { line: self.line, callee, binds: **binds });
        Some(())
    }
}

/// Whose attribute a call of `getattr` looks up by a name that is not a constant.
pub(super) enum LookedUp {
    /// Nothing that can be a module.
    Nothing,
    /// Of something that is put in parentheses.
    Perhaps,
    /// A variable's, or that of an attribute of it.
    Of(SmallVec<[Name; 4]>),
}

/// What the tokens after `getattr` look up.
pub(super) fn looked_up(tokens: &[Spanned]) -> LookedUp {
    let token = |at: usize| tokens.get(at).map(|(token, _)| token);
    let Some(end) = tokens.iter().take(FIRST_ARGUMENT).position(|(token, _)| matches!(token, Tok::Comma)) else {
        return if tokens.len() < FIRST_ARGUMENT { LookedUp::Nothing } else { LookedUp::Perhaps };
    };
    let is_constant = token(end + 1).is_some_and(is_constant) && matches!(token(end + 2), Some(Tok::Comma | Tok::Rpar));
    if is_constant || token(0) != Some(&Tok::Lpar) {
        return LookedUp::Nothing;
    }
    let mut owner = Vec::new();
    for at in 1..end {
        match token(at) {
            Some(Tok::Name { name }) if at % 2 == 1 => owner.push(name),
            Some(Tok::Dot) if at % 2 == 0 => {}
            Some(Tok::Name { .. } | Tok::Dot | Tok::Lpar | Tok::Rpar | Tok::Match | Tok::Case | Tok::Type) => {
                return LookedUp::Perhaps;
            }
            _ => return LookedUp::Nothing,
        }
    }
    match owner.as_slice() {
        [name] if reference::is_self(name) => LookedUp::Nothing,
        _ => LookedUp::Of(owner.into_iter().map(|name| outline::name(name)).collect()),
    }
}

/// Whether a call with these tokens after its name may have the name of the class in a string.
pub(super) fn runs_agent(tokens: &[Spanned]) -> bool {
    let may_be = |token: &Tok| match token {
        Tok::String { value, .. } => reference::is_in_text(value) || value.contains('\\'),
        _ => false,
    };
    // Its first argument is nothing but a string, or several that are one.
    let mut text =
        tokens.iter().map(|(token, _)| token).take_while(|token| matches!(token, Tok::Lpar) || is_string(token));
    text.next().is_some_and(|first| matches!(first, Tok::Lpar)) && text.any(may_be)
}

const fn lengths(names: &[&[&str]]) -> [u32; 256] {
    let mut lengths = [0; 256];
    let mut list = 0;
    while list < names.len() {
        let mut number = 0;
        while number < names[list].len() {
            let name = names[list][number];
            lengths[name.as_bytes()[0] as usize] |= 1 << name.len();
            number += 1;
        }
        list += 1;
    }
    lengths
}

/// Whether a name may be one of those that matter: nearly all others can be told by their first byte and their length.
fn may_matter(name: &str) -> bool {
    let lengths = name.bytes().next().map_or(0, |first| LENGTHS[usize::from(first)]);
    u32::try_from(name.len()).is_ok_and(|length| lengths.checked_shr(length).is_some_and(|bits| bits & 1 == 1))
}

fn before(line: &[Spanned], at: usize) -> Option<&Tok> {
    at.checked_sub(1).map(|before| &line[before].0)
}

/// Whether the tokens after an opening parenthesis are one positional argument.
fn takes_one_argument(tokens: &[Spanned]) -> bool {
    let mut depth = 0_usize;
    for (at, (token, _)) in tokens.iter().enumerate() {
        match token {
            Tok::Lpar | Tok::Lsqb | Tok::Lbrace => depth += 1,
            Tok::Rpar if depth == 0 => return at > 0,
            Tok::Rpar | Tok::Rsqb | Tok::Rbrace => depth = depth.saturating_sub(1),
            Tok::Comma if depth == 0 && tokens.get(at + 1).is_some_and(|(next, _)| *next != Tok::Rpar) => return false,
            Tok::Equal | Tok::ColonEqual | Tok::For if depth == 0 => return false,
            Tok::Star | Tok::DoubleStar if at == 0 => return false,
            _ => {}
        }
    }
    false
}

/// Whether a line with this token may bind names in the middle of it.
fn may_bind(token: &Tok) -> bool {
    matches!(token, Tok::Lambda | Tok::For | Tok::ColonEqual | Tok::As | Tok::Def | Tok::Class | Tok::Case)
}

/// Whether a token is a string or bytes without fields.
fn is_constant(token: &Tok) -> bool {
    matches!(token, Tok::String { kind, .. } if !matches!(kind, StringKind::FString | StringKind::RawFString))
}

fn is_string(token: &Tok) -> bool {
    matches!(token, Tok::String { .. })
}

/// Whether a string may be the name of what is looked for, or end with it. `followed`: another string follows it, and they
/// are one.
pub(super) fn may_name(value: &str, followed: bool) -> bool {
    let bytes = value.as_bytes();
    let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
    let mut names = IN_STRINGS.iter().map(|name| name.as_bytes());
    if let Some(rest) = after_escape(tail) {
        // What the escape sequence stands for may be the name's beginning.
        let mut parts = names.clone();
        let goes_on = |name: &[u8]| rest.is_empty() || memchr::memmem::find(name, rest).is_some();
        if parts.any(|name| if followed { goes_on(name) } else { name.ends_with(rest) }) {
            return true;
        }
    }
    if followed {
        // The strings after it may be the rest of a name.
        return names.any(|name| (1..=name.len()).any(|length| tail.ends_with(&name[..length])));
    }
    names.any(|name| tail.ends_with(name))
}

/// What follows the last escape sequence that can stand for a letter or for nothing.
pub(super) fn after_escape(tail: &[u8]) -> Option<&[u8]> {
    memchr::memrchr_iter(b'\\', tail).find_map(|at| {
        let body = &tail[at + 1..];
        let length = match body.first()? {
            b'x' => 3,
            b'u' => 5,
            b'U' => 9,
            b'N' => body.iter().position(|byte| *byte == b'}')? + 1,
            b'0'..=b'7' => body.iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count(),
            b'\r' if body.get(1) == Some(&b'\n') => 2,
            b'\r' | b'\n' => 1,
            _ => return None,
        };
        Some(&body[length.min(body.len())..])
    })
}

/// How many names [`Closure::filter`] tells apart.
const FILTER: usize = 1 << 12;

/// The bits of a name that it is filtered by: the last bits of a hash say least.
fn bits(name: Name) -> usize {
    (name >> 20) as usize
}

/// What the calls depend on.
struct Closure<'o> {
    outline: &'o Outline,
    /// The variables.
    variables: FxHashSet<Name>,
    /// Those among them that are used outside functions, where the names of classes are seen.
    outside: FxHashSet<Name>,
    /// Those that are used in a function, by its unit.
    local: FxHashSet<(usize, Name)>,
    /// The attributes.
    attributes: FxHashSet<Name>,
    /// The names among both, by some of their bits: nearly all that a module mentions are none of them.
    filter: Box<[bool; FILTER]>,
    /// The lines whose names count.
    lines: Vec<bool>,
    /// The units that are not left out.
    units: Vec<bool>,
    /// The unit of each line of a function.
    unit_of: Vec<Option<usize>>,
    changed: bool,
}

impl<'o> Closure<'o> {
    /// None where the chain of bindings is too long.
    fn of(outline: &'o Outline, watcher: &Watcher) -> Option<Self> {
        let mut unit_of = vec![None; outline.lines.len()];
        for (number, unit) in outline.units.iter().enumerate() {
            unit_of[unit.lines.clone()].fill(Some(number));
        }
        let mut closure = Closure {
            outline,
            variables: FxHashSet::default(),
            outside: FxHashSet::default(),
            local: FxHashSet::with_capacity_and_hasher(watcher.calls.len(), BuildHasherDefault::<FxHasher>::default()),
            attributes: FxHashSet::default(),
            filter: Box::new([false; FILTER]),
            lines: vec![false; outline.lines.len()],
            units: vec![false; outline.units.len()],
            unit_of,
            changed: false,
        };
        for call in &watcher.calls {
            closure.call(call);
        }
        if !watcher.calls.is_empty() {
            // Whether one raises says what an attribute of a stand-in is.
            watcher.getattrs.iter().for_each(|line| closure.whole_unit(*line));
        }
        for _ in 0..ROUNDS {
            if !closure.goes_on() {
                return Some(closure);
            }
        }
        None
    }

    fn call(&mut self, call: &Call) {
        self.keep(call.line);
        for (number, name) in call.callee.iter().enumerate() {
            self.count(*name, number > 0, call.line);
        }
        if call.binds {
            self.add(call.line);
        }
    }

    /// Keeps the unit of a line.
    fn keep(&mut self, line: usize) {
        if let Some(unit) = self.unit_of[line] {
            self.changed |= !self.units[unit];
            self.units[unit] = true;
        }
    }

    /// Makes the names of a line count.
    fn add(&mut self, line: usize) {
        self.keep(line);
        if std::mem::replace(&mut self.lines[line], true) {
            return;
        }
        self.changed = true;
        let kind = self.outline.lines[line].kind;
        for (number, mention) in self.outline.mentions(line).iter().enumerate() {
            // What a definition binds it does not use.
            let defined = kind == Kind::Function && mention.bound || kind == Kind::Class && number == 0;
            if !defined {
                self.count(mention.name, mention.attribute, line);
            }
        }
    }

    /// Makes a name count that a line uses.
    fn count(&mut self, name: Name, attribute: bool, line: usize) {
        self.filter[bits(name)] = true;
        if attribute {
            self.attributes.insert(name);
            return;
        }
        self.variables.insert(name);
        match self.function_around(line) {
            Some(unit) => self.local.insert((unit, name)),
            None => self.outside.insert(name),
        };
    }

    /// The unit that a line is inside of, as a line of its body.
    fn function_around(&self, line: usize) -> Option<usize> {
        let unit = self.unit_of[line]?;
        let header = self.outline.header(&self.outline.units[unit])?;
        (header < line).then_some(unit)
    }

    /// Makes the names of a line count, and those of all lines of the class or function that it defines.
    fn add_block(&mut self, line: usize) {
        self.add(line);
        if matches!(self.outline.lines[line].kind, Kind::Class | Kind::Function) {
            self.outline.block(line).for_each(|line| self.add(line));
        }
    }

    /// The same for all lines of a function and its decorators.
    fn whole_unit(&mut self, line: usize) {
        match self.unit_of[line] {
            Some(unit) => self.outline.units[unit].lines.clone().for_each(|line| self.add(line)),
            None => self.add(line),
        }
    }

    /// Adds what the names that count are bound to. Returns whether there was anything.
    fn goes_on(&mut self) -> bool {
        self.changed = false;
        for unit in 0..self.units.len() {
            if !self.units[unit] {
                self.look_into(&self.outline.units[unit]);
            }
        }
        for line in 0..self.lines.len() {
            let hidden = self.unit_of[line].is_some_and(|unit| !self.units[unit]);
            if self.lines[line] || hidden {
                continue;
            }
            let mentions = self.outline.mentions(line);
            let is_function = self.outline.lines[line].kind == Kind::Function;
            let (own, parameters) = mentions.split_at(usize::from(is_function).min(mentions.len()));
            if is_function && own.iter().any(|own| self.counts(own, line)) {
                self.add_block(line);
            } else if is_function && parameters.iter().any(|it| it.bound && self.counts_inside(it, line)) {
                self.add(line);
            } else if !is_function && mentions.iter().any(|it| it.bound && self.counts(it, line)) {
                self.add_block(line);
            }
        }
        self.changed
    }

    /// Whether a name counts that a line binds.
    fn counts(&self, mention: &Mention, line: usize) -> bool {
        if !self.filter[bits(mention.name)] {
            return false;
        }
        // A name in a class is an attribute too.
        let is_attribute = self.attributes.contains(&mention.name);
        if mention.attribute {
            return is_attribute;
        }
        match self.function_around(line) {
            Some(unit) => self.is_local(unit, mention.name) || is_attribute && self.has_class(unit),
            None if self.outline.lines[line].in_class => is_attribute || self.outside.contains(&mention.name),
            None => is_attribute || self.variables.contains(&mention.name),
        }
    }

    fn has_class(&self, unit: usize) -> bool {
        self.outline.units[unit].lines.clone().any(|line| self.outline.lines[line].kind == Kind::Class)
    }

    /// Whether the parameters that a header binds count in its function.
    fn counts_inside(&self, mention: &Mention, header: usize) -> bool {
        self.unit_of[header].is_some_and(|unit| self.is_local(unit, mention.name))
    }

    fn is_local(&self, unit: usize, name: Name) -> bool {
        self.filter[bits(name)] && self.variables.contains(&name) && self.local.contains(&(unit, name))
    }

    /// Keeps a unit that binds a name that counts outside of itself.
    fn look_into(&mut self, unit: &Unit) {
        let outline = self.outline;
        let Some(header) = outline.header(unit) else {
            // A simple statement.
            let line = unit.lines.start;
            if outline.mentions(line).iter().any(|mention| mention.bound && self.counts(mention, line)) {
                self.add(line);
            }
            return;
        };
        if outline.mentions(header).first().is_some_and(|own| self.counts(own, header)) {
            return self.whole_unit(header);
        }
        let global = unit.lines.clone().any(|line| outline.lines[line].kind == Kind::Global);
        let goes_out = |line: usize| {
            let mut mentions = outline.mentions(line).iter();
            mentions.any(|it| {
                if !it.bound || !self.filter[bits(it.name)] {
                    return false;
                }
                let attribute = it.attribute && self.attributes.contains(&it.name);
                attribute || global && self.variables.contains(&it.name)
            })
        };
        if unit.lines.clone().any(goes_out) {
            self.keep(header);
        }
    }

    /// The functions and simple statements that are kept.
    fn kept(&self, calls: &[Call]) -> Vec<Kept> {
        let mut kept = Vec::new();
        let (mut run, mut line) = (0, 0);
        let mut calls = calls.iter().peekable();
        while line < self.outline.lines.len() {
            let Some(number) = self.unit_of[line] else {
                // What may raise, return or import; a class does not as long as nothing in it counts.
                run += u32::from(self.lines[line] || self.outline.lines[line].kind != Kind::Class);
                line += 1;
                continue;
            };
            let unit = &self.outline.units[number];
            line = unit.lines.end;
            if !self.units[number] {
                continue;
            }
            let counted = self.counted(unit);
            run += u32::from(counted.is_none());
            if !self.outline.is_undecorated(unit) {
                continue;
            }
            while calls.next_if(|call| call.line < unit.lines.start).is_some() {}
            let created = std::iter::from_fn(|| calls.next_if(|call| call.line < line)).count() as u32;
            let is_top = self.outline.lines[unit.lines.start].depth == 0;
            let judged = counted.filter(|_| is_top);
            let judged = judged.map(|(names, counted)| Judged { run, names, counted, calls: created });
            kept.push(Kept { span: self.outline.span(unit), judged });
        }
        kept
    }

    /// How many names a unit has, and those of them that count, by their number. None where it may bind one that counts.
    fn counted(&self, unit: &Unit) -> Option<(u32, u64)> {
        if unit.lines.clone().any(|line| self.lines[line]) {
            return None;
        }
        let (mut names, mut counted) = (0, 0_u64);
        for mention in unit.lines.clone().flat_map(|line| self.outline.mentions(line)) {
            let is_known = || self.variables.contains(&mention.name) || self.attributes.contains(&mention.name);
            if self.filter[bits(mention.name)] && is_known() {
                if mention.bound {
                    return None;
                }
                counted |= 1_u64.checked_shl(names)?;
            }
            names += 1;
        }
        Some((names, counted))
    }

    /// The units and classes that nothing depends on, joined where they follow each other in one block.
    fn left_out(&self, text: &str) -> Vec<Range<usize>> {
        let lines = 0..self.outline.lines.len();
        let classes = lines.filter_map(|header| self.class_left_out(text, header));
        let mut classes = classes.peekable();
        let (mut all, mut end) = (Vec::new(), 0);
        for (number, unit) in self.outline.units.iter().enumerate().filter(|(number, _)| self.is_left_out(*number)) {
            // A class that is left out has units, all of which are.
            while let Some(class) = classes.next_if(|class| class.lines.start < unit.lines.start) {
                end = class.lines.end;
                all.push(class);
            }
            if unit.lines.start >= end {
                all.push(self.outline.units[number].clone());
            }
        }
        self.outline.joined(all.iter(), JOINED)
    }

    fn is_left_out(&self, unit: usize) -> bool {
        !self.units[unit] && self.outline.units[unit].accepted
    }

    /// The class of the module's own level with this header, where nothing depends on it or on anything in it. One with a
    /// base stays: what is inherited from it, or from other bases of its subclasses, can be uncertain.
    fn class_left_out(&self, text: &str, header: usize) -> Option<Unit> {
        let lines = &self.outline.lines;
        let (line, names) = (&lines[header], self.outline.mentions(header));
        let is_class = line.kind == Kind::Class && line.accepted && line.depth == 0;
        let is_needed = self.lines[header] || names.len() != 1;
        let is_decorated = header.checked_sub(1).is_some_and(|before| lines[before].kind == Kind::Decorator);
        if !is_class || is_needed || is_decorated {
            return None;
        }
        let written = &text[line.span.start as usize..line.span.end as usize];
        if !written.ends_with(':') || written.contains(['(', '[']) {
            return None;
        }
        let block = self.outline.block(header);
        let is_left_out = |inner: usize| {
            let Some(unit) = self.unit_of[inner].filter(|unit| self.is_left_out(*unit)) else { return false };
            // The grammar refuses a block that nothing opens.
            self.outline.units[unit].lines.start != inner || lines[inner].depth == 1
        };
        let unit = Unit { lines: header..block.end, accepted: true };
        (!block.is_empty() && block.clone().all(is_left_out)).then_some(unit)
    }
}

#[cfg(test)]
mod tests;
