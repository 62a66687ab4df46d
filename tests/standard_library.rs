//! The rewrite on several hundred files that nobody wrote for it: the standard library of the machine's own Python, its
//! test suite's odd encodings and syntax included, each with a call to rewrite at its end.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::*;

/// Writes every so-manieth file of the standard library that compiles, with a call at its end, into a folder.
const COLLECT: &str = r#"
import os, sys, sysconfig, warnings
warnings.simplefilter("ignore")
folder, step = sys.argv[1], int(sys.argv[2])
def compiles(source):
    try:
        compile(source, "source", "exec", dont_inherit=True)
    except Exception:
        return False
    return True
found = []
for place, _, names in os.walk(sysconfig.get_paths()["stdlib"]):
    if "site-packages" not in place and "dist-packages" not in place:
        found += [os.path.join(place, name) for name in names if name.endswith(".py")]
for number, path in enumerate(sorted(found)[::step]):
    source = open(path, "rb").read()
    newline = b"\r\n" if b"\r\n" in source else b"\n"
    lines = [b"", b"import nixl._api as _n", b"def _f(x=_n.nixl_agent('a')):", b"    return [_n.nixl_agent(y) for y in x]", b""]
    both = source.rstrip(b"\\ \t") + newline.join(lines)
    if compiles(source) and compiles(both):
        open(os.path.join(folder, "f%d.py" % number), "wb").write(both)
"#;

/// Says which files do not compile, or do not call the helper twice.
const JUDGE: &str = r#"
import os, sys, warnings
warnings.simplefilter("ignore")
for name in sorted(os.listdir(sys.argv[1])):
    source = open(os.path.join(sys.argv[1], name), "rb").read()
    try:
        compile(source, name, "exec", dont_inherit=True)
    except Exception as error:
        print(name, error)
    if source.count(b"_nixl_retrofit_backends()") != 2:
        print(name, "is not rewritten")
"#;

#[test]
fn every_file_is_rewritten_compiles_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    python(&["-c", COLLECT, &path, "5"]);
    let before = snapshot(folder.path());
    assert!(before.len() > 100, "only {} files", before.len());
    let files: Vec<PathBuf> = before.iter().map(|(path, _)| path.clone()).collect();
    for group in files.chunks(50) {
        let output = program().args(["apply", "--smoke=off", "-q"]).args(group).output().unwrap();
        assert_eq!(status(&output), 0, "{}", stderr(&output));
    }
    assert_eq!(python(&["-c", JUDGE, &path]), "");
    for group in files.chunks(50) {
        let output = program().args(["revert", "-q"]).args(group).output().unwrap();
        assert_eq!(status(&output), 0, "{}", stderr(&output));
    }
    for (path, bytes) in before {
        assert_eq!(fs::read(&path).unwrap(), bytes, "{}", path.display());
    }
}
