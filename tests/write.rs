//! What writing changes in an installed tree, and what it leaves unchanged.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use common::*;

fn apply(target: &Path) {
    let output = run(["apply".as_ref(), "--smoke=off".as_ref(), target.as_os_str()]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
}

fn revert(target: &Path) {
    let output = run(["revert".as_ref(), target.as_os_str()]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
}

#[test]
fn check_writes_nothing() {
    let site = site_packages();
    let before = snapshot(site.path());
    assert_eq!(status(&run(["check".as_ref(), site.path().as_os_str()])), 1);
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn record_agrees_and_revert_restores_every_byte() {
    let site = site_packages();
    let before = snapshot(site.path());
    assert!(record_agrees(site.path()));
    apply(site.path());
    assert!(record_agrees(site.path()));
    assert_ne!(snapshot(site.path()), before);
    let after = snapshot(site.path());
    apply(site.path());
    assert_eq!(snapshot(site.path()), after, "the second time changes nothing");
    assert_eq!(status(&run(["check".as_ref(), site.path().as_os_str()])), 0);
    revert(site.path());
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn a_run_that_was_killed_between_file_and_record_is_completed() {
    let site = site_packages();
    let record = fs::read(site.path().join(RECORD)).unwrap();
    apply(site.path());
    let right = fs::read(site.path().join(RECORD)).unwrap();
    fs::write(site.path().join(RECORD), &record).unwrap();
    apply(site.path());
    assert_eq!(fs::read(site.path().join(RECORD)).unwrap(), right);
}

#[test]
fn hard_links_keep_their_bytes_and_symbolic_links_stay() {
    let site = site_packages();
    let (file, record) = (site.path().join(SOURCE), site.path().join(RECORD));
    let cache = tempfile::tempdir_in(site.path().parent().unwrap()).unwrap();
    fs::hard_link(&file, cache.path().join("source")).unwrap();
    fs::hard_link(&record, cache.path().join("record")).unwrap();
    let cached = snapshot(cache.path());
    apply(site.path());
    assert_eq!(snapshot(cache.path()), cached);

    let linked = tempfile::tempdir().unwrap();
    symlink(site.path().join("dynamo"), linked.path().join("dynamo")).unwrap();
    let link = linked.path().join("link.py");
    symlink(&file, &link).unwrap();
    revert(&link);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), fs::read(fixture("site-packages").join(SOURCE)).unwrap());
    apply(linked.path());
    assert!(fs::symlink_metadata(linked.path().join("dynamo")).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().contains("_nixl_retrofit_backends"));
}

#[test]
fn owner_mode_and_extended_attributes_stay() {
    let site = site_packages();
    let file = site.path().join(SOURCE);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(4321)).expect("this test needs root, to give a file away");
    xattr::set(&file, "user.origin", b"image").expect("this test needs a file system with extended attributes");
    apply(site.path());
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (1234, 4321, 0o604));
    assert_eq!(xattr::get(&file, "user.origin").unwrap().as_deref(), Some(&b"image"[..]));
}

#[test]
fn stale_bytecode_of_every_kind_is_not_used() {
    let site = site_packages();
    let file = site.path().join(SOURCE);
    let modes = ["TIMESTAMP", "CHECKED_HASH", "UNCHECKED_HASH"];
    for mode in modes {
        fs::write(&file, "value = 'old'\nimport nixl._api as n\ndef f(): return n.nixl_agent('a')\n").unwrap();
        let script = "import py_compile, sys; py_compile.compile(sys.argv[1], invalidation_mode=getattr(py_compile.PycInvalidationMode, sys.argv[2]))";
        python(&["-c", script, &file.to_string_lossy(), mode]);
        apply(site.path());
        let code = "import dynamo.nixl_connect as m; print(hasattr(m, '_nixl_retrofit_backends'))";
        let stand_in = fixture("nixl_stand_in");
        let output = Command::new("python3")
            .args(["-c", code])
            .env("PYTHONPATH", std::env::join_paths([site.path(), &stand_in]).unwrap())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        assert_eq!(stdout(&output).trim(), "True", "{mode}: {}", stderr(&output));
    }
}

#[test]
fn bytecode_below_the_cache_prefix_is_removed() {
    let site = site_packages();
    let file = site.path().join(SOURCE);
    let prefix = tempfile::tempdir().unwrap();
    let cache = prefix.path().join(file.parent().unwrap().strip_prefix("/").unwrap());
    fs::create_dir_all(&cache).unwrap();
    let bytecode = cache.join("__init__.cpython-312.pyc");
    fs::write(&bytecode, "stale").unwrap();
    let output = program()
        .args(["apply", "--smoke=off", "-v"])
        .arg(site.path())
        .env("PYTHONPYCACHEPREFIX", prefix.path())
        .output()
        .unwrap();
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(!bytecode.exists());
    let text = stdout(&output);
    assert!(text.contains(&format!("removed stale bytecode: {}", bytecode.display())), "{text}");
    assert!(text.contains(&format!("updated: {}", site.path().join(RECORD).display())), "{text}");
}

#[test]
fn a_file_named_twice_is_written_once() {
    let site = site_packages();
    let file = site.path().join(SOURCE);
    for command in [&["apply", "--smoke=off"][..], &["revert"]] {
        let mut targets: Vec<&std::ffi::OsStr> = command.iter().map(std::convert::AsRef::as_ref).collect();
        targets.extend([site.path().as_os_str(), file.as_os_str()]);
        let (status, document) = run_json(targets);
        assert_eq!(status, 0, "{document}");
        assert_eq!(document["files"].as_array().unwrap().len(), 1, "{command:?}");
    }
}

#[test]
fn standard_input_goes_to_standard_output() {
    use std::io::Write;
    use std::process::Stdio;
    let source = fs::read(fixture("site-packages").join(SOURCE)).unwrap();
    let pipe = |arguments: &[&str], input: &[u8]| {
        let mut child = program()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    };
    let checked = pipe(&["check", "-"], &source);
    assert_eq!(status(&checked), 1);
    assert!(stdout(&checked).starts_with("--- a/"), "{}", stdout(&checked));
    let patched = pipe(&["apply", "-"], &source);
    assert_eq!(status(&patched), 0, "{}", stderr(&patched));
    assert!(stdout(&patched).contains("_nixl_retrofit_backends()"));
    assert!(stderr(&patched).contains("+def _nixl_retrofit_backends"), "the report goes to standard error");
    let reverted = pipe(&["revert", "-"], &patched.stdout);
    assert_eq!(reverted.stdout, source);
    // It reads nothing.
    let refused = pipe(&["apply", "-", "--output-format=json"], b"");
    assert_eq!(status(&refused), 2);
}

#[test]
fn git_and_patch_accept_what_check_prints() {
    for (kind, change) in [("LF", "\n"), ("CRLF", "\r\n")] {
        let site = site_packages();
        let file = site.path().join(SOURCE);
        let source = fs::read_to_string(&file).unwrap().replace('\n', change);
        fs::write(&file, source.trim_end()).unwrap();
        let original = fs::read(&file).unwrap();
        let output = program().args(["check", "."]).current_dir(site.path()).output().unwrap();
        assert_eq!(status(&output), 1);
        let diff = site.path().join("change.patch");
        fs::write(&diff, &output.stdout).unwrap();
        apply(site.path());
        let patched = fs::read(&file).unwrap();
        fs::write(&file, &original).unwrap();
        for tool in [["git", "apply", "--check", "change.patch"], ["patch", "-p1", "--binary", "-ichange.patch"]] {
            let result = Command::new(tool[0])
                .args(&tool[1..])
                .current_dir(site.path())
                .output()
                .expect("git and patch are needed for this test");
            assert!(result.status.success(), "{kind} {tool:?}: {}{}", stdout(&result), stderr(&result));
        }
        assert_eq!(fs::read(&file).unwrap(), patched, "{kind}: patch gives what apply gives");
        fs::write(&file, &original).unwrap();
        let result = Command::new("git").args(["apply", "change.patch"]).current_dir(site.path()).output().unwrap();
        assert!(result.status.success(), "{}", stderr(&result));
        assert_eq!(fs::read(&file).unwrap(), patched, "{kind}: git gives what apply gives");
    }
}

#[test]
fn concurrent_runs_make_one_change() {
    let site = site_packages();
    let start = || program().args(["apply", "--smoke=off", "-q"]).arg(site.path()).spawn().unwrap();
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert!(record_agrees(site.path()));
    assert_eq!(status(&run(["check".as_ref(), site.path().as_os_str()])), 0);
    assert_eq!(snapshot(site.path()).len(), 3, "nothing stays behind");
}

#[test]
fn killed_at_any_moment_the_file_is_the_old_or_the_new_one() {
    let site = site_packages();
    let file = site.path().join(SOURCE);
    let old = fs::read(&file).unwrap();
    apply(site.path());
    let new = fs::read(&file).unwrap();
    revert(site.path());
    for microseconds in (0..8000).step_by(200) {
        let mut child = program().args(["apply", "--smoke=off", "-q"]).arg(site.path()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(microseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = fs::read(&file).unwrap();
        assert!(now == old || now == new, "after {microseconds} microseconds");
        apply(site.path());
        assert!(record_agrees(site.path()), "after {microseconds} microseconds");
        revert(site.path());
        assert_eq!(fs::read(&file).unwrap(), old);
        let left: Vec<_> = snapshot(site.path()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(left.len(), 3, "nothing stays behind: {left:?}");
    }
}

/// The times that files and folders were modified, in seconds, by their paths.
fn times(folder: &Path) -> BTreeMap<PathBuf, i64> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let below =
        entries.flat_map(|path| if path.is_dir() { times(&path) } else { [(path.clone(), mtime(&path))].into() });
    below.chain([(folder.to_path_buf(), mtime(folder))]).collect()
}

fn mtime(path: &Path) -> i64 {
    fs::metadata(path).unwrap().mtime()
}

fn with_date(arguments: &[&str], site: &Path, date: &str) -> Output {
    program().args(arguments).arg(site).env("SOURCE_DATE_EPOCH", date).output().unwrap()
}

#[test]
fn nothing_written_is_later_than_source_date_epoch() {
    let site = site_packages();
    let module = site.path().join(SOURCE);
    python(&["-m", "compileall", "-q", &module.to_string_lossy()]);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for path in times(site.path()).keys() {
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    for (arguments, date) in [(&["apply", "--smoke=off"][..], 1_600_000_000), (&["revert"], 1_700_000_000)] {
        let before = times(site.path());
        let output = with_date(arguments, site.path(), &date.to_string());
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        assert!(record_agrees(site.path()));
        let after = times(site.path());
        let changed: BTreeSet<&PathBuf> =
            after.iter().filter(|it| before.get(it.0) != Some(it.1)).map(|it| it.0).collect();
        let mut expected = vec![module.clone(), site.path().join(RECORD)];
        expected.extend([module.parent().unwrap().to_path_buf(), site.path().join(RECORD).parent().unwrap().into()]);
        if arguments[0] == "apply" {
            expected.push(module.with_file_name("__pycache__"));
        }
        assert_eq!(changed, expected.iter().collect(), "what was written, and nothing else");
        assert!(changed.iter().all(|path| after[*path] == date), "{after:?}");
    }
    // A time that has not come yet is nobody's.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert_eq!(status(&with_date(&["apply", "--smoke=off"], site.path(), "99999999999")), 0);
    assert!((now - 1..now + 60).contains(&mtime(&module)));
}

#[test]
fn a_source_date_epoch_that_is_no_number_changes_nothing() {
    let site = site_packages();
    let before = snapshot(site.path());
    for arguments in [&["apply", "--smoke=off"][..], &["check"], &["revert"]] {
        let output = with_date(arguments, site.path(), "yesterday");
        let text = stderr(&output);
        assert_eq!(status(&output), 2, "{text}");
        assert!(text.contains("`SOURCE_DATE_EPOCH` is `yesterday`, not a number of seconds"), "{text}");
        assert!(text.contains("\nhelp: set it as `date +%s`"), "{text}");
    }
    assert_eq!(snapshot(site.path()), before);
}

/// As an upgrade leaves it that stopped before it removed the old version.
#[test]
fn a_distribution_that_is_installed_twice_is_warned_of() {
    let site = site_packages();
    let record = |version: &str| site.path().join(format!("ai_dynamo_runtime-{version}.dist-info/RECORD"));
    let module = fs::read(site.path().join(SOURCE)).unwrap();
    for version in ["9.9.10", "9.8.0"] {
        let dist_info = record(version).parent().unwrap().to_path_buf();
        copy_tree(record("9.9.9").parent().unwrap(), &dist_info);
        let metadata = fs::read_to_string(dist_info.join("METADATA")).unwrap_or_default();
        fs::write(dist_info.join("METADATA"), metadata.replace("9.9.9", version)).unwrap();
        let text = fs::read_to_string(record(version)).unwrap();
        let other = text.lines().map(|line| match line.starts_with(SOURCE) {
            true => format!("{SOURCE},sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"),
            false => format!("{line}\n"),
        });
        fs::write(record(version), other.collect::<String>()).unwrap();
    }
    let original = fs::read(record("9.9.9")).unwrap();
    let warning = |used: &str, others: [&str; 2]| {
        let folder = |version| format!("`ai_dynamo_runtime-{version}.dist-info`");
        let others = others.map(folder).join(", ");
        format!("warning: `ai-dynamo-runtime` is installed twice: {}, which is used here, and {others}", folder(used))
    };
    let (exit, document) = run_json(["check".as_ref(), site.path().as_os_str()]);
    assert_eq!(exit, 1);
    let file = &document["files"][0];
    assert_eq!(file["distribution_version"], "9.9.9", "whose RECORD has the file's hash");
    let note = file["notes"][0].as_str().unwrap();
    assert!(note.starts_with(&warning("9.9.9", ["9.8.0", "9.9.10"])), "{note}");
    assert!(note.ends_with("Reinstall `ai-dynamo-runtime` to have one"), "{note}");

    let output = run(["apply".as_ref(), "--smoke=off".as_ref(), site.path().as_os_str()]);
    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains(&warning("9.9.9", ["9.8.0", "9.9.10"])), "{}", stdout(&output));
    let patched = fs::read(site.path().join(SOURCE)).unwrap();
    let has = |version: &str, content: &[u8]| {
        let line = format!("{SOURCE},{},{}\n", digest(content), content.len());
        fs::read_to_string(record(version)).unwrap().contains(&line)
    };
    assert!(["9.9.9", "9.9.10", "9.8.0"].iter().all(|version| has(version, &patched)));
    // Now each RECORD has the hash, and the newest is taken.
    let (exit, document) = run_json(["check".as_ref(), site.path().as_os_str()]);
    assert_eq!((exit, &document["files"][0]["distribution_version"]), (0, &"9.9.10".into()));
    revert(site.path());
    assert!(["9.9.10", "9.8.0"].iter().all(|version| has(version, &module)));
    assert_eq!(fs::read(record("9.9.9")).unwrap(), original);
}

/// A hash as RECORD has it, by Python.
fn digest(content: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    let script = "import base64, hashlib, sys\n\
        digest = hashlib.sha256(open(sys.argv[1], 'rb').read()).digest()\n\
        print('sha256=' + base64.urlsafe_b64encode(digest).rstrip(b'=').decode())";
    python(&["-c", script, &file.path().to_string_lossy()]).trim().to_string()
}
