//! Codecs against those of the Python on PATH: every byte, and every pair of bytes.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::process::Command;

use super::codec::{self, Codec};
use super::{DecodeError, SourceText};
use crate::source::offset::{ByteOffset, TextOffset};

/// Prints a line for each codec: its name, and what each byte (or each sequence that starts outside ASCII) decodes to,
/// with its bytes in hexadecimal.
const CHARACTERS: &str = r#"
import sys
single = sys.argv[1] == "1"
heads = [bytes([a]) for a in range(128, 256)]
for name in sys.argv[2:]:
    def text(b):
        try: return b.decode(name)
        except UnicodeDecodeError: return None
    found = [(b, text(b)) for b in heads]
    if not single:
        found += [(h + bytes([t]), text(h + bytes([t]))) for h, alone in found if alone is None for t in range(48, 255)]
    print(name, *(f"{b.hex()}={ord(t):x}" for b, t in found if t and len(t) == 1))
"#;

/// A codec's name, and its sequences of bytes with their characters.
type Characters = (String, Vec<(Vec<u8>, char)>);

fn characters(single: bool, names: &[&str]) -> Vec<Characters> {
    let mut python = Command::new("python3");
    python.args(["-I", "-c", CHARACTERS, if single { "1" } else { "2" }]).args(names);
    let output = String::from_utf8(python.output().unwrap().stdout).unwrap();
    let character = |word: &str| {
        let (bytes, code) = word.split_once('=').unwrap();
        let digits = bytes.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        (bytes, char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap())
    };
    let line = |line: &str| {
        let mut words = line.split(' ');
        (words.next().unwrap().to_string(), words.map(character).collect())
    };
    output.lines().map(line).collect()
}

#[test]
fn every_byte_of_a_single_byte_codec_is_pythons() {
    let tables = include_str!("single_byte.txt").lines();
    let names: Vec<&str> = tables.map(|line| line.split(' ').next().unwrap()).collect();
    for (name, characters) in characters(true, &names) {
        let Ok(Codec::SingleByte(codec)) = codec::named(&name) else { panic!("{name}") };
        for byte in 0x80..=0xff_u8 {
            let expected = characters.iter().find(|(bytes, _)| bytes[..] == [byte]).map(|(_, character)| *character);
            assert_eq!(codec.decode(&[byte]).ok().and_then(|text| text.chars().next()), expected, "{name} {byte:x}");
        }
        for (bytes, character) in characters {
            let again = codec.decode(&[codec.encode(character).unwrap()]).unwrap();
            assert_eq!(again, codec.decode(&bytes).unwrap(), "{name}");
        }
    }
}

#[test]
fn every_sequence_of_a_multi_byte_codec_has_pythons_length() {
    let names =
        ["shift_jis", "cp932", "euc_jp", "gb2312", "gbk", "gb18030", "big5", "cp950", "big5hkscs", "euc_kr", "cp949"];
    for (name, characters) in characters(false, &names) {
        assert!(characters.len() > 60, "{name}: {}", characters.len());
        let mut bytes = format!("# coding: {name}\n").into_bytes();
        let mut ends = Vec::new();
        for (sequence, _) in &characters {
            bytes.extend_from_slice(sequence);
            ends.push(ByteOffset(bytes.len()));
            bytes.push(b'\n');
        }
        let source = SourceText::decode(&bytes).unwrap();
        let lines: Vec<usize> = source.text().match_indices('\n').map(|(at, _)| at).skip(1).collect();
        let offsets: Vec<TextOffset> = lines.iter().map(|at| TextOffset(*at)).collect();
        assert_eq!(source.byte_offsets(&offsets), ends, "{name}");
        let all: String = source.text().into();
        assert_eq!(source.encode(&all), bytes, "{name}");
    }
}

/// Sources, as Python's bytes literals and Rust's.
const SOURCES: &[&[u8]] = &[
    b"\xef\xbb\xbf# coding: utf8\nx=1",
    b"\xef\xbb\xbf# coding: utf-8-sig\nx=1",
    b"\xef\xbb\xbf# coding: UTF_8\nx='\xc3\xa9'",
    b"\xef\xbb\xbf\n# coding: latin-1\nx=1",
    b"# coding: utf_8_sig\nx='\xc3\xa9'",
    b"\r# coding: latin-1\rx='\xe9'",
    b"# a\r# coding: latin-1\rx='\xe9'",
    b"\x0c# coding: latin-1\nx='\xe9'",
    b"#coding:latin-1-unix\nx='\xe9'",
    b"#coding:latin1-unix\nx='\xe9'",
    b"#coding:utf8-unix\nx='\xc3\xa9'",
    b"#coding:Latin_1\nx='\xe9'",
    b"#coding:latin.1\nx='\xe9'",
    b"#coding:iso_8859.15\nx='\xe9'",
    b"#coding:-latin--1-\nx='\xe9'",
    b"#coding:rot13\nx='\xe9'",
    b"#coding:cp1252\nx='\x81'",
    b"#coding:charmap\nx='\xe9'",
    b"#coding:mbcs\nx=1",
    b"#coding=latin-1",
    b"# coding : latin-1\n'\xe9'",
    b"# xcoding: foo coding: latin-1\n'\xe9'",
    b"# coding: coding: latin-1\n'\xe9'",
    b"\\\n# coding: latin-1\n'\xe9'",
    b"# \xe9\n# coding: latin-1\n",
    b"\n\n# coding: latin-1\n'\xe9'",
    b"#coding:ascii\n'\xe9'",
    b"#coding:iso-8859-1-foo\n'\xe9'",
    b"#coding:UTF8\n'\xe9'",
    b"# coding: utf-8foo\n'a'",
    b"x=1\r# coding: klingon",
    b"#coding:-\nx=1",
    b"#coding:shift_jis\n'\x83'",
];

#[test]
fn cookies_are_read_as_python_does() {
    const ACCEPTED: &str = r#"
import sys
for source in sys.argv[1:]:
    try: compile(bytes.fromhex(source), "", "exec"); print(1)
    except SyntaxError: print(0)
"#;
    let hexadecimal = |source: &&[u8]| source.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let output =
        Command::new("python3").args(["-I", "-c", ACCEPTED]).args(SOURCES.iter().map(hexadecimal)).output().unwrap();
    let accepted = String::from_utf8(output.stdout).unwrap();
    assert_eq!(accepted.lines().count(), SOURCES.len());
    for (source, accepted) in SOURCES.iter().zip(accepted.lines()) {
        let ours = SourceText::decode(source).map(|source| source.text().to_string());
        assert_eq!(ours.is_ok(), accepted == "1", "{}: {ours:?}", String::from_utf8_lossy(source));
        assert!(!matches!(ours, Err(DecodeError::Unsupported(_))), "{ours:?}");
    }
}
