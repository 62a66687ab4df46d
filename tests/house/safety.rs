//! Where the keyword `unsafe` is, and whether its safety argument stands before it.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One `unsafe`.
pub(crate) struct Unsafe {
    /// Its line.
    pub line: usize,
    /// A block or an `unsafe impl`, which needs an argument, and has none.
    pub unargued: bool,
}

/// Every `unsafe` of a file, macro bodies and tests included.
pub(crate) fn find(text: &str) -> Vec<Unsafe> {
    let tokens: TokenStream = text.parse().expect("the file was parsed before");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    search(tokens, &[], &lines, &mut found);
    found
}

/// `starts`: the lines on which the statement, and in it the argument, around these tokens begin.
fn search(tokens: TokenStream, starts: &[usize], lines: &[&str], found: &mut Vec<Unsafe>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut start = None;
    for (at, token) in tokens.iter().enumerate() {
        let line = token.span().start().line;
        let start_line = *start.get_or_insert(line);
        match token {
            TokenTree::Punct(punct) if [';', ','].contains(&punct.as_char()) => start = None,
            TokenTree::Group(group) => {
                let is_block = group.delimiter() == Delimiter::Brace;
                let starts = if is_block { Vec::new() } else { [starts, &[start_line]].concat() };
                search(group.stream(), &starts, lines, found);
                if is_block {
                    start = None;
                }
            }
            TokenTree::Ident(name) if *name == "unsafe" => {
                let argued = || [starts, &[start_line, line]].concat().iter().any(|line| is_argued(*line, lines));
                let needs_argument = match tokens.get(at + 1) {
                    Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
                    Some(TokenTree::Ident(next)) => *next == "impl",
                    _ => false,
                };
                found.push(Unsafe { line, unargued: needs_argument && !argued() });
            }
            _ => {}
        }
    }
}

/// Whether the comment right above a line, attributes passed over, holds an argument.
fn is_argued(line: usize, lines: &[&str]) -> bool {
    let above = lines[..line - 1].iter().rev();
    above.take_while(|line| line.starts_with("//") || line.starts_with("#[")).any(|line| line.starts_with("// SAFETY:"))
}
