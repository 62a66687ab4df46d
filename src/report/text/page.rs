//! What a text report is written on.

use std::fmt;
use std::io::Write;

use anstream::{AutoStream, ColorChoice};

/// The width of a terminal that nobody changed.
const COLUMNS: usize = 80;

/// A text report for one stream.
#[derive(Debug)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    color: ColorChoice,
}

impl Page {
    /// An empty page for a stream that takes these colours; not `Auto`, since memory is no terminal.
    pub(crate) fn new(color: ColorChoice) -> Page {
        Page { bytes: Vec::new(), color }
    }

    /// All of it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds text. Its escape sequences, a library's own ones too, are dropped if the stream takes no colours.
    pub(super) fn text(&mut self, text: fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = AutoStream::new(&mut self.bytes, self.color).write_fmt(text);
    }

    /// Adds a line of text.
    pub(super) fn line(&mut self, text: fmt::Arguments<'_>) {
        self.text(format_args!("{text}\n"));
    }

    /// Adds a text in lines of at most 80 columns; the first begins with `start`.
    pub(super) fn wrapped(&mut self, start: &str, text: &str) {
        let options =
            textwrap::Options::new(COLUMNS).initial_indent(start).subsequent_indent("    ").break_words(false);
        for line in textwrap::wrap(text, options) {
            self.line(format_args!("{line}"));
        }
    }

    /// Adds a file's bytes, whatever their encoding and whatever escape sequences they hold.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}
