//! Codecs in which every byte is a character.

use std::iter;

/// A line for each codec above ASCII: its name, and the characters from 0x80 on in hexadecimal, `80-9F` for a run and
/// `?3` for three undefined bytes; printed by tests/codecs.py. Source: the Unicode Consortium's mapping tables, which are
/// those of Python.
const TABLES: &str = include_str!("single_byte.txt");

/// The first byte that is not ASCII.
const FIRST: u8 = 0x80;

/// A codec's characters from 0x80 on.
#[derive(Debug)]
pub(super) struct SingleByte(Vec<Option<char>>);

impl SingleByte {
    /// The codec of a module of Python's `encodings`.
    pub(super) fn named(module: &str) -> Option<Self> {
        let lines = TABLES.lines().filter_map(|line| line.split_once(' '));
        let (_, table) = lines.into_iter().find(|(name, _)| *name == module)?;
        Some(SingleByte(table.split(' ').flat_map(run).collect()))
    }

    /// The text of the bytes, or the place of the first that is undefined.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<String, usize> {
        let decoded = bytes.iter().enumerate().map(|(at, byte)| self.character(*byte).ok_or(at));
        decoded.collect()
    }

    fn character(&self, byte: u8) -> Option<char> {
        match byte.checked_sub(FIRST) {
            None => Some(char::from(byte)),
            Some(number) => self.0.get(usize::from(number)).copied().flatten(),
        }
    }

    /// The byte of a character.
    pub(super) fn encode(&self, character: char) -> Option<u8> {
        if character.is_ascii() {
            return u8::try_from(character).ok();
        }
        let number = self.0.iter().position(|known| *known == Some(character))?;
        u8::try_from(number).ok().map(|number| FIRST + number)
    }
}

/// The characters that one word of the table stands for.
fn run(word: &str) -> Box<dyn Iterator<Item = Option<char>>> {
    if let Some(undefined) = word.strip_prefix('?') {
        return Box::new(iter::repeat_n(None, undefined.parse().unwrap_or(0)));
    }
    let code = |word| u32::from_str_radix(word, 16).unwrap_or_default();
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Box::new((code(first)..=code(last)).map(char::from_u32))
}
