//! The survey of files that nobody wrote for it. What it finds is tested on trees, in tests/audit.rs.

use std::path::{Path, PathBuf};

use super::*;
use crate::python::encoding::SourceText;
use crate::python::meaning::Alias;
use crate::python::syntax::parse_alone;
use crate::threads::STACK_BYTES;

/// Every module binds every name to a class, so that each import of any file is followed.
struct Everything;

impl Imports for Everything {
    fn absolute(&self, _level: u32, module: &str) -> String {
        format!("package.{module}")
    }

    fn alias(&self, _module: &str, name: &str) -> Option<Alias> {
        Some(Alias::certain(if name.len().is_multiple_of(2) { NixlClass::Agent } else { NixlClass::Configuration }))
    }

    fn all(&self, _module: &str) -> Vec<(String, NixlClass)> {
        vec![("name".into(), NixlClass::Agent)]
    }
}

fn python_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => python_files(&path, files),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|it| it == "py") => files.push(path),
            _ => {}
        }
    }
}

#[test]
#[ignore = "takes minutes; FOLDERS names what to read, with colons"]
fn every_file_is_surveyed() {
    let folders = std::env::var("FOLDERS").expect("FOLDERS is set");
    let mut files = Vec::new();
    folders.split(':').for_each(|folder| python_files(Path::new(folder), &mut files));
    let work = move || {
        let mut surveyed = 0;
        for path in &files {
            let Ok(content) = std::fs::read(path) else { continue };
            let Ok(source) = SourceText::decode(&content) else { continue };
            let Ok(tree) = parse_alone(source.text()) else { continue };
            exports(&tree, &Everything);
            survey(source.text(), &tree, &Everything);
            surveyed += 1;
        }
        (files.len(), surveyed)
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread starts");
    let (files, surveyed) = thread.join().expect("no file makes it panic");
    println!("{surveyed} of {files} files surveyed");
    assert!(surveyed > 0);
}
