//! Syntax that rustpython-parser does not know, or reads otherwise than Python: every call in it is found in its place.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;

use common::*;

const IMPORT: &str = "from nixl._api import nixl_agent\n";

/// The calls that `check` reports, by line and column.
fn sites(source: &[u8]) -> Vec<(u64, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.py");
    fs::write(&file, source).unwrap();
    let (_, document) = run_json(["check".as_ref(), file.as_os_str()]);
    assert_eq!(document["error"], serde_json::Value::Null, "{}", String::from_utf8_lossy(source));
    let sites = document["files"][0]["sites"].as_array().unwrap();
    sites.iter().map(|site| (site["line"].as_u64().unwrap(), site["column"].as_u64().unwrap())).collect()
}

/// Where a source has `nixl_agent(`, by line and column in characters.
fn calls(source: &str) -> Vec<(u64, u64)> {
    let place = |(at, _): (usize, &str)| {
        let before = source[..at].replace("\r\n", "\n").replace('\r', "\n");
        let line = before.rsplit('\n').next().unwrap();
        (before.matches('\n').count() as u64 + 1, line.chars().count() as u64 + 1)
    };
    source.match_indices("nixl_agent(").map(place).collect()
}

#[track_caller]
fn finds_every_call(statement: &str) {
    let source = format!("{IMPORT}{statement}");
    assert_eq!(sites(source.as_bytes()), calls(&source), "{source}");
}

#[test]
fn calls_in_formatted_strings() {
    for statement in [
        "x = f\"{nixl_agent('a')}\"",
        "x = f\"{nixl_agent('a')=}\"",
        "x = f\"{ nixl_agent('a') = !r:>{nixl_agent('b')}}\"",
        "x = f'{nixl_agent('a')}'",
        "x = f'{f'{f'{nixl_agent('a')}'}'}'",
        "x = f'é{nixl_agent('é')}é' 'é' f'{nixl_agent('b')}' rf'\\{nixl_agent('c')}'",
        "x = ('a'\n  # comment\n  f'{nixl_agent('a')}' 'b'\n  f'c' f'{nixl_agent('b')}')",
        "x = f'''{\n  nixl_agent('a')  # it's a comment }\n  !r}\n{nixl_agent('b')}'''",
        "x = f'''\r\n\r\n{nixl_agent('a')}\r\n'''\r\n",
        "x = f'{'\\n'.join([nixl_agent('a')])}'",
        "x = f\"{'''x'''}{nixl_agent('a')}\"",
        "x = f'{{{nixl_agent('a')}}}' f'{ {1: nixl_agent('b')}[1] }'",
        "x = f'\\N{DIGIT ONE}{nixl_agent('a')}' '\\N{LINE FEED}'",
        "x = f'{(lambda: nixl_agent('a'))()!s:^{nixl_agent('b')}.{nixl_agent('c')}}'",
        "x = f'{nixl_agent('a'), *nixl_agent('b')}'",
        "def f():\n    return f'{yield nixl_agent('a')}'",
        "x = F'{x:%H:%M}{nixl_agent('a')}{y!r}'",
        "x = t'{nixl_agent('a')!r:>{nixl_agent('b')}}' Rt'{nixl_agent('c')}'",
    ] {
        finds_every_call(statement);
    }
}

#[test]
fn calls_beside_newer_syntax() {
    for statement in [
        "try: nixl_agent('a')\nexcept A, B: nixl_agent('b')",
        "try: nixl_agent('a')\nexcept* A, (B, C), D: nixl_agent('b')",
        "class A[T = int, *Ts = *tuple[int], **P = [str]]:\n    x = nixl_agent('a')",
        "def f[T: str = int](x=nixl_agent('a')): pass",
        "async def f[T = int](x): return nixl_agent('a')",
        "if x: type X[T = int] = list[T]; nixl_agent('a')",
        "match = nixl_agent('a'); match.x: int = nixl_agent('b')",
        "match x:\n    case nixl.y | 1: type = nixl_agent('a')\n    case match: case = nixl_agent('b')",
    ] {
        finds_every_call(statement);
    }
}

#[test]
fn calls_between_odd_blanks() {
    for statement in [
        "if x:\n    \tnixl_agent('a')\n    \tnixl_agent('b')\n",
        "if x:\n\x0c    nixl_agent('a')\n",
        "x = 1; \\\nnixl_agent('a')",
        "@ \\\nf\ndef g(): return nixl_agent('a')",
        "@ ( # @\n  # @\n  f)\ndef g(): return nixl_agent('a')",
        "if x:\n    \\\n  nixl_agent('a')\n    nixl_agent('b')\n",
        "# a comment\rnixl_agent('a')\r\rif x:\r\n    nixl_agent('b')\r",
        "'''\r''';  nixl_agent('a')",
    ] {
        finds_every_call(statement);
    }
}

#[test]
fn names_are_those_that_python_reads() {
    let source = "from nixl._api import ｎixl_agent\nx = nixl_agent('a')\n𝐝𝐞𝐟 = ｎixl_agent('b')\n";
    assert_eq!(sites(source.as_bytes()), [(2, 5), (3, 7)]);
}

#[test]
fn calls_in_every_encoding() {
    for (cookie, word) in [
        ("utf-8", &b"\xc3\xa9"[..]),
        ("u8", b"\xc3\xa9"),
        ("Latin_1", b"\xe9"),
        ("cp437", b"\x82"),
        ("mac-roman", b"\x8e"),
        ("koi8-r", b"\xc1"),
        ("hp-roman8", b"\xc5"),
        ("cp1252", b"\xe9"),
        ("cp932", b"\x83\x5c"),
        ("gb18030", b"\x81\x30\x81\x30"),
        ("euc_jp", b"\x8f\xb0\xa1"),
    ] {
        let head = format!("# coding: {cookie}\n{IMPORT}x = '");
        let bytes = [head.as_bytes(), word, b"'; y = nixl_agent('a')\n"].concat();
        assert_eq!(sites(&bytes), [(3, 14)], "{cookie}");
    }
}

/// The error of `check` for a source.
fn error(source: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.py");
    fs::write(&file, source).unwrap();
    let output = run(["check".as_ref(), file.as_os_str()]);
    assert_eq!(status(&output), 2, "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn encodings_that_cannot_be_edited_are_named() {
    for (source, words) in [
        (&b"# coding: utf-7\nx = 1\n"[..], "`utf_7`, an encoding in which nixl-retrofit cannot edit"),
        (b"# coding: cp037\nx = 1\n", "`cp037`"),
        (b"# coding: rot13\nx = 1\n", "`rot_13`, which does not decode bytes to text"),
        (b"# coding: klingon\nx = 1\n", "the unknown encoding `klingon`"),
        (b"\xef\xbb\xbf# coding: latin-1\nx = 1\n", "a UTF-8 byte-order mark, but its coding cookie names `latin-1`"),
        (b"# coding: ascii\n\nx = '\xe9'\n", "line 3: byte 0xe9 is not valid ascii"),
        (b"# coding: cp1252\nx = '\x81'\n", "line 2: byte 0x81 is not valid cp1252"),
    ] {
        let error = error(source);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn syntax_errors_have_their_place() {
    for (source, words) in [
        ("x = 1\ny = (1,\n  [2)\n", "m.py:3:5: `)` closes no bracket"),
        ("x = 1\rx = $\n", "m.py:2:5: invalid character `$`"),
        ("é = “a”\n", "m.py:1:5: invalid character `“` (U+201C)"),
        ("if x:\n        y\n    z\n", "m.py:3:5: unindent does not match any outer indentation level"),
        ("if x:\n\ty\n        z\n", "m.py:3:9: inconsistent use of tabs and spaces"),
        ("x = f'{y:'\n", "m.py:1:10: f-string: expecting `}`"),
        ("x = f'{y'\n", "m.py:1:9: unterminated string literal"),
        ("x = f'{}'\n", "m.py:1:7: f-string: valid expression required before `}`"),
        ("x = f'}'\n", "m.py:1:7: f-string: single `}` is not allowed"),
        ("x = 'a\n'\n", "m.py:1:5: unterminated string literal"),
        ("x = 007\n", "m.py:1:5: leading zeros"),
    ] {
        let error = error(source.as_bytes());
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("bug in"), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused_in_words() {
    let many = 40_000;
    for (source, words) in [
        ("(".repeat(201) + &")".repeat(201), "more than 200 open brackets"),
        ((0..151).fold("1".to_string(), |inner, _| format!("f'{{{inner}}}'")), "nested too deeply"),
        (format!("x = {}1", "-".repeat(many)), "more than 30000 nested operators"),
        (format!("x = a{}", ".b".repeat(many)), "more than 30000 nested operators"),
        (format!("x = {}1", "lambda: ".repeat(many)), "more than 30000 nested operators"),
        (format!("if x: y\n{}", "elif x: y\n".repeat(many)), "more than 30000 nested operators"),
        ((0..101).map(|depth| " ".repeat(depth) + "if x:\n").collect(), "too many levels of indentation"),
    ] {
        let error = error(source.as_bytes());
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn what_is_long_but_flat_is_read() {
    let many = 10_000;
    for long in [
        "f(-1, a.b); ".repeat(many),
        format!("x = [{}]", "-a.b, ".repeat(many)),
        format!("x = {}1", "a or ".repeat(many)),
        format!("x = {}1", "-".repeat(many)),
        format!("x = {}", "9".repeat(many)),
        format!("x = '{}'", "\\N{".repeat(many)),
        format!("x = ({})", "f'{y}' ".repeat(many)),
        "f(-1, a.b)\n".repeat(many),
    ] {
        let source = format!("{IMPORT}nixl_agent('a')\n{long}\n");
        assert_eq!(sites(source.as_bytes()), [(2, 1)], "{}", &long[..40]);
    }
}
