//! Tokens that are read on their own: names, numbers, strings without fields, operators.

use std::borrow::Cow;

use rustpython_parser::ast::bigint::BigInt;
use rustpython_parser::lexer::LexicalError;
use rustpython_parser::{StringKind, Tok};
use unicode_normalization::UnicodeNormalization;

use super::cursor::Cursor;

/// The letters before a string, and its opening quote.
pub(super) struct Prefix {
    /// How many letters.
    pub length: usize,
    /// `'` or `"`.
    pub quote: u8,
    /// Whether three quotes open and close it.
    pub triple: bool,
    /// Whether a backslash is a character in it.
    pub raw: bool,
    /// An f-string or a t-string.
    pub formatted: bool,
    bytes: bool,
    unicode: bool,
}

impl Prefix {
    /// The beginning of a string, if one is next.
    pub(super) fn at(cursor: &Cursor) -> Option<Self> {
        let is_quote = |byte: Option<u8>| matches!(byte, Some(b'"' | b'\''));
        let length = (0..=2).find(|length| is_quote(cursor.peek_at(*length)))?;
        let letter = |at: usize| cursor.peek_at(at).map_or(0, |byte| byte.to_ascii_lowercase());
        let (one, two) = match length {
            0 => (0, 0),
            1 => (letter(0), 0),
            _ => (letter(0).max(letter(1)), letter(0).min(letter(1))),
        };
        // Of two letters, one is `r`: `b` and `f` are before it, `t` is after it.
        let (raw, kind) = match (one, two) {
            (b'r', 0) => (true, 0),
            (b'r', kind @ (b'b' | b'f')) | (kind @ b't', b'r') => (true, kind),
            (kind @ (0 | b'b' | b'f' | b't' | b'u'), 0) => (false, kind),
            _ => return None,
        };
        let quote = cursor.peek_at(length)?;
        let triple = cursor.peek_at(length + 1) == Some(quote) && cursor.peek_at(length + 2) == Some(quote);
        let formatted = matches!(kind, b'f' | b't');
        Some(Prefix { length, quote, triple, raw, formatted, bytes: kind == b'b', unicode: kind == b'u' })
    }

    fn kind(&self) -> StringKind {
        match (self.bytes, self.raw) {
            (true, true) => StringKind::RawBytes,
            (true, false) => StringKind::Bytes,
            (false, true) => StringKind::RawString,
            (false, false) if self.unicode => StringKind::Unicode,
            (false, false) => StringKind::String,
        }
    }
}

/// Reads a string that is not formatted.
pub(super) fn string(cursor: &mut Cursor, prefix: &Prefix) -> Result<Tok, LexicalError> {
    let start = cursor.at;
    cursor.at += prefix.length + if prefix.triple { 3 } else { 1 };
    let content = cursor.at;
    let end = find_end(cursor.text.as_bytes(), content, prefix);
    let Some(end) = end else { return Err(cursor.error(start, "unterminated string literal")) };
    cursor.at = end + if prefix.triple { 3 } else { 1 };
    let value = value(&cursor.text[content..end], prefix);
    Ok(Tok::String { value: value.into_owned(), kind: prefix.kind(), triple_quoted: prefix.triple })
}

/// Where the closing quote is.
fn find_end(bytes: &[u8], content: usize, prefix: &Prefix) -> Option<usize> {
    let mut at = content;
    loop {
        let from = at;
        at += memchr::memchr2(prefix.quote, b'\\', bytes.get(from..)?)?;
        if !prefix.triple && memchr::memchr2(b'\n', b'\r', &bytes[from..at]).is_some() {
            return None;
        }
        if bytes[at] == b'\\' {
            at += if bytes[at + 1..].starts_with(b"\r\n") { 3 } else { 2 };
        } else if !prefix.triple || bytes[at..].starts_with(&[prefix.quote; 3]) {
            return Some(at);
        } else {
            at += 1;
        }
    }
}

/// The text between the quotes, as the grammar decodes it: with line feeds for line endings, and without names of
/// characters, of which Python knows more.
fn value<'t>(content: &'t str, prefix: &Prefix) -> Cow<'t, str> {
    let mut value = Cow::Borrowed(content);
    if memchr::memchr(b'\r', value.as_bytes()).is_some() {
        value = value.replace("\r\n", "\n").replace('\r', "\n").into();
    }
    if !prefix.raw && !prefix.bytes && value.contains(r"\N{") {
        value = without_names(&value).into();
    }
    value
}

/// Replaces each `\N{...}` by a replacement character.
fn without_names(content: &str) -> String {
    let mut result = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        result.push_str(before);
        rest = if let Some(name) = escape.strip_prefix(r"\N{") {
            result.push(char::REPLACEMENT_CHARACTER);
            name.split_once('}').map_or("", |(_, after)| after)
        } else {
            let length = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
            result.push_str(&escape[..length]);
            &escape[length..]
        };
    }
    result + rest
}

/// Reads a name or a keyword. A name is normalized to NFKC, as Python does.
pub(super) fn name(cursor: &mut Cursor) -> Result<Tok, LexicalError> {
    let start = cursor.at;
    let rest = &cursor.text.as_bytes()[start..];
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    cursor.at += rest.iter().position(|byte| !in_name(byte)).unwrap_or(rest.len());
    let name = &cursor.text[start..cursor.at];
    if name.is_ascii() {
        return Ok(keyword(name).unwrap_or_else(|| Tok::Name { name: name.into() }));
    }
    let is_part = |(at, c): (usize, char)| {
        c == '_' || if at == 0 { unicode_ident::is_xid_start(c) } else { unicode_ident::is_xid_continue(c) }
    };
    match name.char_indices().find(|part| !is_part(*part)) {
        Some((at, c)) => Err(invalid(cursor, start + at, c)),
        None => Ok(Tok::Name { name: name.nfkc().collect() }),
    }
}

/// Whether a word can be a keyword.
pub(crate) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

/// A keyword. The parser's own table takes ten times as long.
fn keyword(name: &str) -> Option<Tok> {
    Some(match name {
        "False" => Tok::False,
        "None" => Tok::None,
        "True" => Tok::True,
        "and" => Tok::And,
        "as" => Tok::As,
        "assert" => Tok::Assert,
        "async" => Tok::Async,
        "await" => Tok::Await,
        "break" => Tok::Break,
        "case" => Tok::Case,
        "class" => Tok::Class,
        "continue" => Tok::Continue,
        "def" => Tok::Def,
        "del" => Tok::Del,
        "elif" => Tok::Elif,
        "else" => Tok::Else,
        "except" => Tok::Except,
        "finally" => Tok::Finally,
        "for" => Tok::For,
        "from" => Tok::From,
        "global" => Tok::Global,
        "if" => Tok::If,
        "import" => Tok::Import,
        "in" => Tok::In,
        "is" => Tok::Is,
        "lambda" => Tok::Lambda,
        "match" => Tok::Match,
        "nonlocal" => Tok::Nonlocal,
        "not" => Tok::Not,
        "or" => Tok::Or,
        "pass" => Tok::Pass,
        "raise" => Tok::Raise,
        "return" => Tok::Return,
        "try" => Tok::Try,
        "type" => Tok::Type,
        "while" => Tok::While,
        "with" => Tok::With,
        "yield" => Tok::Yield,
        _ => return None,
    })
}

fn invalid(cursor: &Cursor, at: usize, character: char) -> LexicalError {
    cursor.error(at, format!("invalid character `{}` (U+{:04X})", character.escape_debug(), u32::from(character)))
}

/// Reads a number.
pub(super) fn number(cursor: &mut Cursor) -> Result<Tok, LexicalError> {
    let start = cursor.at;
    let radix = match (cursor.peek(), cursor.peek_at(1).map(|byte| byte.to_ascii_lowercase())) {
        (Some(b'0'), Some(b'x')) => 16,
        (Some(b'0'), Some(b'o')) => 8,
        (Some(b'0'), Some(b'b')) => 2,
        _ => return decimal(cursor),
    };
    cursor.at += 2;
    skip_digits(cursor, radix);
    let digits = cursor.text[start + 2..cursor.at].replace('_', "");
    if digits.is_empty() {
        return Err(cursor.error(start, "invalid number"));
    }
    Ok(integer(&digits, radix))
}

fn decimal(cursor: &mut Cursor) -> Result<Tok, LexicalError> {
    let start = cursor.at;
    skip_digits(cursor, 10);
    let mut is_float = false;
    if cursor.peek() == Some(b'.') {
        is_float = true;
        cursor.at += 1;
        skip_digits(cursor, 10);
    }
    if let Some(b'e' | b'E') = cursor.peek() {
        let sign = usize::from(matches!(cursor.peek_at(1), Some(b'+' | b'-')));
        if cursor.peek_at(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
            is_float = true;
            cursor.at += 1 + sign;
            skip_digits(cursor, 10);
        }
    }
    let digits = cursor.text[start..cursor.at].replace('_', "");
    let float = || digits.parse::<f64>().map_err(|_| cursor.error(start, "invalid number"));
    if let Some(b'j' | b'J') = cursor.peek() {
        let imag = float()?;
        cursor.at += 1;
        return Ok(Tok::Complex { real: 0.0, imag });
    }
    if is_float {
        return Ok(Tok::Float { value: float()? });
    }
    if digits.starts_with('0') && digits.bytes().any(|digit| digit != b'0') {
        return Err(cursor.error(start, "leading zeros in decimal integer literals are not permitted"));
    }
    Ok(integer(&digits, 10))
}

/// Skips digits, with single underscores between them.
fn skip_digits(cursor: &mut Cursor, radix: u32) {
    let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| char::from(byte).is_digit(radix));
    loop {
        match cursor.peek() {
            Some(b'_') if is_digit(cursor.peek_at(1)) => cursor.at += 2,
            byte if is_digit(byte) => cursor.at += 1,
            _ => return,
        }
    }
}

/// An integer; one of more than 64 bits as the largest of 64: its value decides nothing here, and reading it takes
/// quadratic time.
fn integer(digits: &str, radix: u32) -> Tok {
    Tok::Int { value: BigInt::from(u64::from_str_radix(digits, radix).unwrap_or(u64::MAX)) }
}

/// Reads an operator or a delimiter other than a bracket.
pub(super) fn operator(cursor: &mut Cursor) -> Result<Tok, LexicalError> {
    let next = |distance| cursor.peek_at(distance).unwrap_or(0);
    let (length, token) = match (next(0), next(1), next(2)) {
        (b'*', b'*', b'=') => (3, Tok::DoubleStarEqual),
        (b'/', b'/', b'=') => (3, Tok::DoubleSlashEqual),
        (b'<', b'<', b'=') => (3, Tok::LeftShiftEqual),
        (b'>', b'>', b'=') => (3, Tok::RightShiftEqual),
        (b'.', b'.', b'.') => (3, Tok::Ellipsis),
        (b'*', b'*', _) => (2, Tok::DoubleStar),
        (b'/', b'/', _) => (2, Tok::DoubleSlash),
        (b'<', b'<', _) => (2, Tok::LeftShift),
        (b'>', b'>', _) => (2, Tok::RightShift),
        (b'-', b'>', _) => (2, Tok::Rarrow),
        (b':', b'=', _) => (2, Tok::ColonEqual),
        (b'=', b'=', _) => (2, Tok::EqEqual),
        (b'!', b'=', _) => (2, Tok::NotEqual),
        (b'<', b'=', _) => (2, Tok::LessEqual),
        (b'>', b'=', _) => (2, Tok::GreaterEqual),
        (b'+', b'=', _) => (2, Tok::PlusEqual),
        (b'-', b'=', _) => (2, Tok::MinusEqual),
        (b'*', b'=', _) => (2, Tok::StarEqual),
        (b'/', b'=', _) => (2, Tok::SlashEqual),
        (b'%', b'=', _) => (2, Tok::PercentEqual),
        (b'&', b'=', _) => (2, Tok::AmperEqual),
        (b'|', b'=', _) => (2, Tok::VbarEqual),
        (b'^', b'=', _) => (2, Tok::CircumflexEqual),
        (b'@', b'=', _) => (2, Tok::AtEqual),
        (byte, ..) => (1, single(byte).ok_or_else(|| unexpected(cursor))?),
    };
    cursor.at += length;
    Ok(token)
}

fn single(byte: u8) -> Option<Tok> {
    Some(match byte {
        b':' => Tok::Colon,
        b',' => Tok::Comma,
        b';' => Tok::Semi,
        b'+' => Tok::Plus,
        b'-' => Tok::Minus,
        b'*' => Tok::Star,
        b'/' => Tok::Slash,
        b'|' => Tok::Vbar,
        b'&' => Tok::Amper,
        b'<' => Tok::Less,
        b'>' => Tok::Greater,
        b'=' => Tok::Equal,
        b'.' => Tok::Dot,
        b'%' => Tok::Percent,
        b'~' => Tok::Tilde,
        b'^' => Tok::CircumFlex,
        b'@' => Tok::At,
        _ => return None,
    })
}

fn unexpected(cursor: &Cursor) -> LexicalError {
    match cursor.peek() {
        Some(b'\\') => cursor.error(cursor.at, "unexpected character after the line continuation character"),
        byte => invalid(cursor, cursor.at, byte.map_or('\0', char::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keywords_are_the_parsers() {
        let theirs = rustpython_parser::lexer::KEYWORDS.entries().filter(|(name, _)| **name != "...");
        assert_eq!(theirs.filter(|(name, token)| keyword(name).as_ref() == Some(*token)).count(), 38);
    }
}
