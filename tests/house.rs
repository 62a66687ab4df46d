//! The walls of the house: which room may know which, no circles between files, where `unsafe` is, and who prints and exits.
//! The tables are in `house/rules.rs`. What was counted: `cargo test --test house the_house_stands -- --nocapture`.

#[path = "house/check.rs"]
mod check;
#[path = "house/circles.rs"]
mod circles;
#[path = "house/modules.rs"]
mod modules;
#[path = "house/names.rs"]
mod names;
#[path = "house/rules.rs"]
mod rules;
#[path = "house/safety.rs"]
mod safety;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use check::{Report, Rule, check};
use tempfile::TempDir;

#[test]
fn the_house_stands() {
    let report = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    println!("{} files, {} imports, {} circles", report.files, report.imports, report.circles);
    for knot in &report.knots {
        println!("{} files that each lead to each: {}", knot.len(), knot.join(", "));
    }
    let mut lines: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    lines.extend(report.idle_exceptions.iter().map(|row| {
        format!("src/{}: no `{}` there; drop its row in tests/house/rules.rs ({})", row.file, row.what, row.why)
    }));
    assert!(lines.is_empty(), "{} violations\n{}", lines.len(), lines.join("\n"));
}

/// Writes a small tree and checks it. Each file's parent declares it, after its own lines.
fn checked(files: &[(&str, &str)]) -> Report {
    let folder = TempDir::new().expect("a temporary folder");
    let mut texts: BTreeMap<String, String> =
        files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    let mut declared = BTreeSet::new();
    for path in texts.keys() {
        let module = path.strip_suffix(".rs").expect("a Rust file");
        let module = module.strip_suffix("/mod").unwrap_or(module);
        let mut parent = String::new();
        for name in module.split('/').filter(|name| !["lib", "main"].contains(name)) {
            let file = if parent.is_empty() { "lib.rs".into() } else { format!("{parent}mod.rs") };
            declared.insert((file, name.to_string()));
            parent = format!("{parent}{name}/");
        }
    }
    for (file, name) in declared {
        texts.entry(file).or_default().push_str(&format!("\nmod {name};\n"));
    }
    for (path, text) in texts {
        write(folder.path(), &path, &text);
    }
    check(folder.path())
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

#[track_caller]
fn violations(files: &[(&str, &str)], rule: Rule) -> Vec<String> {
    let report = checked(files);
    let other: Vec<_> = report.violations.iter().filter(|found| found.rule != rule).collect();
    assert!(other.is_empty(), "only {rule:?} was to be violated: {other:?}");
    report.violations.iter().map(ToString::to_string).collect()
}

/// Each of these is one violation, and nothing else is.
#[track_caller]
fn found(files: &[(&str, &str)], rule: Rule, expected: &[&str]) {
    assert_eq!(violations(files, rule), expected);
}

#[track_caller]
fn nothing_found(files: &[(&str, &str)]) {
    let lines: Vec<String> = checked(files).violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}

const VERDICT: (&str, &str) = ("smoke/judge/verdict.rs", "pub struct Verdict;\npub fn passed() {}\n");

#[test]
fn a_clean_tree_passes() {
    let report = checked(&[
        ("lib.rs", "pub fn run() { commands::run(); }"),
        ("main.rs", "fn main() {\n    nixl_retrofit::run();\n    std::process::exit(1);\n}"),
        ("commands/mod.rs", "use crate::smoke;\npub fn run() { println!(\"{}\", smoke::passed()); }"),
        ("smoke/mod.rs", "pub use judge::verdict::passed;"),
        VERDICT,
        ("smoke/plan/mod.rs", "pub use self::role::Role;"),
        ("smoke/plan/role.rs", "pub enum Role { Target }"),
        // The parent re-exports Role, which is no reason to count the parent as imported.
        ("smoke/plan/fault.rs", "use super::Role;\npub struct Fault(pub Role);"),
        (
            "smoke/engine/mod.rs",
            "// SAFETY: nothing in it.\nunsafe impl Send for X {}\npub struct X(*mut u8);\n\
             pub fn f(x: *mut u8) -> u8 {\n    // SAFETY: valid for the call.\n    let y =\n        check(unsafe { *x });\n    y\n}\n\
             macro_rules! call {\n    ($x:expr) => {\n        // SAFETY: as above.\n        unsafe { $x }\n    };\n}\n\
             unsafe extern \"C\" {\n    fn g();\n}\nfn check(x: u8) -> u8 { x }",
        ),
        (
            "smoke/supervise/mod.rs",
            "use std::io::IsTerminal;\npub fn f() -> bool { std::io::stderr().is_terminal() }\n\
             #[cfg(test)]\nmod tests {\n    use crate::smoke::judge::verdict::Verdict;\n    #[test]\n    fn f() { println!(); }\n}",
        ),
    ]);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert_eq!((report.files, report.circles), (11, 0));
    // lib and main: run. commands: verdict. smoke: verdict. plan: role. fault: role.
    assert_eq!(report.imports, 6);
}

#[test]
fn an_import_against_the_directions_is_named() {
    let message = |line| {
        format!("src/smoke/supervise/watch.rs:{line}: imports smoke::judge, which smoke::supervise must not know")
    };
    for (text, line) in [
        ("\nuse crate::smoke::judge::verdict::passed;", 2),
        ("use std::{\n    fs,\n};\nuse super::super::judge::{\n    verdict::{self as v, Verdict},\n};", 5),
        ("fn f() {\n    crate::smoke::judge::verdict::passed()\n}", 2),
        ("struct S(\n    super::super::judge::verdict::Verdict,\n);", 2),
        ("fn f() {\n    println_later!(\"{}\", 1 + super::super::judge::verdict::passed());\n}", 2),
        ("macro_rules! m {\n    () => { $crate::smoke::judge::verdict::passed() };\n}", 2),
        ("#[command(name = crate::smoke::judge::verdict::passed())]\nstruct S;", 1),
        ("fn f() {\n    use crate::smoke::judge;\n    judge::verdict::passed();\n}", 2),
        ("use crate::smoke;\nfn f() { smoke::judge::verdict::passed() }", 2),
        ("mod inner {\n    use super::super::super::judge::verdict::Verdict;\n}", 2),
    ] {
        found(&[VERDICT, ("smoke/supervise/watch.rs", text)], Rule::Direction, &[&message(line)]);
    }
}

#[test]
fn a_room_is_recognized_behind_a_re_export() {
    let re_export = ("smoke/mod.rs", "pub use judge::verdict::passed as fine;");
    let user = ("smoke/worker/mod.rs", "use crate::smoke::fine;");
    found(
        &[VERDICT, re_export, user],
        Rule::Direction,
        &["src/smoke/worker/mod.rs:1: imports smoke::judge, which smoke::worker must not know"],
    );
}

#[test]
fn lower_rooms_know_none_above_them() {
    for (from, to, expected) in [
        ("smoke/plan/mod.rs", "cli.rs", "imports cli, which smoke::plan must not know"),
        ("smoke/series.rs", "cli.rs", "imports cli, which smoke::series must not know"),
        ("smoke/plan/mod.rs", "smoke/wire/mod.rs", "imports smoke::wire, which smoke::plan must not know"),
        ("smoke/wire/mod.rs", "report/mod.rs", "imports report, which smoke::wire must not know"),
        ("smoke/engine/mod.rs", "smoke/launch/mod.rs", "imports smoke::launch, which smoke::engine must not know"),
        ("smoke/worker/mod.rs", "smoke/meeting/mod.rs", "imports smoke::meeting, which smoke::worker must not know"),
        ("smoke/judge/mod.rs", "smoke/supervise/mod.rs", "imports smoke::supervise, which smoke::judge must not know"),
        ("smoke/meeting/mod.rs", "smoke/launch/mod.rs", "imports smoke::launch, which smoke::meeting must not know"),
        ("smoke/ending.rs", "smoke/judge/mod.rs", "imports smoke::judge, which smoke::ending must not know"),
        ("smoke/payload.rs", "smoke/plan/mod.rs", "imports smoke::plan, which smoke::payload must not know"),
        ("smoke/judge/mod.rs", "smoke/mod.rs", "imports smoke, which smoke::judge must not know"),
        ("python/mod.rs", "environment/mod.rs", "imports environment, which python must not know"),
        ("rust/mod.rs", "smoke/plan/mod.rs", "imports smoke::plan, which rust must not know"),
        ("environment/mod.rs", "python/mod.rs", "imports python, which environment must not know"),
        ("report/mod.rs", "source/mod.rs", "imports source, which report must not know"),
        ("choice/mod.rs", "report/mod.rs", "imports report, which choice must not know"),
        ("smoke/worker/mod.rs", "report/smoke.rs", "imports report, which smoke::worker must not know"),
        (
            "smoke/supervise/mod.rs",
            "smoke/engine/schedule.rs",
            "imports smoke::engine::schedule, which smoke::supervise must not know",
        ),
        ("report/stage.rs", "report/smoke.rs", "imports report, which report::stage must not know"),
        ("report/mod.rs", "exit_status.rs", "imports exit_status, which report must not know"),
        ("patching.rs", "smoke/plan/mod.rs", "imports smoke::plan, which patching must not know"),
        ("advice/mod.rs", "doctor/mod.rs", "imports doctor, which advice must not know"),
        (
            "smoke/meeting/message.rs",
            "report/mod.rs",
            "imports report, which smoke/meeting/message.rs must not know: the format between machines is not the public JSON",
        ),
    ] {
        let module = to.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let text = format!("use crate::{module}::Thing;");
        found(&[(from, &text), (to, "pub struct Thing;")], Rule::Direction, &[&format!("src/{from}:1: {expected}")]);
    }
}

#[test]
fn two_files_that_import_each_other_are_named() {
    found(
        &[
            ("source/edit.rs", "\nuse super::diff::Diff;\npub struct Edit;"),
            ("source/diff.rs", "use crate::source::edit::Edit;\npub struct Diff;"),
        ],
        Rule::Circle,
        &["src/source/diff.rs:1: circle: source/diff.rs -> source/edit.rs -> source/diff.rs\
           \n    src/source/diff.rs:1 imports src/source/edit.rs\
           \n    src/source/edit.rs:2 imports src/source/diff.rs"],
    );
}

#[test]
fn a_long_circle_is_named_by_its_chain() {
    found(
        &[
            ("source/a.rs", "use super::b::B;\npub struct A;"),
            ("source/b.rs", "pub struct B;\nfn f() { super::c::c() }"),
            ("source/c.rs", "pub fn c() {\n    println_later!(super::a::A);\n}"),
            ("source/d.rs", "use super::a::A;"),
        ],
        Rule::Circle,
        &["src/source/a.rs:1: circle: source/a.rs -> source/b.rs -> source/c.rs -> source/a.rs\
           \n    src/source/a.rs:1 imports src/source/b.rs\
           \n    src/source/b.rs:2 imports src/source/c.rs\
           \n    src/source/c.rs:2 imports src/source/a.rs"],
    );
}

#[test]
fn a_parent_that_uses_its_child_is_not_used_by_it() {
    let circle = ": circle: source/mod.rs -> source/edit.rs -> source/mod.rs";
    for parent in [
        "pub use edit::Edit;\npub struct Marker;",
        "pub use self::edit::*;\npub struct Marker;",
        "pub fn f() -> edit::Edit { edit::Edit }\npub struct Marker;",
    ] {
        for child in [
            "use super::Marker;\npub struct Edit;",
            "pub struct Edit(super::Marker);",
            "use super::*;\npub struct Edit;",
        ] {
            let found = violations(&[("source/mod.rs", parent), ("source/edit.rs", child)], Rule::Circle);
            assert!(found.len() == 1 && found[0].contains(circle), "{parent}\n{child}\n{found:?}");
        }
    }
    // Declaring a child is no import, nor is re-exporting one that does not come back.
    nothing_found(&[("source/mod.rs", "pub struct Marker;"), ("source/edit.rs", "use super::Marker;")]);
    nothing_found(&[
        ("source/mod.rs", "pub use edit::Edit;\npub use marker::Marker;"),
        ("source/edit.rs", "use super::Marker;\npub struct Edit;"),
        ("source/marker.rs", "pub struct Marker;"),
    ]);
    // What a macro defines is taken for the file's own.
    let found = violations(
        &[
            ("source/mod.rs", "define!(Marker);\npub use edit::Edit;"),
            ("source/edit.rs", "use super::Marker;\npub struct Edit;"),
        ],
        Rule::Circle,
    );
    assert!(found.len() == 1 && found[0].contains(circle), "{found:?}");
}

#[test]
fn a_test_is_no_part_of_a_circle() {
    nothing_found(&[
        ("source/edit.rs", "use super::diff::Diff;\npub struct Edit;"),
        (
            "source/diff.rs",
            "pub struct Diff;\n#[cfg(test)]\nuse super::edit::Edit;\n#[cfg(test)]\nmod tests {\n    use super::super::edit::Edit;\n}\n\
             impl Diff {\n    #[cfg(all(test, unix))]\n    fn f(_: super::edit::Edit) {}\n}",
        ),
    ]);
    let not_for_tests = "pub struct Diff;\n#[cfg(not(test))]\nuse super::edit::Edit;";
    let circle = violations(
        &[("source/edit.rs", "use super::diff::Diff;\npub struct Edit;"), ("source/diff.rs", not_for_tests)],
        Rule::Circle,
    );
    assert_eq!(circle.len(), 1);
}

#[test]
fn unsafe_outside_its_places_is_named() {
    let places = "src/smoke/engine/ and src/smoke/payload/vectors.rs";
    let message = |line| format!("src/environment/elf/mod.rs:{line}: `unsafe` outside {places}");
    for (text, line) in [
        ("pub fn f(x: *const u8) -> u8 {\n    // SAFETY: none.\n    unsafe { *x }\n}", 3),
        ("pub unsafe fn f() {}", 1),
        ("struct X;\nunsafe impl Send for X {}", 2),
        ("unsafe extern \"C\" {}", 1),
        ("type F = unsafe extern \"C\" fn();", 1),
        ("macro_rules! m {\n    ($x:expr) => { unsafe { $x } };\n}", 2),
        ("#[cfg(test)]\nmod tests {\n    fn f() { unsafe {} }\n}", 3),
    ] {
        found(&[("environment/elf/mod.rs", text)], Rule::Unsafe, &[&message(line)]);
    }
    nothing_found(&[("environment/elf/mod.rs", "#![forbid(unsafe_code)]\n// unsafe\nconst X: &str = \"unsafe {\";")]);
}

#[test]
fn unsafe_without_its_argument_is_named() {
    let message =
        |line| format!("src/smoke/engine/ucp/mod.rs:{line}: `unsafe` without a `// SAFETY:` comment right before it");
    for (text, line) in [
        ("pub fn f(x: *const u8) -> u8 {\n    unsafe { *x }\n}", 2),
        ("struct X;\nunsafe impl Send for X {}", 2),
        ("fn f() {\n    // SAFETY: of the first one.\n    unsafe { a() };\n    unsafe { b() };\n}", 4),
        ("fn f() {\n    // SAFETY: too far.\n\n    unsafe { a() };\n}", 4),
        ("fn f() {\n    // It is safe.\n    unsafe { a() };\n}", 3),
        ("macro_rules! m {\n    ($x:expr) => {\n        unsafe { $x }\n    };\n}", 3),
    ] {
        found(&[("smoke/engine/ucp/mod.rs", text)], Rule::Unsafe, &[&message(line)]);
    }
    for text in [
        "fn f() {\n    // SAFETY: long,\n    // over two lines.\n    #[expect(unsafe_code)]\n    unsafe { a() };\n}",
        "fn f() {\n    // SAFETY: the statement's.\n    let x = check(\n        \"a\",\n        unsafe { a() },\n    )?;\n}",
        "fn f() {\n    check(\n        \"a\",\n        // SAFETY: the argument's.\n        unsafe { a() },\n    )?;\n}",
        "fn f() {\n    match x {\n        // SAFETY: the arm's.\n        1 => unsafe { a() },\n        _ => {}\n    }\n}",
        "struct F(unsafe extern \"C\" fn());\npub unsafe fn g() {}",
    ] {
        nothing_found(&[("smoke/engine/ucp/mod.rs", text)]);
    }
}

#[test]
fn printing_and_exiting_outside_commands_is_named() {
    let message =
        |line, what| format!("src/report/mod.rs:{line}: `{what}`: only src/commands/ and src/main.rs print and exit");
    for (text, line, what) in [
        ("fn f() {\n    println!(\"x\");\n}", 2, "println!"),
        ("fn f() { eprint!(\"x\"); }", 1, "eprint!"),
        ("fn f() { std::eprintln!(\"x\"); }", 1, "eprintln!"),
        ("fn f() -> u8 {\n    dbg!(1)\n}", 2, "dbg!"),
        ("macro_rules! m {\n    () => { print!(\"x\") };\n}", 2, "print!"),
        ("use std::io::{self, Write};\nfn f() {\n    io::stdout().write_all(b\"x\");\n}", 3, "std::io::stdout"),
        ("use std::io::stderr as e;\nfn f() { e(); }", 2, "std::io::stderr"),
        ("fn f() { write!(std::io::stderr(), \"x\"); }", 1, "std::io::stderr"),
        ("use std::process;\nfn f() { process::exit(1) }", 2, "std::process::exit"),
        ("fn f() {\n    use std::process::abort;\n    abort()\n}", 3, "std::process::abort"),
        ("fn f() { std::process::ExitCode::SUCCESS.exit_process() }", 1, "ExitCode::exit_process"),
        ("fn f() { libc::_exit(1) }", 1, "libc::_exit"),
    ] {
        found(&[("report/mod.rs", text)], Rule::Speech, &[&message(line, what)]);
    }
    nothing_found(&[
        (
            "report/mod.rs",
            "fn exit() {}\nfn f(stdout: u8) { exit(); let abort = stdout; writeln!(abort, \"println!\"); }",
        ),
        ("commands/console.rs", "pub fn f() { println!(); std::process::exit(1) }"),
    ]);
}

#[test]
fn an_exception_excuses_its_own_file_alone() {
    let text = "pub fn vanish() { std::process::abort() }";
    nothing_found(&[("smoke/worker/target.rs", text)]);
    found(
        &[("smoke/worker/session.rs", text)],
        Rule::Speech,
        &["src/smoke/worker/session.rs:1: `std::process::abort`: only src/commands/ and src/main.rs print and exit"],
    );
    let idle = checked(&[("smoke/worker/target.rs", text)]).idle_exceptions;
    assert!(idle.iter().all(|row| (row.file, row.what) != ("smoke/worker/target.rs", "std::process::abort")));
    assert_eq!(idle.len(), rules::EXCEPTIONS.len() - 1);
}

#[test]
fn a_typed_value_compared_with_text_is_named() {
    let message = |line, name| {
        format!(
            "src/smoke/judge/fabric.rs:{line}: compares `{name}` with a string literal; compare it with a value of its type"
        )
    };
    for (text, line, name) in [
        ("fn f(x: F) -> bool {\n    x.stage == \"load\"\n}", 2, "stage"),
        ("fn f(fabric: Option<&str>) -> bool { fabric != Some(\"efa\") }", 1, "fabric"),
        ("fn f(x: F) -> bool { \"passed\" == x.status.as_str() }", 1, "status"),
        (
            "fn f(x: F) {\n    match x.fabric.as_deref() {\n        Some(\"efa\" | \"ib\") => {}\n        _ => {}\n    }\n}",
            3,
            "fabric",
        ),
    ] {
        found(&[("smoke/judge/fabric.rs", text)], Rule::Text, &[&message(line, name)]);
    }
    nothing_found(&[("smoke/judge/fabric.rs", "fn f(x: F) -> bool { x.stage == Stage::Load || x.name == \"load\" }")]);
}

/// `Path::display` in a message lets a name with a line break write lines of its own. Macros' arguments are no syntax, so
/// this reads text.
#[test]
fn names_are_shown_as_one_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let uses = |text: &str| text.split("#[cfg(test)]").next().unwrap_or_default().contains(".display()");
    let mut found = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = path.strip_prefix(&root).expect("below src/").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("fuzzing/") && uses(&fs::read_to_string(&path).unwrap_or_default()) {
                found.insert(name);
            }
        }
    }
    let expected: BTreeSet<String> = rules::DISPLAYED.iter().map(|(file, _)| file.to_string()).collect();
    assert_eq!(found, expected, "`use crate::shown::Shown` and `.shown()`, or a row in tests/house/rules.rs");
}

#[test]
fn a_file_without_a_place_is_named() {
    found(
        &[("smoke/supervisor.rs", "")],
        Rule::Place,
        &["src/smoke/supervisor.rs:1: smoke::supervisor is in no room; move it, or add a row to tests/house/rules.rs"],
    );
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), "lib.rs", "#[cfg(test)]\nmod threads;");
    write(folder.path(), "threads.rs", "");
    write(folder.path(), "choice/rule.rs", "");
    write(folder.path(), "smoke/launch/cuda_stand_in/libcuda.rs", "unsafe fn f() {}");
    let lines: Vec<String> = check(folder.path()).violations.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["src/choice/rule.rs:1: no module declares this file"]);
}

#[test]
fn the_table_itself_allows_no_circle_of_rooms() {
    let number = |room: &str| rules::ROOMS.iter().position(|row| row.room == room);
    let mut graph = circles::Graph::new();
    for (from, row) in rules::ROOMS.iter().enumerate() {
        for room in row.may_use() {
            assert!(number(room).is_some(), "{} may use {room}, which has no row", row.room);
            let to = (0..rules::ROOMS.len()).filter(|to| rules::is_inside(rules::ROOMS[*to].room, room));
            graph.entry(from).or_default().extend(to.map(|to| (to, 0)));
        }
    }
    let circles = circles::find(&graph);
    let named: Vec<Vec<&str>> =
        circles.iter().map(|circle| circle.iter().map(|room| rules::ROOMS[*room].room).collect()).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn the_table_allows_nothing_that_the_design_forbids() {
    let inside = |room: &&str| rules::ROOMS.iter().filter(|row| rules::is_inside(row.room, room)).collect::<Vec<_>>();
    for (rooms, forbidden) in rules::NEVER {
        for row in rooms.iter().flat_map(&inside) {
            for other in forbidden.iter().flat_map(&inside) {
                assert!(!rules::allows(row, other.room), "{} must never know {}", row.room, other.room);
            }
        }
    }
}
