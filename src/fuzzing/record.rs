//! RECORD.

use arbitrary::{Result, Unstructured};

use crate::environment::python::record::Record;

/// A line's fields.
type Row = Vec<Vec<u8>>;

/// The entries that are updated.
const ENTRIES: [&str; 6] = ["a.py", "a,b.py", "a\"b.py", "x/\u{e9}.py", "..\\a.py", "a b.py"];

/// An update changes its own line's hash and size and nothing else, and a second one changes nothing. The first byte chooses
/// the entry; an ASCII one is followed by a RECORD, any other by the choices of a generated one.
pub fn record(data: &[u8]) {
    let Some((control, rest)) = data.split_first() else { return };
    let entry = ENTRIES[usize::from(control & 7) % ENTRIES.len()];
    let generated = || generated(&mut Unstructured::new(rest), entry);
    let Ok(bytes) = (if control.is_ascii() { Ok(rest.to_vec()) } else { generated() }) else { return };
    let content = &rest[..rest.len() / 2];
    let before = Record { path: "RECORD".into(), bytes };
    before.entries_ending(entry.as_bytes());
    let Ok(bytes) = before.with_content(entry.as_bytes(), content) else { return };
    let after = Record { path: "RECORD".into(), bytes };
    let again = after.with_content(entry.as_bytes(), content).ok();
    let shown = before.bytes.escape_ascii();
    assert_eq!(again.as_ref(), Some(&after.bytes), "a second update of `{entry}` changes nothing in \"{shown}\"");
    let (old, new) = (rows(&before.bytes), rows(&after.bytes));
    assert_eq!(old.len(), new.len(), "no line comes or goes");
    for (old, new) in old.iter().zip(&new) {
        let is_entry = old.first().is_some_and(|path| path == entry.as_bytes());
        let same = |index: usize| old.get(index) == new.get(index);
        let kept = (0..old.len().max(new.len())).all(|index| same(index) || (is_entry && (index == 1 || index == 2)));
        assert!(kept, "only the entry's hash and size change");
    }
}

/// A RECORD with lines as installers write them, and some that they do not.
fn generated(choices: &mut Unstructured, entry: &str) -> Result<Vec<u8>> {
    let mut text = String::new();
    let newline = choices.choose(&["\n", "\r\n", "\r"])?;
    for _ in 0..choices.int_in_range(1..=6)? {
        let path = if choices.arbitrary()? { entry } else { choices.choose(&["z.py", "a", "b.py", "", "\u{fffd}"])? };
        let hash = choices.choose(&["", "sha256=abc", "sha512=", "md5=1", "sha256", "\"sha256=abc\"", " sha256=a"])?;
        let size = choices.choose(&["", "1", "\"1\"", "99999999999999999999", "1,extra", "sha256=abc,1"])?;
        let path = if path.contains([',', '"']) || choices.ratio(1, 4)? {
            format!("\"{}\"", path.replace('"', "\"\""))
        } else {
            path.to_string()
        };
        let end = if choices.ratio(1, 8)? { "" } else { newline };
        text.push_str(&format!("{path},{hash},{size}{end}"));
    }
    Ok(text.into_bytes())
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let records = reader.byte_records().filter_map(std::result::Result::ok);
    records.map(|record| record.iter().map(<[u8]>::to_vec).collect()).collect()
}
