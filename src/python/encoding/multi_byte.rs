//! Codecs of East Asia in which a character is one byte or a sequence of them, and whose sequences are found without
//! knowing the character.

use std::ops::RangeInclusive;

use encoding_rs::Encoding;

/// Plane 15, for private use: a sequence of at most two bytes that encoding_rs does not know, or would not give back, is
/// the character of its number there.
const PAIRS: u32 = 0xF_0000;

/// Plane 16, the same for sequences of three bytes, by their last two.
const TRIPLES: u32 = 0x10_0000;

/// A codec.
#[derive(Debug)]
pub(super) struct MultiByte {
    characters: &'static Encoding,
    /// The bytes from 0x80 on that are characters of their own.
    single: &'static [RangeInclusive<u8>],
    /// The second byte of a pair.
    trail: RangeInclusive<u8>,
    /// Sequences that begin with this are three bytes long.
    three: Option<u8>,
    /// Sequences of which the second byte is a digit are four bytes long.
    four: bool,
}

impl MultiByte {
    /// The codec of a module of Python's `encodings`.
    pub(super) fn named(module: &str) -> Option<Self> {
        let with = |characters, single, trail| MultiByte { characters, single, trail, three: None, four: false };
        Some(match module {
            "shift_jis" => with(encoding_rs::SHIFT_JIS, &[0xa1..=0xdf], 0x40..=0xfc),
            "cp932" => with(encoding_rs::SHIFT_JIS, &[0x80..=0x80, 0xa0..=0xdf, 0xfd..=0xff], 0x40..=0xfc),
            "euc_jp" => MultiByte { three: Some(0x8f), ..with(encoding_rs::EUC_JP, &[], 0xa1..=0xfe) },
            "gb2312" => with(encoding_rs::GBK, &[], 0xa1..=0xfe),
            "gbk" => with(encoding_rs::GBK, &[], 0x40..=0xfe),
            "gb18030" => MultiByte { four: true, ..with(encoding_rs::GB18030, &[], 0x30..=0xfe) },
            "big5" | "cp950" | "big5hkscs" => with(encoding_rs::BIG5, &[], 0x40..=0xfe),
            "euc_kr" => with(encoding_rs::EUC_KR, &[], 0xa1..=0xfe),
            "cp949" => with(encoding_rs::EUC_KR, &[], 0x41..=0xfe),
            _ => return None,
        })
    }

    /// The length of the sequence that `bytes` begin with, or None where they begin with none.
    fn sequence(&self, bytes: &[u8]) -> Option<usize> {
        let first = *bytes.first()?;
        if first.is_ascii() || self.single.iter().any(|range| range.contains(&first)) {
            return Some(1);
        }
        let second = *bytes.get(1)?;
        let length = match () {
            () if Some(first) == self.three => 3,
            () if self.four && second.is_ascii_digit() => 4,
            () => 2,
        };
        (self.trail.contains(&second) && bytes.len() >= length).then_some(length)
    }

    /// The sequences of `bytes`, each with its text; the offset instead where they end in something else.
    fn sequences<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = Result<(&'b [u8], String), usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let Some(length) = self.sequence(rest) else {
                let wrong = at;
                at = bytes.len();
                return Some(Err(wrong));
            };
            at += length;
            Some(Ok((&rest[..length], self.text(&rest[..length]))))
        })
    }

    fn text(&self, sequence: &[u8]) -> String {
        let known = self.characters.decode_without_bom_handling_and_without_replacement(sequence);
        // One that cannot be encoded again, or that encoding_rs takes for two, is private, so that encoding gives these bytes
        // back and offsets keep their order.
        let known = known.filter(|text| text.chars().count() == 1 && self.characters.encode(text).0 == sequence);
        known.map_or_else(|| private(sequence).into(), Into::into)
    }

    /// The text of the bytes, or the place of the first that is in no sequence.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<String, usize> {
        let mut text = String::with_capacity(bytes.len());
        for sequence in self.sequences(bytes) {
            text.push_str(&sequence?.1);
        }
        Ok(text)
    }

    /// The bytes of a text that `decode` gave, or of ASCII.
    pub(super) fn encode(&self, text: &str) -> Vec<u8> {
        let mut buffer = [0; 4];
        text.chars().flat_map(|c| self.bytes(c.encode_utf8(&mut buffer), c)).collect()
    }

    fn bytes(&self, text: &str, character: char) -> Vec<u8> {
        match (u32::from(character), self.three) {
            (code @ TRIPLES.., Some(first)) => [&[first], &code.to_be_bytes()[2..]].concat(),
            (code @ PAIRS..TRIPLES, _) if code < PAIRS + 0x100 => vec![code.to_be_bytes()[3]],
            (code @ PAIRS..TRIPLES, _) => code.to_be_bytes()[2..].to_vec(),
            _ => self.characters.encode(text).0.into_owned(),
        }
    }

    /// For each of the sorted offsets in the text, the one in the bytes.
    pub(super) fn byte_offsets(&self, bytes: &[u8], offsets: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut sequences = self.sequences(bytes).map_while(Result::ok);
        let (mut in_text, mut in_bytes) = (0, 0);
        let byte_offset = |offset| {
            while in_text < offset {
                let Some((sequence, text)) = sequences.next() else { break };
                in_bytes += sequence.len();
                in_text += text.len();
            }
            in_bytes
        };
        offsets.map(byte_offset).collect()
    }
}

/// The private character for a sequence.
fn private(sequence: &[u8]) -> char {
    let plane = if sequence.len() > 2 { TRIPLES } else { PAIRS };
    let number = sequence.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) & 0xffff;
    char::from_u32(plane + number).unwrap_or(char::REPLACEMENT_CHARACTER)
}
