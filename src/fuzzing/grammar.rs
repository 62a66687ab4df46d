//! Python modules that import NIXL in every way, and may create its agents: most of them have a call site.

use std::fmt::Write as _;

use arbitrary::{Result, Unstructured};

/// How deep statements and expressions may lie in each other.
const MAX_DEPTH: usize = 4;
/// Maximum number of statements of a block.
const MAX_STATEMENTS: usize = 5;

const IMPORTS: [&str; 12] = [
    "import nixl._api as nixl_api",
    "import nixl._api",
    "from nixl import _api as nixl_api",
    "from nixl import _api",
    "from nixl._api import nixl_agent, nixl_agent_config",
    "from nixl._api import nixl_agent",
    "from nixl._api import nixl_agent as agent, nixl_agent_config as config",
    "from nixl_cu12._api import nixl_agent",
    "from nixl._api import *",
    "from nixl import *",
    "import os",
    "from typing import TYPE_CHECKING, cast",
];
const NAMES: [&str; 14] = [
    "nixl_api",
    "nixl_agent",
    "nixl_agent_config",
    "agent",
    "config",
    "_api",
    "nixl",
    "os",
    "self",
    "backends",
    "x",
    "__name",
    "_nixl_retrofit_backends",
    "\u{e9}t\u{e9}",
];
const CALLEES: [&str; 9] = [
    "nixl_api.nixl_agent",
    "nixl_agent",
    "agent",
    "_api.nixl_agent",
    "nixl._api.nixl_agent",
    "nixl_agent_config",
    "nixl_api.nixl_agent_config",
    "config",
    "create",
];
const LITERALS: [&str; 16] = [
    "None",
    "True",
    "(1)",
    "\"a\"",
    "'\u{e9}'",
    "b\"\\n\"",
    "\"\"\"a\nb\"\"\"",
    "f\"{x}\"",
    "f\"{nixl_agent('b')!r:>{x}}\"",
    "rf'{x:%d}'",
    "...",
    "os.environ[\"NIXL_BACKEND\"]",
    "os.getenv('X', 'UCX').split(',')",
    "[\"UCX\"]",
    "{}",
    "(1_000.5e3j)",
];
const KEYWORDS: [&str; 3] = ["nixl_conf", "backends", "instantiate_all"];
const FIRST_LINES: [&str; 6] = [
    "",
    "# -*- coding: utf-8 -*-\n",
    "\"\"\"A module.\"\"\"\n",
    "#!/usr/bin/env python3\n# comment\n",
    "from __future__ import annotations\n",
    "\"\"\"A module.\n\"\"\"\nfrom __future__ import annotations; import os\n",
];

/// A module's bytes: the text in an encoding, with one kind of newline.
pub(super) fn module(choices: &mut Unstructured) -> Result<Vec<u8>> {
    let mut text = (*choices.choose(&FIRST_LINES)?).to_string();
    let mut writer = Writer { choices, text: String::new(), depth: 0 };
    for _ in 0..writer.choices.int_in_range(1..=3)? {
        writer.import()?;
    }
    for _ in 0..writer.choices.int_in_range(1..=MAX_STATEMENTS)? {
        writer.statement()?;
    }
    text.push_str(&writer.text);
    let text = match choices.int_in_range(0..=7)? {
        0 => text.replace('\n', "\r\n"),
        1 => text.replace('\n', "\r"),
        2 => text.trim_end().to_string(),
        3 => text.replace("    ", "\t"),
        _ => text,
    };
    Ok(match choices.int_in_range(0..=7)? {
        0 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        1 => encoding_rs::WINDOWS_1252.encode(&format!("# coding: cp1252\n{text}")).0.into_owned(),
        2 => encoding_rs::mem::encode_latin1_lossy(&format!("# coding: latin-1\n{text}")).into_owned(),
        _ => text.into_bytes(),
    })
}

/// Writes statements, as the input chooses.
struct Writer<'c, 'd> {
    choices: &'c mut Unstructured<'d>,
    text: String,
    depth: usize,
}

impl Writer<'_, '_> {
    fn one_of(&mut self, words: &[&'static str]) -> Result<&'static str> {
        self.choices.choose(words).copied()
    }

    /// Begins a line at the block's depth.
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}{line}", "    ".repeat(self.depth));
    }

    fn import(&mut self) -> Result<()> {
        let import = self.one_of(&IMPORTS)?;
        match self.choices.int_in_range(0..=5)? {
            0 => {
                let handler = self.one_of(&["nixl_api = None", "nixl_agent = None", "pass", "raise", "import os"])?;
                self.line("try:");
                self.line(&format!("    {import}"));
                self.line("except ImportError:");
                self.line(&format!("    {handler}"));
            }
            1 if !import.ends_with('*') || self.depth == 0 => {
                let test = self.one_of(&["TYPE_CHECKING", "x", "os.environ.get('X')"])?;
                self.line(&format!("if {test}:"));
                self.line(&format!("    {import}"));
            }
            _ => self.line(import),
        }
        Ok(())
    }

    fn block(&mut self, head: &str) -> Result<()> {
        self.line(head);
        self.depth += 1;
        for _ in 0..self.choices.int_in_range(1..=MAX_STATEMENTS)? {
            self.statement()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn statement(&mut self) -> Result<()> {
        // Without input the first arm is chosen, so that this ends.
        let last = if self.depth < MAX_DEPTH { 18 } else { 7 };
        match self.choices.int_in_range(0..=last)? {
            0 => self.line("pass"),
            1 | 2 => {
                let (name, call) = (self.one_of(&NAMES)?, self.call(0)?);
                self.line(&format!("{name} = {call}"));
            }
            3 => {
                let (name, value) = (self.one_of(&NAMES)?, self.expression(0)?);
                self.line(&format!("{name} = {value}"));
            }
            4 => {
                let value = self.expression(0)?;
                let head =
                    self.one_of(&["return ", "", "self._nixl = ", "x: int = ", "x += ", "assert ", "a = b, *c = "])?;
                self.line(&format!("{head}{value}"));
            }
            5 => self.import()?,
            6 => {
                let (word, name) = (self.one_of(&["del", "global", "nonlocal"])?, self.one_of(&NAMES)?);
                self.line(&format!("{word} {name}"));
            }
            7 => {
                let (name, call) = (self.one_of(&NAMES)?, self.call(0)?);
                self.line(&format!("{name}.create_backend('UCX'); {name}.backends.append({call}) # {call:?}"));
            }
            8 | 9 => {
                let (word, value) = (self.one_of(&["if", "while", "for x in", "async for x in"])?, self.expression(0)?);
                self.block(&format!("{word} {value}:"))?;
                if self.choices.arbitrary()? {
                    self.block("else:")?;
                }
            }
            10 => {
                self.block("try:")?;
                let handler =
                    self.one_of(&["except ImportError:", "except (OSError, x) as error:", "finally:", "except:"])?;
                self.block(handler)?;
            }
            11 | 12 => {
                let head = self.one_of(&[
                    "def create(x=nixl_agent('d'), *, self=None):",
                    "async def f(self, nixl_api, *agent):",
                    "@decorator\ndef nixl_agent(*args):",
                    "def f(self):",
                ])?;
                let head = head.replace('\n', &format!("\n{}", "    ".repeat(self.depth)));
                self.block(&head)?;
            }
            13 => {
                let head = self.one_of(&["class A:", "class nixl_agent(nixl_api.nixl_agent):", "class B(A, x=1):"])?;
                self.block(head)?;
            }
            14 => {
                let (value, name) = (self.call(0)?, self.one_of(&NAMES)?);
                self.block(&format!("with {value} as {name}:"))?;
            }
            15 => {
                let value = self.expression(0)?;
                self.line(&format!("match {value}:"));
                self.depth += 1;
                let pattern = self.one_of(&[
                    "_",
                    "nixl_agent",
                    "[x, *backends]",
                    "{'a': config}",
                    "A(x=agent) | None",
                    "A(nixl_agent=x)",
                ])?;
                self.block(&format!("case {pattern}:"))?;
                self.depth -= 1;
            }
            16 => {
                let (one, two) = (self.expression(0)?, self.call(0)?);
                self.line(&format!("if x: {one}; {two}"));
            }
            17 => {
                let call = self.call(0)?;
                self.line(&format!("x = \\\n  {call} # comment \u{e9}"));
            }
            _ => {
                let (one, two) = (self.expression(0)?, self.expression(0)?);
                self.line(&format!("x = {{{one}: {two}, **x}}"));
            }
        }
        Ok(())
    }

    fn expression(&mut self, depth: usize) -> Result<String> {
        let deeper = depth + 1;
        let last = if depth < MAX_DEPTH { 15 } else { 1 };
        Ok(match self.choices.int_in_range(0..=last)? {
            0 => self.one_of(&NAMES)?.to_string(),
            1 => self.one_of(&LITERALS)?.to_string(),
            2..=4 => self.call(deeper)?,
            5 => format!("{}.{}", self.expression(deeper)?, self.one_of(&NAMES)?),
            6 => format!("({} if {} else {})", self.expression(deeper)?, self.expression(deeper)?, self.call(deeper)?),
            7 => format!(
                "({} {} {})",
                self.expression(deeper)?,
                self.one_of(&["or", "and", "+", "in"])?,
                self.call(deeper)?
            ),
            8 => {
                format!("(lambda item, {}={}: {})", self.one_of(&NAMES)?, self.expression(deeper)?, self.call(deeper)?)
            }
            9 => format!("[{} for {} in {}]", self.call(deeper)?, self.one_of(&NAMES)?, self.expression(deeper)?),
            10 => format!("({} := {})", self.one_of(&NAMES)?, self.expression(deeper)?),
            11 => format!("[{}, *{}][0]", self.expression(deeper)?, self.expression(deeper)?),
            12 => format!("cast({}, {})", self.expression(deeper)?, self.expression(deeper)?),
            13 => format!("getattr({}, {})", self.one_of(&NAMES)?, self.expression(deeper)?),
            14 => format!("type({}, {})", self.expression(deeper)?, self.expression(deeper)?),
            _ => format!("(await {})", self.call(deeper)?),
        })
    }

    fn call(&mut self, depth: usize) -> Result<String> {
        let callee = self.one_of(&CALLEES)?;
        let open = self.one_of(&["(", " (", "(\n      ", "( # comment )\n"])?;
        let (mut arguments, mut keywords) = (Vec::new(), Vec::new());
        for keyword in KEYWORDS.into_iter().take(self.choices.int_in_range(0..=3)?) {
            let value = if depth < MAX_DEPTH { self.expression(depth + 1)? } else { "'a'".to_string() };
            match self.choices.int_in_range(0..=8)? {
                0 => arguments.push(format!("*{value}")),
                1 => keywords.push(format!("**{value}")),
                2 => keywords.insert(0, format!("{keyword}={value}")),
                _ => arguments.push(value),
            }
        }
        arguments.extend(keywords);
        let close = self.one_of(&[")", ",)", " , )", "\n)", " # comment,\n)"])?;
        let close = if arguments.is_empty() { close.trim_start_matches([',', ' ']) } else { close };
        let open = if close.starts_with('#') { "(\n" } else { open };
        Ok(format!("{callee}{open}{}{close}", arguments.join(", ")))
    }
}
