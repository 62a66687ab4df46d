//! The marker.

use arbitrary::{Result, Unstructured};

use crate::source::edit::{self, Insertion};
use crate::source::marker::{self, Comment, Marker};
use crate::source::offset::ByteOffset;

/// The version that the markers carry.
const VERSION: &str = "0.0.0";

/// A marker never yields bytes with another hash than the one it names, and one that was written is found again.
pub fn marker(data: &[u8]) {
    honest(data);
    let mut choices = Unstructured::new(data);
    let Ok((original, mut patched)) = patched(&mut choices) else { return };
    let found = Marker::all(&patched, Comment::Hash).into_iter().find_map(|(_, marker)| marker.original(&patched));
    // The original may have a marker of its own before the one that was written.
    if memchr::memmem::find(&original, b"# >>> nixl-retrofit ").is_none() {
        assert_eq!(found.as_ref(), Some(&original), "what was written is found again");
    }
    while let (Ok(at), Ok(byte)) = (choices.choose_index(patched.len()), choices.arbitrary()) {
        if choices.is_empty() {
            break;
        }
        patched[at] = byte;
        honest(&patched);
    }
}

fn honest(bytes: &[u8]) {
    for (_, marker) in Marker::all(bytes, Comment::Hash) {
        if let Some(original) = marker.original(bytes) {
            assert_eq!(marker::sha256(&original), marker.sha256, "the original has the hash that the marker names");
            assert!(original.len() <= bytes.len(), "nothing is added");
        }
    }
}

/// An original, and the same with a marker and other insertions.
fn patched(choices: &mut Unstructured) -> Result<(Vec<u8>, Vec<u8>)> {
    let original = choices.arbitrary::<&[u8]>()?.to_vec();
    let line_starts: Vec<usize> =
        std::iter::once(0).chain(memchr::memchr_iter(b'\n', &original).map(|at| at + 1)).collect();
    let helper = ByteOffset(*choices.choose(&line_starts)?);
    let mut insertions = Vec::new();
    for _ in 0..choices.int_in_range(0..=4)? {
        // Where the marker is, another insertion might take the start of its line.
        let offset = choices.int_in_range(0..=original.len())?;
        if offset != helper.0 {
            insertions.push(Insertion::new(ByteOffset(offset), choices.arbitrary::<&[u8]>()?));
        }
    }
    insertions.sort_by_key(|insertion| insertion.offset);
    let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
    let text = |length| {
        let span = edit::InsertedSpan { offset: helper, length };
        marker::lines(Comment::Hash, VERSION, "default=UCX", &marker::sha256(&original), span, &spans)
    };
    let text = text(text(0).len());
    let at = insertions.partition_point(|insertion| insertion.offset < helper);
    // An insertion that ends in the middle of a line, or has a marker of its own, would hide this one.
    let before = insertions[..at].iter().map(|insertion| insertion.content.as_slice());
    if before.clone().any(|content| memchr::memmem::find(content, b"# >>>").is_some()) {
        return Err(arbitrary::Error::IncorrectFormat);
    }
    insertions.insert(at, Insertion::new(helper, text.into_bytes()));
    Ok((original.clone(), edit::insert(original.as_slice(), &insertions)))
}
