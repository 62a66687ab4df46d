//! A short campaign of each target: its seeds, mutated, and random input. It has no coverage to learn from as cargo-fuzz
//! does, and needs no compiler of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arbitrary::Unstructured;

use crate::choice::rule::Rule;
use crate::python::patch;
use crate::rust::patch as rust_patch;

/// How many seconds each target runs.
const SECONDS: &str = "NIXL_RETROFIT_FUZZ_SECONDS";
/// How many, without that variable.
const DEFAULT_SECONDS: u64 = 2;
/// Maximum length of random input: the generators rarely take more.
const MAX_RANDOM: usize = 600;

fn campaign(name: &str, target: fn(&[u8])) {
    let (seeds, tokens) = (seeds(name), tokens(if name == "rust" { "rust.dict" } else { "python.dict" }));
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_SECONDS);
    let until = Instant::now() + Duration::from_secs(seconds);
    // Reproducible up to the number of executions.
    let mut random = fastrand::Rng::with_seed(1);
    let mut executions = 0;
    while Instant::now() < until {
        guarded(name, target, &input(&mut random, &seeds, &tokens));
        executions += 1;
    }
    println!("{name}: {executions} executions in {seconds} s");
}

/// Keeps an input that the target panics on.
fn guarded(name: &str, target: fn(&[u8]), input: &[u8]) {
    if std::panic::catch_unwind(|| target(input)).is_err() {
        let file = std::env::temp_dir().join(format!("nixl-retrofit-fuzz-{name}"));
        fs::write(&file, input).unwrap();
        panic!("{name}: the input is in {}", file.display());
    }
}

fn input(random: &mut fastrand::Rng, seeds: &[Vec<u8>], tokens: &[Vec<u8>]) -> Vec<u8> {
    if random.bool() {
        return (0..random.usize(..MAX_RANDOM)).map(|_| random.u8(..)).collect();
    }
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..6) {
        mutate(&mut bytes, random, tokens);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng, tokens: &[Vec<u8>]) {
    let start = random.usize(..=bytes.len());
    let end = random.usize(start..=bytes.len().min(start + 40));
    let new = match random.u8(..4) {
        0 => Vec::new(),
        1 => vec![random.u8(..)],
        2 => tokens[random.usize(..tokens.len())].clone(),
        _ => bytes[start..end].repeat(2),
    };
    bytes.splice(start..end, new);
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(fuzz().join("seeds").join(name)).unwrap().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The strings of libFuzzer's dictionary, one a line in quotation marks; none of ours has an escaped character.
fn tokens(dictionary: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(fuzz().join(dictionary)).unwrap();
    assert!(text.is_ascii(), "libFuzzer refuses a dictionary with any other character");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(|token| token.as_bytes().to_vec()).collect()
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// A target, and its name.
type Named = (&'static str, fn(&[u8]));

const TARGETS: [Named; 5] = [
    ("source", super::source),
    ("rust", super::rust),
    ("record", super::record),
    ("marker", super::marker),
    ("encoding", super::encoding),
];

/// A tree can be as deep as its source is long.
fn on_large_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(crate::threads::STACK_BYTES);
    assert!(thread.spawn(work).unwrap().join().is_ok(), "see above");
}

#[test]
fn each_seed_holds() {
    on_large_stack(|| {
        for (name, target) in TARGETS {
            seeds(name).iter().for_each(|seed| guarded(name, target, seed));
        }
    });
}

#[test]
#[ignore = "takes as long as it may: tests/fuzz.sh"]
fn campaign_of_source() {
    on_large_stack(|| campaign("source", super::source));
}

#[test]
#[ignore = "takes as long as it may: tests/fuzz.sh"]
fn campaign_of_rust() {
    on_large_stack(|| campaign("rust", super::rust));
}

#[test]
#[ignore = "takes as long as it may: tests/fuzz.sh"]
fn campaign_of_record() {
    on_large_stack(|| campaign("record", super::record));
}

#[test]
#[ignore = "takes as long as it may: tests/fuzz.sh"]
fn campaign_of_marker() {
    on_large_stack(|| campaign("marker", super::marker));
}

#[test]
#[ignore = "takes as long as it may: tests/fuzz.sh"]
fn campaign_of_encoding() {
    on_large_stack(|| campaign("encoding", super::encoding));
}

#[test]
fn generated_modules_are_worth_their_time() {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut understood, mut changed) = (0, 0);
    for _ in 0..150 {
        let choices: Vec<u8> = (0..MAX_RANDOM).map(|_| random.u8(..)).collect();
        let module = super::grammar::module(&mut Unstructured::new(&choices)).unwrap();
        let plan = patch::plan(Path::new("module.py"), &module, &Rule::default(), None);
        understood += u32::from(plan.is_ok());
        changed += u32::from(plan.is_ok_and(|plan| plan.patched.is_some()));
    }
    println!("of 150 modules, {understood} are understood and {changed} change");
    assert!(understood > 120 && changed > 50, "{understood}, {changed}");
}

/// The files below a folder whose names end like this.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = ignore::WalkBuilder::new(folder).standard_filters(false).build().flatten();
    let files = entries.filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
    files.map(ignore::DirEntry::into_path).filter(|path| path.extension().is_some_and(|end| end == ending)).collect()
}

/// Cargo's registry has sources of every kind; a line is put before each, so that none is passed by.
#[test]
#[ignore = "takes minutes: tests/corpora.sh"]
fn every_rust_file_at_hand() {
    on_large_stack(|| {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"));
        let (mut understood, mut refused) = (0, Vec::new());
        for path in files(&home.join("registry/src"), "rs") {
            let source = [b"// NixlAgent\n", fs::read(&path).unwrap().as_slice()].concat();
            match rust_patch::plan(Path::new("m.rs"), &source, &Rule::default(), true) {
                Ok(_) => understood += 1,
                Err(error) => refused.push(format!("{}: {error}", path.display())),
            }
        }
        refused.iter().for_each(|line| println!("{line}"));
        println!("{understood} files are understood, {} are refused", refused.len());
        assert!(understood > 100 * refused.len(), "nearly all of them are Rust");
    });
}

/// A source with calls of NIXL put in before some lines outside of blocks: of NIXL's own module, and of names in the source.
fn with_calls(text: &str, random: &mut fastrand::Rng) -> String {
    let words = |pattern: &str| -> Vec<String> {
        let pattern = regex::Regex::new(pattern).unwrap();
        pattern.captures_iter(text).map(|found| found[1].to_string()).collect()
    };
    let names = [words(r"(?m)^(?:class|def) (\w+)"), words(r"(?m)^(\w+) = ")].concat();
    let attributes = words(r"\bself\.(\w+)");
    let mut written = "import nixl._api as api\nfrom nixl._api import nixl_agent\n".to_string();
    for line in text.split_inclusive('\n') {
        if line.starts_with(|first: char| first.is_alphabetic() || first == '@') && random.u8(..16) == 0 {
            let name = random.choice(&names).map_or("api", String::as_str);
            let attribute = random.choice(&attributes).map_or("api", String::as_str);
            written += &match random.u8(..6) {
                0 => "api.nixl_agent('a')\n".to_string(),
                1 => "def made(n):\n    return nixl_agent(n)\n".into(),
                2 => format!("agent = {name}.nixl_agent('a')\n"),
                3 => format!("class Made:\n    def made(self):\n        self.x = {name}.nixl_agent('a')\n"),
                4 => format!(
                    "class Made({name}):\n    def made(self):\n        return self.{attribute}.nixl_agent('a')\n"
                ),
                _ => format!("made = {name}.{attribute}.nixl_agent('a')\n"),
            };
        }
        written += line;
    }
    written
}

/// What is left out of a file does not change what is said of its calls.
#[test]
#[ignore = "takes minutes; FOLDERS names what to read, with colons"]
fn every_python_file_at_hand_with_calls() {
    on_large_stack(|| {
        let folders = std::env::var("FOLDERS").expect("FOLDERS is set");
        let mut random = fastrand::Rng::with_seed(1);
        let mut compared = 0;
        for path in folders.split(':').flat_map(|folder| files(Path::new(folder), "py")) {
            let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) else { continue };
            for _ in 0..4 {
                super::source::nothing_is_missed(&with_calls(&text, &mut random));
            }
            compared += 1;
        }
        println!("{compared} files, each four times");
        assert!(compared > 0);
    });
}
