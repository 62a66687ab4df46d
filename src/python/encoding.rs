//! A Python source file: its bytes decoded to text, and offsets and insertions in the text mapped to the bytes.
//!
//! Source: the Python language reference, "Encoding declarations" (PEP 263): a UTF-8 byte-order mark, or a cookie in
//! a comment on the first or second line, or UTF-8.

use std::borrow::Cow;

use thiserror::Error;

use crate::source::edit::Insertion;
use crate::source::offset::{ByteOffset, TextOffset};

/// U+FEFF in UTF-8, which some editors write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A source file, decoded.
#[derive(Debug)]
pub(crate) struct SourceText<'a> {
    bytes: &'a [u8],
    text: Cow<'a, str>,
    encoding: Encoding,
}

/// The encoding of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf8WithMark,
    /// Each byte is the code point of the same number.
    Latin1,
    Other(&'static encoding_rs::Encoding),
}

/// Why bytes cannot be decoded as Python source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DecodeError {
    /// A zero byte, which no Python source contains.
    #[error("not Python source: contains a zero byte")]
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
    /// A cookie that names no known encoding.
    #[error("the coding cookie names the unknown encoding `{0}`")]
    UnknownEncoding(String),
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
        if let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK) {
            let text = decode_utf8(rest)?;
            return Ok(SourceText { bytes, text: text.into(), encoding: Encoding::Utf8WithMark });
        }
        let encoding = declared(bytes)?;
        let text = match encoding {
            Encoding::Utf8 | Encoding::Utf8WithMark => decode_utf8(bytes)?.into(),
            Encoding::Latin1 => encoding_rs::mem::decode_latin1(bytes),
            Encoding::Other(other) => decode_other(bytes, other)?,
        };
        Ok(SourceText { bytes, text, encoding })
    }

    /// The text, without a byte-order mark.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The offset in the bytes of an offset in the text, which must lie between two characters.
    pub(crate) fn byte_offset(&self, offset: TextOffset) -> ByteOffset {
        ByteOffset(match self.encoding {
            Encoding::Utf8 => offset.0,
            Encoding::Utf8WithMark => offset.0 + BYTE_ORDER_MARK.len(),
            Encoding::Latin1 => self.text[..offset.0].chars().count(),
            Encoding::Other(other) => other.encode(&self.text[..offset.0]).0.len(),
        })
    }

    /// An insertion into the text as one into the bytes, in the file's encoding. Its content must be ASCII or come from
    /// the text, so that the encoding has all its characters.
    pub(crate) fn byte_insertion(&self, insertion: &Insertion<TextOffset>) -> Insertion<ByteOffset> {
        Insertion::new(self.byte_offset(insertion.offset), self.encode(&insertion.content))
    }

    fn encode<'t>(&self, text: &'t str) -> Cow<'t, [u8]> {
        match self.encoding {
            Encoding::Utf8 | Encoding::Utf8WithMark => text.as_bytes().into(),
            Encoding::Latin1 => encoding_rs::mem::encode_latin1_lossy(text),
            Encoding::Other(other) => other.encode(text).0,
        }
    }
}

fn decode_utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| invalid(bytes, error.valid_up_to(), "UTF-8"))
}

/// Decodes what encoding_rs knows. Byte offsets come from encoding the text again, so that must give the same bytes.
fn decode_other<'a>(bytes: &'a [u8], encoding: &'static encoding_rs::Encoding) -> Result<Cow<'a, str>, DecodeError> {
    let text = encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .ok_or_else(|| invalid(bytes, first_invalid(bytes, encoding), encoding.name()))?;
    let (back, _, unmappable) = encoding.encode(&text);
    if unmappable || back != bytes {
        let at = back.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(0);
        return Err(invalid(bytes, at, encoding.name()));
    }
    Ok(text)
}

fn first_invalid(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> usize {
    let good =
        |length: &usize| encoding.decode_without_bom_handling_and_without_replacement(&bytes[..*length]).is_some();
    let lines = memchr::memchr_iter(b'\n', bytes).map(|newline| newline + 1);
    lines.take_while(good).last().unwrap_or(0)
}

fn invalid(bytes: &[u8], at: usize, encoding: &str) -> DecodeError {
    let line = memchr::memchr_iter(b'\n', &bytes[..at]).count() + 1;
    DecodeError::Invalid { line, encoding: encoding.into(), byte: bytes.get(at).copied().unwrap_or_default() }
}

fn declared(bytes: &[u8]) -> Result<Encoding, DecodeError> {
    let Some(name) = cookie(bytes) else { return Ok(Encoding::Utf8) };
    let normal = name.to_ascii_lowercase().replace('_', "-");
    let is = |prefix: &str| normal == prefix || normal.starts_with(&format!("{prefix}-"));
    if is("utf-8") || is("utf8") || is("ascii") || is("us-ascii") {
        return Ok(Encoding::Utf8);
    }
    if ["latin-1", "latin1", "iso-8859-1", "iso8859-1", "iso-latin-1", "l1", "cp819"].iter().any(|alias| is(alias)) {
        return Ok(Encoding::Latin1);
    }
    let label = match normal.strip_prefix("cp") {
        Some(page) if page.starts_with("125") => format!("windows-{page}"),
        Some("932") => "shift_jis".into(),
        Some("949") => "euc-kr".into(),
        Some("936") => "gbk".into(),
        _ => normal,
    };
    match encoding_rs::Encoding::for_label(label.as_bytes()) {
        Some(encoding) if encoding.is_ascii_compatible() => Ok(Encoding::Other(encoding)),
        _ => Err(DecodeError::UnknownEncoding(name.into())),
    }
}

/// The encoding's name in a comment of the first two lines. PEP 263's pattern:
/// `^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)`; the first line must be blank or a comment for the second to count.
fn cookie(bytes: &[u8]) -> Option<&str> {
    let mut lines = bytes.split(|&byte| byte == b'\n').take(2);
    let first = lines.next()?;
    cookie_of_line(first).or_else(|| {
        let trimmed = trim(first);
        let open = trimmed.is_empty() || trimmed.starts_with(b"#");
        open.then(|| lines.next().and_then(cookie_of_line)).flatten()
    })
}

fn cookie_of_line(line: &[u8]) -> Option<&str> {
    let comment = trim(line).strip_prefix(b"#")?;
    memchr::memmem::find_iter(comment, b"coding").find_map(|at| {
        let rest = &comment[at + b"coding".len()..];
        let rest = trim(rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b"="))?);
        let end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"-_.".contains(b))).unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).ok().filter(|name| !name.is_empty())
    })
}

fn trim(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !b" \t\x0c\r".contains(byte)).unwrap_or(line.len());
    &line[start..]
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
        assert_eq!(text(b"# coding: utf-8-unix\n'\xc3\xa9'").chars().nth_back(1), Some('é'));
    }

    #[test]
    fn offsets_are_those_of_the_bytes() {
        for (cookie, word) in
            [("latin-1", &b"\xe9\xe8"[..]), ("shift_jis", b"\x83e\x83X"), ("gbk", b"\xc4\xe3"), ("cp1252", b"\x80")]
        {
            let mut bytes = format!("# coding: {cookie}\nx = '").into_bytes();
            bytes.extend_from_slice(word);
            let end = bytes.len();
            bytes.extend_from_slice(b"' + y");
            let source = SourceText::decode(&bytes).unwrap();
            let at = source.text().find("' + y").unwrap();
            assert_eq!(source.byte_offset(TextOffset(at)), ByteOffset(end), "{cookie}");
            let word_again = &source.text()[source.text()[..at].rfind('\'').unwrap() + 1..at];
            let insertion = source.byte_insertion(&Insertion::new(TextOffset(at), word_again));
            assert_eq!((insertion.offset, insertion.content.as_slice()), (ByteOffset(end), word), "{cookie}");
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
