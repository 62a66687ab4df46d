//! Compiles the stand-in for libcuda.so.1 that the program embeds (src/smoke/launch/cuda_stand_in/libcuda.rs), finds the
//! commit that `--version` names, and leaves unwind tables out where nothing unwinds.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The stand-in's source.
const SOURCE: &str = "src/smoke/launch/cuda_stand_in/libcuda.rs";

/// Where a build without the history is told the commit: in a container, for example.
const COMMIT: &str = "NIXL_RETROFIT_COMMIT";

/// How much of a commit's hash is shown.
const SHOWN: usize = 12;

/// A linker script that goes with the linker's own: without the tables by which a stack is unwound, 0.7 MB.
const WITHOUT_UNWIND_TABLES: &str = "SECTIONS {
    /DISCARD/ : { *(.eh_frame .eh_frame_hdr .gcc_except_table .gcc_except_table.*) }
} INSERT AFTER .text;
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    assert!(is_supported(), "nixl-retrofit builds for x86-64 and aarch64 Linux with glibc, where NIXL has libraries");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let commit = commit().map(|commit| format!(" ({})", &commit[..SHOWN])).unwrap_or_default();
    println!("cargo::rustc-env=NIXL_RETROFIT_VERSION={}{commit}", variable("CARGO_PKG_VERSION"));
    compile_stand_in();
    // In the release profile a panic ends the process: nothing of ours unwinds. Foreign libraries have their own tables.
    // (`CARGO_CFG_PANIC` is the target's habit, not the profile's.)
    if variable("PROFILE") == "release" {
        leave_unwind_tables_out();
    }
}

/// Whether NIXL has wheels for the target.
fn is_supported() -> bool {
    let [system, library, processor] = ["OS", "ENV", "ARCH"].map(|name| variable(&format!("CARGO_CFG_TARGET_{name}")));
    system == "linux" && library == "gnu" && matches!(processor.as_str(), "x86_64" | "aarch64")
}

/// Compiles the stand-in for libcuda.so.1 into `OUT_DIR`.
fn compile_stand_in() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let mut command = rustc("libcuda.so.1");
    command.args(["--crate-name", "cuda", "--crate-type", "cdylib"]);
    command.args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "strip=symbols"]);
    // No C library: any process can load the stand-in, whatever its own C library.
    command.args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-Wl,-soname,libcuda.so.1"]);
    let status = command.arg(SOURCE).status().expect("rustc starts");
    assert!(status.success(), "rustc could not compile {SOURCE}");
}

/// Gives the linker the script, if it links another program with it: gold and others do not know all of its words.
fn leave_unwind_tables_out() {
    let folder = PathBuf::from(variable("OUT_DIR"));
    let [script, source] = ["without-unwind-tables.ld", "probe.rs"].map(|name| folder.join(name));
    fs::write(&script, WITHOUT_UNWIND_TABLES).expect("a file in OUT_DIR");
    fs::write(&source, "fn main() {}\n").expect("a file in OUT_DIR");
    let arguments = ["-T", script.to_str().expect("OUT_DIR is UTF-8")];
    let mut command = rustc("probe");
    command.args(arguments.iter().flat_map(|argument| ["-C".into(), format!("link-arg={argument}")]));
    command.args(["-C", "panic=abort"]).arg(source);
    // As the program is linked, which may be with another linker.
    command.args(variable("CARGO_ENCODED_RUSTFLAGS").split('\x1f').filter(|flag| !flag.is_empty()));
    if command.output().expect("rustc starts").status.success() {
        arguments.iter().for_each(|argument| println!("cargo::rustc-link-arg-bins={argument}"));
    }
}

/// The compiler, with Cargo's target and linker, and a file in `OUT_DIR` to write.
fn rustc(output: &str) -> Command {
    let mut command = Command::new(variable("RUSTC"));
    command.args(["--edition", "2024"]);
    if variable("TARGET") != variable("HOST") {
        command.args(["--target", &variable("TARGET")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={linker}"));
    }
    command.arg("-o").arg(PathBuf::from(variable("OUT_DIR")).join(output));
    command
}

/// The commit: what the builder says, that of the checkout, or that of the published package; None of a plain archive.
fn commit() -> Option<String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let commit = env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    let commit = commit.or_else(|| checked_out(&root)).or_else(|| published(&root))?;
    let is_hash = commit.len() >= SHOWN && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(commit)
}

/// The commit of a checkout; an archive inside of another project's checkout has no `.git` of its own.
fn checked_out(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    // It grows with every commit and checkout.
    let log = git(root, &["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={}", root.join(log).display());
    git(root, &["rev-parse", "HEAD"])
}

/// What git prints about the checkout; None where it fails or is not there.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// The commit that `cargo publish` has noted.
fn published(root: &Path) -> Option<String> {
    let noted = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = noted.split_once("\"sha1\": \"")?;
    rest.split('"').next().map(Into::into)
}

/// A variable that Cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}
