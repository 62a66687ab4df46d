//! What is noted of a module's lines beside their names, whatever the modules around it bind.

use rustpython_parser::Tok;
use rustpython_parser::lexer::Spanned;

use super::super::reference::runs_text;
use super::super::relevant::{LookedUp, after_escape, looked_up, may_name, runs_agent};
use crate::python::syntax::outline::{self, Look, Name};

/// Methods that add a backend to an agent: of NIXL's Python binding, and of the C++ one below it.
pub(super) const CREATES_BACKEND: [&str; 2] = ["create_backend", "createBackend"];
/// The longest string that can be an alias.
const LONGEST: usize = 128;

/// What is noted of a line.
pub(super) mod flag {
    /// It returns or yields something.
    pub(in super::super) const RETURNS: u16 = 1;
    /// It has an assignment expression.
    pub(in super::super) const NAMED: u16 = 1 << 1;
    /// It says that names belong to the module.
    pub(in super::super) const GLOBAL: u16 = 1 << 2;
    /// It goes on with the statement before it: `elif`, `except`.
    pub(in super::super) const CONTINUES: u16 = 1 << 3;
    /// It imports something.
    pub(in super::super) const IMPORTS: u16 = 1 << 4;
    /// It imports all names of a module.
    pub(in super::super) const STAR: u16 = 1 << 5;
    /// It chooses backends, or binds names in a way of its own.
    pub(in super::super) const CHOOSES: u16 = 1 << 6;
    /// A string in it can be the name of one of NIXL's classes.
    pub(in super::super) const QUOTES: u16 = 1 << 7;
    /// It has several statements.
    pub(in super::super) const SEVERAL: u16 = 1 << 8;
    /// It looks up a name that is not a constant, or runs a text with the name of NIXL's class.
    pub(in super::super) const LOOKS_UP: u16 = 1 << 9;
}

/// What the outline does not say.
#[derive(Clone, Default)]
pub(super) struct Notes {
    /// Of each line.
    pub(super) flags: Vec<u16>,
    /// What is imported by `from`.
    pub(super) imports: Vec<Import>,
    /// Calls of what has NIXL's name, in order.
    pub(super) calls: Vec<Call>,
    /// Strings that can be a name.
    pub(super) strings: Vec<Name>,
    /// Whether there may be others.
    pub(super) odd_strings: bool,
    /// How many names there are.
    names: usize,
}

/// `from module import name as bound`.
#[derive(Clone)]
pub(super) struct Import {
    pub(super) name: Name,
    pub(super) bound: Name,
}

/// A call: the number of its callee's mention, and of the first one after its arguments.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) callee: usize,
    pub(super) end: usize,
}

impl Look for Notes {
    /// None where an import is not alone on its line.
    fn line(&mut self, line: &[Spanned]) -> Option<()> {
        let mut flags = 0;
        let mut open: Vec<Option<usize>> = Vec::new();
        for (at, (token, _)) in line.iter().enumerate() {
            match token {
                Tok::Name { name } => {
                    let is_attribute = at > 0 && line[at - 1].0 == Tok::Dot;
                    flags |= of_name(name, is_attribute, line) | of_call(name, &line[at + 1..]);
                    self.names += 1;
                }
                Tok::Lpar => {
                    let callee = at.checked_sub(1).and_then(|before| nixl_name(&line[before].0));
                    open.push(callee.map(|()| {
                        self.calls.push(Call { callee: self.names - 1, end: self.names });
                        self.calls.len() - 1
                    }));
                }
                Tok::Lsqb | Tok::Lbrace => open.push(None),
                Tok::Rpar | Tok::Rsqb | Tok::Rbrace => {
                    if let Some(Some(call)) = open.pop() {
                        self.calls[call].end = self.names;
                    }
                }
                Tok::String { value, .. } => flags |= self.string(value, line, at),
                other => flags |= of_token(other, at),
            }
        }
        if flags & flag::IMPORTS != 0 {
            flags |= self.import(line)?;
        }
        self.flags.push(flags);
        Some(())
    }

    fn append(&mut self, after: Self, _first: usize) {
        self.flags.extend(after.flags);
        self.imports.extend(after.imports);
        let moved = |call: Call| Call { callee: call.callee + self.names, end: call.end + self.names };
        self.calls.extend(after.calls.into_iter().map(moved));
        self.strings.extend(after.strings);
        self.odd_strings |= after.odd_strings;
        self.names += after.names;
    }
}

impl Notes {
    fn string(&mut self, value: &str, line: &[Spanned], at: usize) -> u16 {
        let is_string = |at: usize| line.get(at).is_some_and(|(token, _)| matches!(token, Tok::String { .. }));
        let followed = is_string(at + 1);
        let is_plain = value.bytes().all(|byte| is_identifier(byte) || byte == b'\\');
        if value.len() <= LONGEST && is_plain {
            self.strings.push(outline::name(value));
            self.odd_strings |= followed || at > 0 && is_string(at - 1) || after_escape(value.as_bytes()).is_some();
        }
        self.odd_strings |= value.contains("\\N{");
        if may_name(value, followed) { flag::QUOTES | flag::CHOOSES } else { 0 }
    }

    /// Notes the names that a line imports. None where it does something else too.
    fn import(&mut self, line: &[Spanned]) -> Option<u16> {
        let alone = matches!(line[0].0, Tok::From | Tok::Import) && line.iter().all(|(token, _)| *token != Tok::Semi);
        alone.then_some(())?;
        let names = line.iter().position(|(token, _)| *token == Tok::Import)? + 1;
        if line[0].0 == Tok::Import {
            return Some(0);
        }
        let mut names = line[names..].iter().map(|(token, _)| token).peekable();
        let mut flags = 0;
        while let Some(token) = names.next() {
            match token {
                Tok::Star => flags |= flag::STAR,
                Tok::Name { name } => {
                    let renamed = names.next_if(|next| **next == Tok::As).and_then(|_| names.next());
                    let name = outline::name(name);
                    let bound = if let Some(Tok::Name { name }) = renamed { outline::name(name) } else { name };
                    self.imports.push(Import { name, bound });
                }
                _ => {}
            }
        }
        Some(flags)
    }
}

/// What a name in a line says.
fn of_name(name: &str, is_attribute: bool, line: &[Spanned]) -> u16 {
    let chooses = match name {
        "backends" => is_attribute,
        "setattr" => line.iter().enumerate().any(|(at, (token, _))| is_set(token, line.get(at + 1).map(|it| &it.0))),
        "globals" => true,
        _ => CREATES_BACKEND.contains(&name),
    };
    if chooses { flag::CHOOSES } else { 0 }
}

/// What a name says that these tokens follow.
fn of_call(name: &str, after: &[Spanned]) -> u16 {
    let looks_up = name == "getattr" && !matches!(looked_up(after), LookedUp::Nothing);
    if looks_up || runs_text(name) && runs_agent(after) { flag::LOOKS_UP } else { 0 }
}

/// Whether a token can be the name of an attribute that a `setattr` sets to choose backends.
fn is_set(token: &Tok, next: Option<&Tok>) -> bool {
    let Tok::String { value, .. } = token else { return false };
    value.contains("nixl_agent")
        || value == "backends"
        || value.contains('\\')
        || matches!(next, Some(Tok::String { .. }))
}

/// What a token says that begins with the line or is somewhere in it.
fn of_token(token: &Tok, at: usize) -> u16 {
    match token {
        Tok::Return | Tok::Yield => flag::RETURNS,
        Tok::ColonEqual => flag::NAMED,
        Tok::Global => flag::GLOBAL,
        Tok::Semi => flag::SEVERAL,
        Tok::Import => flag::IMPORTS,
        Tok::Elif | Tok::Else | Tok::Except | Tok::Finally | Tok::Case if at == 0 => flag::CONTINUES,
        _ => 0,
    }
}

/// Some where a token is a name that can be NIXL's class or an alias of it. Other aliases are rare.
fn nixl_name(token: &Tok) -> Option<()> {
    let Tok::Name { name } = token else { return None };
    (name.contains("ixl") || name.contains("IXL")).then_some(())
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
