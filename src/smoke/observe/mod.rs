//! What a running library states about what carries the bytes, and what a worker prints.
#![forbid(unsafe_code)]

pub(crate) mod complaint;
pub(crate) mod libfabric;
pub(crate) mod origin;
pub(crate) mod output;
pub(crate) mod statement;
pub(crate) mod ucx;

/// The printable characters of a library's text, `most` at most: control and direction characters could drive the reader's
/// terminal.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let misleads =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().filter(|c| !c.is_control() && !misleads(*c)).take(most).collect()
}
