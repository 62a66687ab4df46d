//! Tokens as a flat list with their places: what two sources have in common whatever their layout.

use std::ops::Range;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A token, or a delimiter of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// As it is written.
    pub text: String,
    /// Its place among the tokens' text.
    pub range: Range<usize>,
}

/// Something on the way through a stream, without recursion: groups can be as deep as a source is long.
enum Step {
    Stream(proc_macro2::token_stream::IntoIter),
    Token(Token),
}

/// All tokens in order.
pub(super) fn flat(tokens: TokenStream) -> Vec<Token> {
    let mut found = Vec::new();
    let mut steps = vec![Step::Stream(tokens.into_iter())];
    while let Some(step) = steps.pop() {
        let mut stream = match step {
            Step::Token(token) => {
                found.push(token);
                continue;
            }
            Step::Stream(stream) => stream,
        };
        let Some(tree) = stream.next() else { continue };
        steps.push(Step::Stream(stream));
        let TokenTree::Group(group) = tree else {
            found.push(Token { text: tree.to_string(), range: tree.span().byte_range() });
            continue;
        };
        let (open, close) = delimiters(group.delimiter());
        found.push(Token { text: open.into(), range: group.span_open().byte_range() });
        steps.push(Step::Token(Token { text: close.into(), range: group.span_close().byte_range() }));
        steps.push(Step::Stream(group.stream().into_iter()));
    }
    found
}

fn delimiters(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// Whether an identifier is among the tokens, at any depth. `r#x` is `x`.
pub(super) fn names(tokens: &TokenStream, wanted: &[&str]) -> bool {
    flat(tokens.clone()).iter().any(|token| wanted.contains(&token.text.trim_start_matches("r#")))
}

/// A stretch of tokens that ends with a separator, and the group that it lies in.
#[derive(Default)]
struct Stretch {
    /// Its tokens so far.
    length: usize,
    /// The deepest of the groups in it.
    inner: usize,
}

impl Stretch {
    fn depth(&self) -> usize {
        self.length + self.inner
    }
}

/// A group on the way through the tokens.
#[derive(Default)]
struct Open {
    /// The stretch that is being read.
    now: Stretch,
    /// The deepest of those before.
    deepest: usize,
    /// Whether the last token was a group in braces, which ends a statement unless an operator follows.
    after_braces: bool,
}

impl Open {
    fn end_stretch(&mut self) {
        self.deepest = self.deepest.max(self.now.depth());
        self.now = Stretch::default();
    }
}

/// An upper bound for the depth of the tokens' syntax tree. Each token may be a level (`!!!x`, `a + b + c`,
/// `Vec<Vec<…`), up to the end of the statement or of the element that it is in.
pub(super) fn depth(tokens: &TokenStream) -> usize {
    let mut open = vec![Open::default()];
    let mut streams = vec![tokens.clone().into_iter()];
    while let (Some(stream), Some(group)) = (streams.last_mut(), open.last_mut()) {
        let Some(tree) = stream.next() else {
            group.end_stretch();
            let done = open.pop().map_or(0, |group| group.deepest);
            streams.pop();
            let Some(outer) = open.last_mut() else { return done };
            outer.now.inner = outer.now.inner.max(done);
            continue;
        };
        if std::mem::take(&mut group.after_braces) && begins_statement(&tree) {
            group.end_stretch();
        }
        group.now.length += 1;
        match tree {
            TokenTree::Punct(punct) if matches!(punct.as_char(), ';' | ',') => group.end_stretch(),
            TokenTree::Group(inner) => {
                group.after_braces = inner.delimiter() == Delimiter::Brace;
                open.push(Open::default());
                streams.push(inner.stream().into_iter());
            }
            _ => {}
        }
    }
    0
}

/// Whether a token after a block begins something new.
fn begins_statement(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Ident(ident) => ident != "else" && ident != "as",
        TokenTree::Punct(punct) => punct.as_char() == '#',
        TokenTree::Literal(_) | TokenTree::Group(_) => true,
    }
}

/// What lies between two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Blank,
    LineEnd,
    LineComment,
    BlockComment,
}

/// The next piece of a text in which a token has just ended, and its length; None at the next token.
fn gap(text: &str) -> Option<(Gap, usize)> {
    let first = text.chars().next()?;
    if text.starts_with("//") {
        let end = text.find('\n').unwrap_or(text.len());
        return Some((Gap::LineComment, end));
    }
    if text.starts_with("/*") {
        return Some((Gap::BlockComment, block_comment(text)));
    }
    match first {
        '\n' => Some((Gap::LineEnd, 1)),
        blank if blank.is_whitespace() || matches!(blank, '\u{200e}' | '\u{200f}') => {
            Some((Gap::Blank, first.len_utf8()))
        }
        _ => None,
    }
}

/// The length of a block comment, which may have others inside.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The start of the line after the one that a token ends in, with the comments behind it; None where another token
/// follows on that line. The end of the text ends a line too.
pub(super) fn line_end(text: &str, mut at: usize) -> Option<usize> {
    while let Some((kind, length)) = gap(&text[at..]) {
        at += length;
        if kind == Gap::LineEnd {
            return Some(at);
        }
    }
    (at == text.len()).then_some(at)
}

/// Whether a line comment, and none for documentation, begins at an offset, given the end of the token before it.
pub(super) fn is_comment(text: &str, token_end: usize, offset: usize) -> bool {
    let mut at = token_end;
    while at < offset {
        let Some((_, length)) = gap(&text[at..]) else { return false };
        at += length;
    }
    at == offset && matches!(gap(&text[at..]), Some((Gap::LineComment, _)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str) -> TokenStream {
        text.parse().unwrap()
    }

    #[test]
    fn groups_are_flattened_in_order() {
        let text = "a(b[c], {d})";
        let found = flat(stream(text));
        let texts: Vec<&str> = found.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(texts, ["a", "(", "b", "[", "c", "]", ",", "{", "d", "}", ")"]);
        assert!(found.iter().all(|token| text[token.range.clone()] == token.text));
    }

    #[test]
    fn the_depth_is_that_of_the_longest_stretch() {
        assert_eq!(depth(&stream("a; a b; c")), 3);
        assert_eq!(depth(&stream("f(a, b, c d)")), 4);
        assert_eq!(depth(&stream("fn f() { a } fn g() { b } fn h() { c }")), 5);
        assert_eq!(depth(&stream("if a {} else if b {} else {}")), 9);
    }

    #[test]
    fn names_are_found_at_any_depth() {
        let tokens = stream("a!{ b(r#NixlAgent) }");
        assert!(names(&tokens, &["NixlAgent"]) && !names(&tokens, &["Nixl", "\"b\""]));
    }
}
