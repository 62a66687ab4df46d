//! Compares the structures and constants that this room declares with the libraries' headers.
//!
//! Only tests need the headers, which `tests/lab.sh` unpacks from Debian's packages, and a C compiler.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// An expression in C, and its value in the declarations here.
pub(super) type Fact = (String, i128);

/// A library's header.
pub(super) struct Header {
    /// Its name in `#include`.
    pub include: &'static str,
    /// The Debian package that contains it.
    pub package: &'static str,
}

impl Header {
    /// Compiles a program that prints every fact's value, runs it, and compares.
    #[track_caller]
    pub(super) fn agrees(&self, facts: &[Fact]) {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("facts.c"), folder.path().join("facts"));
        std::fs::write(&source, self.program(facts)).unwrap();
        let compiled = Command::new("cc")
            .arg("-I")
            .arg(self.folder())
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .output()
            .expect("a C compiler, cc");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let printed = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
        let values: Vec<i128> = printed.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(values.len(), facts.len());
        let wrong: Vec<String> = (facts.iter().zip(&values))
            .filter(|((_, ours), theirs)| ours != *theirs)
            .map(|((expression, ours), theirs)| {
                format!("`{expression}` is {theirs} in `{}` and {ours} here", self.include)
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn program(&self, facts: &[Fact]) -> String {
        let lines = facts.iter().map(|(expression, value)| {
            let kind = if *value < 0 { ("long long", "%lld") } else { ("unsigned long long", "%llu") };
            format!("    printf(\"{}\\n\", ({})({expression}));\n", kind.1, kind.0)
        });
        let includes: String = ["rdma/fabric.h", "rdma/fi_domain.h", "rdma/fi_endpoint.h", "rdma/fi_rma.h"]
            .iter()
            .chain(&["rdma/fi_cm.h", "rdma/fi_eq.h", "rdma/fi_errno.h"])
            .filter(|_| self.include.starts_with("rdma/"))
            .chain(&[self.include])
            .map(|header| format!("#include <{header}>\n"))
            .collect();
        let body: String = lines.collect();
        format!("#include <stddef.h>\n#include <stdio.h>\n{includes}int main(void) {{\n{body}    return 0;\n}}\n")
    }

    /// The folder with the headers of the package, which is unpacked and not installed.
    fn folder(&self) -> PathBuf {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab.sh");
        let output = Command::new("bash").arg(script).args(["debian", self.package]).output().expect("bash starts");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tests/lab.sh debian {}: {words}", self.package);
        Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("usr/include")
    }
}

/// One fact for each constant, which has its name in C.
macro_rules! constants {
    ($($name:ident),*) => { vec![$((stringify!($name).to_string(), $name as i128)),*] };
}
pub(super) use constants;

/// The size of the field that the function returns.
pub(super) fn field_size<T, F>(_field: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// The offsets and sizes of fields, and the size of a `whole` structure; a `part` declares only the first fields.
macro_rules! structures {
    ($($extent:ident $name:ident = $c:literal { $($field:ident),* })*) => {{
        let mut facts: Vec<$crate::smoke::engine::layout::Fact> = Vec::new();
        $(
            if stringify!($extent) == "whole" {
                facts.push((format!("sizeof({})", $c), size_of::<$name>() as i128));
            }
            $(facts.push((
                format!("offsetof({}, {})", $c, stringify!($field)),
                std::mem::offset_of!($name, $field) as i128,
            ));
            facts.push((
                format!("sizeof((({} *)0)->{})", $c, stringify!($field)),
                $crate::smoke::engine::layout::field_size(|value: &$name| &value.$field) as i128,
            ));)*
        )*
        facts
    }};
}
pub(super) use structures;
