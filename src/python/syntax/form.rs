//! The form of a statement with an insertion, or of a function: what is left of it without what the grammar does not look at.
//!
//! A name's letters and a string's characters change no tree but in the place where they stand themselves; the grammar
//! compares names with each other alone (a keyword argument is not repeated). So statements of one form have trees that
//! differ only there, and what was inserted into them is in the same place of these.

use std::ops::Range;

use super::literal::is_keyword;

/// How many names a statement or a function may have.
const MOST_NAMES: usize = 64;
/// Stands before the number of a name. No statement that has a form contains it.
const NAME: u8 = 0;
/// Stands where an insertion begins and ends.
const MARK: u8 = 1;
/// Stands before a statement that has no form.
const ITSELF: u8 = 2;
/// The keywords that it has.
const PLAIN_KEYWORDS: [&str; 5] = ["def", "return", "None", "True", "False"];

/// Writes forms, one after another.
#[derive(Default)]
pub(crate) struct Forms<'a> {
    form: Vec<u8>,
    names: Vec<&'a str>,
}

impl<'a> Forms<'a> {
    /// The form of a statement in which this was inserted; where it has none, what no other statement has.
    pub(crate) fn of(&mut self, statement: &'a str, inserted: &Range<usize>) -> &[u8] {
        self.form.clear();
        self.names.clear();
        if self.write(statement, inserted).is_none() {
            self.form.clear();
            self.form.push(ITSELF);
            self.form.extend_from_slice(&inserted.start.to_le_bytes());
            self.form.extend_from_slice(&inserted.end.to_le_bytes());
            self.form.extend_from_slice(statement.as_bytes());
        }
        &self.form
    }

    /// The form of a function or a simple statement, where it has nothing but names, attributes, calls, assignments and
    /// constants; adds the places of its names and strings.
    pub(super) fn of_statement(
        &mut self,
        text: &'a str,
        span: &Range<usize>,
        places: &mut Vec<Range<u32>>,
    ) -> Option<&[u8]> {
        self.form.clear();
        self.names.clear();
        let bytes = &text.as_bytes()[..span.end];
        let first = places.len();
        let place = |at: usize, end: usize| Some(u32::try_from(at).ok()?..u32::try_from(end).ok()?);
        let mut at = span.start;
        let mut after_string = false;
        while at < bytes.len() {
            (places.len() - first < MOST_NAMES).then_some(())?;
            let length = bytes[at..].iter().position(|byte| !is_in_word(*byte)).unwrap_or(bytes.len() - at);
            let end = at + length;
            let is_prefix = matches!(bytes.get(end), Some(b'"' | b'\''));
            match (&text.get(at..end)?, bytes[at]) {
                (&"", b'"' | b'\'') => {
                    // Two are one.
                    (!after_string).then_some(())?;
                    let end = self.string(bytes, at)?;
                    places.push(place(at, end)?);
                    (at, after_string) = (end, true);
                    continue;
                }
                (&"", byte) => {
                    let walrus = byte == b'=' && self.form.last() == Some(&b':');
                    (is_plain(byte) && !walrus).then_some(())?;
                    self.form.push(byte);
                    at += 1;
                    after_string &= byte.is_ascii_whitespace();
                    continue;
                }
                _ if is_prefix => return None,
                (word, letter) if letter.is_ascii_digit() => {
                    let is_part = at.checked_sub(1).is_some_and(|before| bytes[before] == b'.');
                    (!is_part && bytes.get(end) != Some(&b'.')).then_some(())?;
                    self.form.extend_from_slice(word.as_bytes());
                }
                (word, _) if is_keyword(word) => {
                    PLAIN_KEYWORDS.contains(word).then_some(())?;
                    self.form.extend_from_slice(word.as_bytes());
                }
                (name, _) => {
                    places.push(place(at, end)?);
                    let number = self.number(name)?;
                    self.form.extend([NAME, number]);
                }
            }
            (at, after_string) = (end, false);
        }
        Some(&self.form)
    }

    /// None where the statement has no form: where it is not certain what its tokens are, with the insertion and without.
    fn write(&mut self, statement: &'a str, inserted: &Range<usize>) -> Option<()> {
        let bytes = statement.as_bytes();
        // So the token before the insertion ends there without it too.
        let ends_token = |at: usize| {
            bytes.get(at).is_some_and(|next| next.is_ascii() && !is_in_word(*next) && !b"'\".".contains(next))
        };
        (ends_token(inserted.start) && ends_token(inserted.end)).then_some(())?;
        self.form.reserve(statement.len());
        let mut at = 0;
        for mark in [inserted.start, inserted.end] {
            at = self.up_to(statement, at, mark)?;
            self.form.push(MARK);
        }
        self.up_to(statement, at, bytes.len())?;
        Some(())
    }

    /// Adds the tokens up to a place, which is where the last of them ends.
    fn up_to(&mut self, statement: &'a str, mut at: usize, end: usize) -> Option<usize> {
        let bytes = statement.as_bytes();
        while at < end {
            at = match bytes[at] {
                b'\\' | b'#' | NAME..=ITSELF | 0x80.. => return None,
                b'"' | b'\'' => self.string(bytes, at)?,
                byte if is_in_word(byte) => self.word(statement, at)?,
                byte => {
                    self.form.push(byte);
                    at + 1
                }
            };
        }
        (at == end).then_some(at)
    }

    /// Adds a name, a keyword or a number; its end.
    fn word(&mut self, statement: &'a str, start: usize) -> Option<usize> {
        let bytes = statement.as_bytes();
        let length = bytes[start..].iter().position(|byte| !is_in_word(*byte)).unwrap_or(bytes.len() - start);
        let (end, word) = (start + length, &statement[start..start + length]);
        let (before, after) = (start.checked_sub(1).map(|before| bytes[before]), bytes.get(end));
        if matches!(after, Some(b'"' | b'\'' | 0x80..)) {
            return None;
        }
        if bytes[start].is_ascii_digit() {
            // `1.e5`
            (before != Some(b'.') && after != Some(&b'.')).then_some(())?;
            self.form.extend_from_slice(word.as_bytes());
        } else if is_keyword(word) {
            self.form.extend_from_slice(word.as_bytes());
        } else {
            let number = self.number(word)?;
            self.form.extend([NAME, number]);
        }
        Some(end)
    }

    fn number(&mut self, name: &'a str) -> Option<u8> {
        let known = self.names.iter().position(|known| *known == name);
        let number = known.unwrap_or(self.names.len());
        if known.is_none() {
            self.names.push(name);
        }
        u8::try_from(number).ok().filter(|number| usize::from(*number) < MOST_NAMES)
    }

    /// Adds a string without a prefix, on one line; its end.
    fn string(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let quote = bytes[start];
        let end = start + 1 + memchr::memchr3(quote, b'\n', b'\r', &bytes[start + 1..])?;
        let is_triple = end == start + 1 && bytes.get(end + 1) == Some(&quote);
        if bytes[end] != quote || is_triple || bytes[start..end].contains(&b'\\') {
            return None;
        }
        self.form.extend([quote, quote]);
        Some(end + 1)
    }
}

/// Whether a function with a form can have this byte between its words.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b',' | b'.' | b':' | b'=')
}

/// The bytes that can be in a name, a keyword or a number.
const IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    table
};

fn is_in_word(byte: u8) -> bool {
    IN_WORD[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of a statement in which what is between `<` and `>` was inserted.
    fn form(text: &str) -> Vec<u8> {
        let (start, end) = (text.find('<').unwrap(), text.find('>').unwrap() - 1);
        let statement = text.replace(['<', '>'], "");
        Forms::default().of(&statement, &(start..end)).to_vec()
    }

    #[test]
    fn names_and_the_text_of_strings_do_not_matter() {
        for (one, other) in [
            ("return f(a<, b=c()>)\n", "return g(h<, i=j()>)\n"),
            ("f(a, a<, b>)", "g(f, f<, b>)"),
            ("x = y = f('a'<, b>)", "y = x = f('böse'<, c>)"),
            ("f(1, 'a' \"b\"<, b>)", "f(1, '' \"\"<, c>)"),
        ] {
            assert_eq!(form(one), form(other), "{one}");
            assert_ne!(form(one)[0], ITSELF, "{one}");
        }
    }

    #[test]
    fn everything_else_does() {
        let one = form("return f(a, b=a<, c=d()>)\n");
        for other in [
            "return f(a, c=a<, c=d()>)\n",
            "return f(b, b=b<, c=d()>)\n",
            "return f(a, b=e<, c=d()>)\n",
            "return f(a, b=a<, None=d()>)\n",
            "return f(a, b=a, c=d(<>))\n",
            "return f(a, b=a<, c=d(>))\n",
            "return f(a, b=1<, c=d()>)\n",
            "return f(a, b=''<, c=d()>)\n",
            "return f(a,  b=a<, c=d()>)\n",
            "return f(a, b=a<, c=d()>)",
            "raise f(a, b=a<, c=d()>)\n",
        ] {
            assert_ne!(form(other), one, "{other}");
        }
        assert_ne!(form("f(1<, a>)"), form("f(2<, a>)"));
        assert_ne!(form("f(''<, a>)"), form("f(\"\"<, a>)"));
    }

    #[test]
    fn a_statement_whose_tokens_are_not_certain_has_none() {
        for text in [
            "f(b'a'<, b>)",
            "f(''''''<, b>)",
            "f('a\\''<, b>)",
            "f('a<', 'b>')",
            "f('<a, b>')",
            "f(a<b, c>)",
            "f('<, b>-')",
            "f(<b, >a)",
            "f(<b, >'a')",
            "f(1<, a>.real)",
            "f(a<.b>)",
            "f(1.e5<, b>)",
            "f(x.1e<, b>)",
            "f(ä<, b>)",
            "f(a<, b>)  # c",
            "f(a<, b>, \\\nc)",
            "f(a<, b\0\0>)",
        ] {
            assert_eq!(form(text)[0], ITSELF, "{text}");
        }
    }
}
