//! Names from outside as a part of one printed line.

use std::ffi::OsStr;
use std::fmt::{self, Display, Write};

/// What may be shown as a part of one line.
pub(crate) trait Shown {
    /// The name, with an escape such as `\n` or `\u{202e}` for each character that would end the line, drive the reader's
    /// terminal or change the order of the text. What is no UTF-8 has replacement characters.
    fn shown(&self) -> impl Display;
}

impl<T: AsRef<OsStr> + ?Sized> Shown for T {
    fn shown(&self) -> impl Display {
        Escaped(self.as_ref())
    }
}

struct Escaped<'a>(&'a OsStr);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string_lossy().chars() {
            if is_printable(character) {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_debug())?;
            }
        }
        Ok(())
    }
}

/// Whether a character neither controls a terminal nor changes the direction or the lines of a text (Unicode's Bidi_Control,
/// and its line and paragraph separators).
pub(crate) fn is_printable(character: char) -> bool {
    let changes_direction = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !character.is_control() && !changes_direction
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_name_stays_one_line_in_its_own_order() {
        let shown = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).shown().to_string();
        assert_eq!(shown("/opt/größe «x» \\n's.py".as_bytes()), "/opt/größe «x» \\n's.py");
        assert_eq!(shown(b"/a\nb\r\x1b[31m\x07"), r"/a\nb\r\u{1b}[31m\u{7}");
        assert_eq!(shown("\u{202e}\u{2066}\u{2028}\u{85}".as_bytes()), r"\u{202e}\u{2066}\u{2028}\u{85}");
        assert_eq!(shown(b"\xff.py"), "\u{fffd}.py");
    }
}
