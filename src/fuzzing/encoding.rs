//! Text and bytes of a source.

use crate::python::encoding::SourceText;
use crate::source::edit::{self, Insertion};
use crate::source::offset::TextOffset;

const COOKIES: [&str; 16] = [
    "",
    "utf-8",
    "latin-1",
    "iso-8859-15",
    "cp1252",
    "koi8-r",
    "shift_jis",
    "euc-jp",
    "iso-2022-jp",
    "gbk",
    "gb18030",
    "big5",
    "euc-kr",
    "cp437",
    "mac-roman",
    "utf-7",
];

/// Offsets in the text are offsets in the bytes, in order, and what is inserted into the bytes is inserted into the text. The
/// first byte chooses the encoding; the others are a source that declares it.
pub fn encoding(data: &[u8]) {
    let Some((control, rest)) = data.split_first() else { return };
    let bytes = declared(COOKIES[usize::from(*control) % COOKIES.len()], !control.is_ascii(), rest);
    let Ok(source) = SourceText::decode(&bytes) else { return };
    let text = source.text();
    let boundaries: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
    let mut offsets: Vec<usize> = boundaries.iter().copied().take(200).chain([text.len()]).collect();
    offsets.dedup();
    let offsets: Vec<TextOffset> = offsets.into_iter().map(TextOffset).collect();
    let mapped: Vec<usize> = source.byte_offsets(&offsets).into_iter().map(|offset| offset.0).collect();
    assert!(mapped.is_sorted_by(|one, next| one < next), "offsets keep their order");
    assert_eq!(mapped.last(), Some(&bytes.len()), "the end is the end");
    // Before that, what is inserted may be or move the cookie.
    let newlines = text.match_indices(['\n', '\r']).map(|(at, _)| at + 1);
    let Some(free) = newlines.take(4).last().filter(|_| text.matches(['\n', '\r']).count() >= 4) else { return };
    for &at in boundaries.iter().filter(|&&at| at >= free).take(50) {
        let insertion = Insertion::new(TextOffset(at), "_x = 'UCX'");
        let alone = std::slice::from_ref(&insertion);
        let (_, inserted) = source.insert(alone);
        assert!(edit::leaves(&inserted, &source.byte_spans(alone), &bytes), "what is inserted can be removed");
        let again = SourceText::decode(&inserted).expect("what was written is text");
        assert_eq!(again.text(), edit::insert(text, &[insertion]), "what is inserted is inserted there");
    }
}

fn declared(cookie: &str, has_mark: bool, rest: &[u8]) -> Vec<u8> {
    let mark: &[u8] = if has_mark { b"\xef\xbb\xbf" } else { b"" };
    let first = if cookie.is_empty() { String::new() } else { format!("# coding: {cookie}\n\n\n\n") };
    [mark, first.as_bytes(), rest].concat()
}
