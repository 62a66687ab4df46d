//! Which codec a name means, as Python looks it up.

use super::multi_byte::MultiByte;
use super::single_byte::SingleByte;

/// A line for each module of Python's `encodings`, with its aliases; printed by tests/codecs.py.
const ALIASES: &str = include_str!("aliases.txt");

/// The modules that decode bytes to bytes or text to text.
const NO_TEXT: &[&str] =
    &["base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"];

/// A codec that keeps ASCII as it is, and each other character in bytes of its own.
#[derive(Debug)]
pub(super) enum Codec {
    /// UTF-8.
    Utf8,
    /// Each byte is a character.
    SingleByte(SingleByte),
    /// A byte or a sequence of bytes is a character.
    MultiByte(MultiByte),
}

/// Why a name gives no codec.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoCodec {
    /// Python does not know the name.
    Unknown,
    /// The codec of this name does not decode bytes to text.
    NoText(&'static str),
    /// Offsets in the text of this codec do not follow from its bytes one by one, or ASCII is something else in it.
    Unsupported(&'static str),
}

/// The name as CPython's tokenizer has it (`get_normal_name`): it knows some spellings of UTF-8 and Latin-1 itself.
pub(super) fn tokenizer_name(name: &str) -> &str {
    let start: String = name.chars().take(12).map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect();
    let is = |known: &str| start.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if is("utf-8") {
        return "utf-8";
    }
    if ["latin-1", "iso-8859-1", "iso-latin-1"].into_iter().any(is) { "iso-8859-1" } else { name }
}

/// The codec that a cookie names.
///
/// # Errors
/// Where there is none that this program can use.
pub(super) fn named(name: &str) -> Result<Codec, NoCodec> {
    let name = tokenizer_name(name);
    if name == "utf-8" {
        return Ok(Codec::Utf8);
    }
    let module = module(name).ok_or(NoCodec::Unknown)?;
    if matches!(module, "utf_8" | "utf_8_sig") {
        return Ok(Codec::Utf8);
    }
    if NO_TEXT.contains(&module) {
        return Err(NoCodec::NoText(module));
    }
    let single = SingleByte::named(module).map(Codec::SingleByte);
    single.or_else(|| MultiByte::named(module).map(Codec::MultiByte)).ok_or(NoCodec::Unsupported(module))
}

/// The module of Python's `encodings` for a name (`encodings.search_function`).
fn module(name: &str) -> Option<&'static str> {
    let normal = Some(normalize(name)).filter(|normal| !normal.is_empty())?;
    let dotless = normal.replace('.', "_");
    let modules = || ALIASES.lines().filter_map(|line| line.split_once(' ').or(Some((line, ""))));
    let of = |wanted: &str| {
        let mut aliased = modules().filter(|(_, aliases)| aliases.split(' ').any(|alias| alias == wanted));
        aliased.next().map(|(module, _)| module)
    };
    let itself = || modules().map(|(module, _)| module).find(|module| *module == normal);
    of(&normal).or_else(|| of(&dotless)).or_else(itself)
}

/// `encodings.normalize_encoding`: runs of other characters than letters, digits and dots become one underscore, those at
/// the ends none. Letters are lower case, by `codecs.lookup`.
fn normalize(name: &str) -> String {
    let words = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_as_python_does() {
        for (name, expected) in [
            ("u8", "utf_8"),
            ("Latin_1", "latin_1"),
            ("l1", "latin_1"),
            ("iso_8859.15", "iso8859_15"),
            ("-MacRoman-", "mac_roman"),
            ("hp-roman8", "hp_roman8"),
            ("--IBM437", "cp437"),
            ("rot13", "rot_13"),
        ] {
            assert_eq!(module(name), Some(expected), "{name}");
        }
        for name in ["latin.1", "utf8-unix", "klingon", "aliases", "mbcs", ""] {
            assert_eq!(module(name), None, "{name}");
        }
        assert_eq!(tokenizer_name("Latin-1-Unix"), "iso-8859-1");
        assert_eq!(tokenizer_name("UTF_8_sig"), "utf-8");
        assert_eq!(tokenizer_name("utf8"), "utf8");
    }
}
