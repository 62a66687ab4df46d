//! A Python source file: its bytes decoded to text, and offsets and insertions in the text mapped to the bytes.
//!
//! Source: the Python language reference, "Encoding declarations" (PEP 263): a UTF-8 byte-order mark, or a cookie in
//! a comment on the first or second line, or UTF-8.

#[cfg(test)]
mod against_python;
mod codec;
mod cookie;
mod multi_byte;
mod single_byte;

use std::borrow::Cow;

use thiserror::Error;

use self::codec::{Codec, NoCodec};
use crate::source::edit::{self, InsertedSpan, Insertion};
use crate::source::offset::{ByteOffset, TextOffset};

/// U+FEFF in UTF-8, which some editors write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A source file, decoded.
#[derive(Debug)]
pub(crate) struct SourceText<'a> {
    bytes: &'a [u8],
    text: Cow<'a, str>,
    codec: Codec,
    /// The length of the byte-order mark.
    mark: usize,
}

/// Why bytes cannot be decoded as Python source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DecodeError {
    /// A zero byte, which no Python source contains.
    #[error(
        "not Python source: contains a zero byte\nhelp: pass a Python source, a package or site-packages folder, or an environment"
    )]
    NotText,
    /// A byte that is not valid in the declared encoding, or in UTF-8 where none is declared.
    #[error(
        "line {line}: byte 0x{byte:02x} is not valid {encoding}\n\
         help: declare the encoding in a comment on the first or second line, such as `# -*- coding: latin-1 -*-`"
    )]
    Invalid {
        /// From 1.
        line: usize,
        /// The encoding that was tried.
        encoding: String,
        /// The first byte that is not valid.
        byte: u8,
    },
    /// A cookie that names no encoding that Python knows.
    #[error(
        "the coding cookie names the unknown encoding `{0}`\n\
         help: name an encoding that Python knows, such as `utf-8`"
    )]
    UnknownEncoding(String),
    /// A cookie that names what Python cannot read source with.
    #[error(
        "the coding cookie names `{0}`, which does not decode bytes to text, so Python refuses the file too\n\
         help: name a text encoding, such as `utf-8`"
    )]
    NoText(&'static str),
    /// A cookie that names an encoding without exact byte offsets.
    #[error(
        "the coding cookie names `{0}`, an encoding in which nixl-retrofit cannot edit\n\
         help: save the file in UTF-8, with the cookie `utf-8`"
    )]
    Unsupported(&'static str),
    /// A byte-order mark and a cookie that is not UTF-8.
    #[error(
        "the file begins with a UTF-8 byte-order mark, but its coding cookie names `{0}`; Python refuses it too\n\
         help: remove the byte-order mark, or name `utf-8` in the cookie"
    )]
    MarkAndCookie(String),
}

impl<'a> SourceText<'a> {
    /// Decodes a source file.
    ///
    /// # Errors
    /// Where the bytes are not text, or not valid in the file's encoding.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if memchr::memchr(0, bytes).is_some() {
            return Err(DecodeError::NotText);
        }
        let content = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mark = bytes.len() - content.len();
        let name = cookie::cookie(content).unwrap_or("utf-8");
        if mark > 0 && codec::tokenizer_name(name) != "utf-8" {
            return Err(DecodeError::MarkAndCookie(name.into()));
        }
        let codec = codec::named(name).map_err(|error| DecodeError::of_name(error, name))?;
        let text = match &codec {
            Codec::Utf8 => std::str::from_utf8(content).map(Cow::Borrowed).map_err(|error| error.valid_up_to()),
            Codec::SingleByte(codec) => codec.decode(content).map(Cow::Owned),
            Codec::MultiByte(codec) => codec.decode(content).map(Cow::Owned),
        };
        let text =
            text.map_err(|at| invalid(bytes, mark + at, if matches!(codec, Codec::Utf8) { "UTF-8" } else { name }))?;
        Ok(SourceText { bytes, text, codec, mark })
    }

    /// The text, without a byte-order mark.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The offsets in the bytes of sorted offsets in the text, which must lie between two characters. Takes one pass over
    /// the text.
    pub(crate) fn byte_offsets(&self, sorted: &[TextOffset]) -> Vec<ByteOffset> {
        let offsets = sorted.iter().map(|offset| offset.0);
        let in_content = match &self.codec {
            Codec::Utf8 => offsets.collect(),
            Codec::SingleByte(_) => self.characters_before(offsets),
            Codec::MultiByte(codec) => codec.byte_offsets(&self.bytes[self.mark..], offsets),
        };
        in_content.into_iter().map(|offset| ByteOffset(self.mark + offset)).collect()
    }

    /// How many characters are before each of the sorted offsets.
    fn characters_before(&self, offsets: impl Iterator<Item = usize>) -> Vec<usize> {
        let (mut counted, mut characters) = (0, 0);
        let before = |offset: usize| {
            characters += self.text[counted..offset].chars().count();
            counted = offset;
            characters
        };
        offsets.map(before).collect()
    }

    /// The offset in the bytes of one offset in the text.
    pub(crate) fn byte_offset(&self, offset: TextOffset) -> ByteOffset {
        self.byte_offsets(&[offset]).first().copied().unwrap_or(ByteOffset(self.bytes.len()))
    }

    /// Where insertions into the text are made in the bytes. As [`SourceText::insert`].
    pub(crate) fn byte_spans(&self, sorted: &[Insertion<TextOffset>]) -> Vec<InsertedSpan<ByteOffset>> {
        let offsets: Vec<_> = sorted.iter().map(|insertion| insertion.offset).collect();
        let lengths = sorted.iter().map(|insertion| self.encode(&insertion.content).len());
        let spans = self.byte_offsets(&offsets).into_iter().zip(lengths);
        spans.map(|(offset, length)| InsertedSpan { offset, length }).collect()
    }

    /// The text and the bytes with insertions into the text, which must be sorted by offset. Their content must be ASCII or
    /// come from the text, so that the encoding has all its characters.
    pub(crate) fn insert(&self, sorted: &[Insertion<TextOffset>]) -> (String, Vec<u8>) {
        let text = edit::insert(self.text(), sorted);
        let bytes = match &self.codec {
            Codec::Utf8 => [&self.bytes[..self.mark], text.as_bytes()].concat(),
            _ => edit::insert(self.bytes, &self.byte_insertions(sorted)),
        };
        (text, bytes)
    }

    fn byte_insertions(&self, sorted: &[Insertion<TextOffset>]) -> Vec<Insertion<ByteOffset>> {
        let offsets: Vec<_> = sorted.iter().map(|insertion| insertion.offset).collect();
        let offsets = self.byte_offsets(&offsets).into_iter();
        offsets.zip(sorted).map(|(offset, insertion)| Insertion::new(offset, self.encode(&insertion.content))).collect()
    }

    fn encode<'t>(&self, text: &'t str) -> Cow<'t, [u8]> {
        match &self.codec {
            Codec::Utf8 => text.as_bytes().into(),
            // `?` is what codecs put for a character that they lack.
            Codec::SingleByte(codec) => {
                text.chars().map(|c| codec.encode(c).unwrap_or(b'?')).collect::<Vec<_>>().into()
            }
            Codec::MultiByte(codec) => codec.encode(text).into(),
        }
    }
}

impl DecodeError {
    fn of_name(error: NoCodec, name: &str) -> Self {
        match error {
            NoCodec::Unknown => DecodeError::UnknownEncoding(name.into()),
            NoCodec::NoText(codec) => DecodeError::NoText(codec),
            NoCodec::Unsupported(codec) => DecodeError::Unsupported(codec),
        }
    }
}

fn invalid(bytes: &[u8], at: usize, encoding: &str) -> DecodeError {
    let line = memchr::memchr_iter(b'\n', &bytes[..at]).count() + 1;
    DecodeError::Invalid { line, encoding: encoding.into(), byte: bytes.get(at).copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        SourceText::decode(bytes).expect("decodes").text().to_string()
    }

    #[test]
    fn the_mark_is_not_text() {
        let source = SourceText::decode(b"\xef\xbb\xbfx = 1").unwrap();
        assert_eq!(source.text(), "x = 1");
        assert_eq!(source.byte_offset(TextOffset(2)), ByteOffset(5));
    }

    #[test]
    fn cookies_are_found_where_python_finds_them() {
        assert_eq!(text(b"# -*- coding: latin-1 -*-\nx = '\xe9'"), "# -*- coding: latin-1 -*-\nx = 'é'");
        assert_eq!(
            text(b"#!/usr/bin/python\n# vim: set fileencoding=iso-8859-15 :\n'\xa4'").chars().nth_back(1),
            Some('€')
        );
        assert!(SourceText::decode(b"x = 1\n# coding: latin-1\n'\xe9'").is_err(), "code on line 1");
        assert!(SourceText::decode(b"\n\n# coding: latin-1\n'\xe9'").is_err(), "line 3");
        assert_eq!(text(b"# a\r# coding: latin-1\r'\xe9'").chars().nth_back(1), Some('é'), "lines that end in CR");
        assert_eq!(text(b"# coding: utf-8-unix\n'\xc3\xa9'").chars().nth_back(1), Some('é'));
    }

    #[test]
    fn offsets_are_those_of_the_bytes() {
        for (cookie, word) in [
            ("latin-1", &b"\xe9\xe8"[..]),
            ("shift_jis", b"\x83e\x83X"),
            ("gbk", b"\xc4\xe3"),
            ("gbk", b"\x80z"),
            ("cp1252", b"\x80"),
            ("cp437", b"\x80\xff"),
            ("mac-roman", b"\x8e"),
            ("KOI8_R", b"\xc1"),
            ("hp-roman8", b"\xb5"),
            ("kz1048", b"\xaa"),
            ("cp932", b"\xed\x40\xb1\x80"),
            ("euc_jp", b"\x8f\xb0\xa1\xa4\xa2"),
            ("gb18030", b"\x81\x30\x81\x30\xc4\xe3"),
            ("big5hkscs", b"\x88\x62\xa4\x40"),
        ] {
            let mut bytes = format!("# coding: {cookie}\nx = '").into_bytes();
            bytes.extend_from_slice(word);
            let end = bytes.len();
            bytes.extend_from_slice(b"' + y");
            let source = SourceText::decode(&bytes).unwrap();
            let at = source.text().find("' + y").unwrap();
            assert_eq!(source.byte_offset(TextOffset(at)), ByteOffset(end), "{cookie}");
            let word_again = &source.text()[source.text()[..at].rfind('\'').unwrap() + 1..at];
            let insertions = source.byte_insertions(&[Insertion::new(TextOffset(at), word_again)]);
            assert_eq!(insertions, [Insertion::new(ByteOffset(end), word)], "{cookie}");
        }
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_line() {
        assert_eq!(SourceText::decode(b"\x7fELF\0").unwrap_err(), DecodeError::NotText);
        let error = SourceText::decode(b"a = 1\nb = '\xff'\n").unwrap_err();
        assert_eq!(error, DecodeError::Invalid { line: 2, encoding: "UTF-8".into(), byte: 0xff });
        let error = SourceText::decode(b"# coding: klingon\n").unwrap_err();
        assert_eq!(error, DecodeError::UnknownEncoding("klingon".into()));
        let error = SourceText::decode(b"# coding: shift_jis\n\nx = '\x83'\n").unwrap_err();
        assert!(matches!(error, DecodeError::Invalid { line: 3, .. }), "{error:?}");
    }
}
