//! What the grammar of rustpython-parser does not know, said in tokens that it does. Names and calls stay, and every
//! token keeps its place in the text.

use rustpython_parser::Tok;
use rustpython_parser::lexer::Spanned;
use rustpython_parser::text_size::TextRange;

/// What begins with a logical line, as far as the next lines depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A `match` statement.
    Match,
    /// An `elif` clause.
    Elif,
    /// Anything else.
    Other,
}

/// Adapts the tokens of a logical line, the newline included. `is_case`: it is directly in the block of a `match`
/// statement.
pub(super) fn adapt(line: &mut Vec<Spanned>, is_case: bool) -> Header {
    soft_keywords(line, is_case);
    type_parameters(line);
    match line.first() {
        Some((Tok::Match, _)) => return Header::Match,
        Some((Tok::Elif, _)) => return Header::Elif,
        Some((Tok::Except, _)) => parenthesize_exceptions(line),
        _ => {}
    }
    Header::Other
}

/// Decides which of `match`, `case` and `type` are keywords. Only a `match` statement can begin with `match` and end with
/// a colon, only cases are in its block, and `type` before a name has no other meaning.
fn soft_keywords(line: &mut [Spanned], is_case: bool) {
    let ends_with_colon = line.len() > 3 && matches!(line[line.len() - 2].0, Tok::Colon);
    for at in 0..line.len() {
        let name = match line[at].0 {
            Tok::Match if at > 0 || !ends_with_colon => "match",
            Tok::Case if at > 0 || !is_case => "case",
            Tok::Type if !line.get(at + 1).is_some_and(|(next, _)| can_be_name(next)) => "type",
            _ => continue,
        };
        line[at].0 = Tok::Name { name: name.into() };
    }
}

fn can_be_name(token: &Tok) -> bool {
    matches!(token, Tok::Name { .. } | Tok::Match | Tok::Case | Tok::Type)
}

/// Puts parentheses around the exceptions of `except A, B:` (PEP 758).
fn parenthesize_exceptions(line: &mut Vec<Spanned>) {
    let first = 1 + usize::from(line.get(1).is_some_and(|(token, _)| matches!(token, Tok::Star)));
    let mut comma = false;
    let colon = outside_brackets(line).find(|at| {
        comma |= matches!(line[*at].0, Tok::Comma);
        matches!(line[*at].0, Tok::Colon)
    });
    let Some(colon) = colon.filter(|colon| comma && *colon > first) else { return };
    let (start, end) = (line[first].1.start(), line[colon - 1].1.end());
    line.insert(colon, (Tok::Rpar, TextRange::empty(end)));
    line.insert(first, (Tok::Lpar, TextRange::empty(start)));
}

/// The tokens outside brackets, brackets themselves excluded, by their number.
fn outside_brackets(line: &[Spanned]) -> impl Iterator<Item = usize> {
    let mut depth = 0_usize;
    line.iter().enumerate().filter_map(move |(at, (token, _))| {
        match token {
            Tok::Lpar | Tok::Lsqb | Tok::Lbrace => depth += 1,
            Tok::Rpar | Tok::Rsqb | Tok::Rbrace => depth = depth.saturating_sub(1),
            _ if depth == 0 => return Some(at),
            _ => {}
        }
        None
    })
}

/// Makes the defaults of type parameters (PEP 696) bounds: `[T = int]` becomes `[T: int]`, `[T: str = int]` becomes
/// `[T: str or int]`, and `[*Ts = *tuple[int]]` becomes `[Ts: tuple[int]]`.
fn type_parameters(line: &mut Vec<Spanned>) {
    let mut stars = Vec::new();
    for name in 1..line.len().saturating_sub(1) {
        let opens = matches!((&line[name - 1].0, &line[name + 1].0), (Tok::Def | Tok::Class | Tok::Type, Tok::Lsqb));
        if opens {
            defaults(line, name + 2, &mut stars);
        }
    }
    if stars.is_empty() {
        return;
    }
    let mut number = 0;
    let mut stars = stars.into_iter().peekable();
    line.retain(|_| {
        number += 1;
        stars.next_if_eq(&(number - 1)).is_none()
    });
}

/// Makes the defaults in one list of type parameters bounds. `first` is the token after its opening bracket. Adds the
/// stars to be removed to `stars`.
fn defaults(line: &mut [Spanned], first: usize, stars: &mut Vec<usize>) {
    let (mut depth, mut parameter, mut bound) = (0_usize, first, false);
    for at in first..line.len() {
        match line[at].0 {
            Tok::Lpar | Tok::Lsqb | Tok::Lbrace => depth += 1,
            Tok::Rsqb if depth == 0 => return,
            Tok::Rpar | Tok::Rsqb | Tok::Rbrace => depth = depth.saturating_sub(1),
            Tok::Comma if depth == 0 => (parameter, bound) = (at + 1, false),
            Tok::Colon if depth == 0 => bound = true,
            Tok::Equal if depth == 0 => {
                line[at].0 = if bound { Tok::Or } else { Tok::Colon };
                let is_star = |at: &usize| matches!(line[*at].0, Tok::Star | Tok::DoubleStar);
                stars.extend([parameter, at + 1].into_iter().filter(is_star));
            }
            _ => {}
        }
    }
}
