//! Compiles the stand-in for libcuda.so.1 that the program embeds (src/smoke/launch/cuda_stand_in/libcuda.rs).

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The stand-in's source.
const SOURCE: &str = "src/smoke/launch/cuda_stand_in/libcuda.rs";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SOURCE}");
    let output = PathBuf::from(variable("OUT_DIR")).join("libcuda.so.1");
    let mut command = Command::new(variable("RUSTC"));
    command.args(["--edition", "2024", "--crate-name", "cuda", "--crate-type", "cdylib"]);
    command.args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "strip=symbols"]);
    // No C library: any process can load the stand-in, whatever its own C library.
    command.args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-Wl,-soname,libcuda.so.1"]);
    if variable("TARGET") != variable("HOST") {
        command.args(["--target", &variable("TARGET")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={linker}"));
    }
    command.arg("-o").arg(&output).arg(SOURCE);
    let status = command.status().expect("rustc starts");
    assert!(status.success(), "rustc could not compile {SOURCE}");
}

/// A variable that Cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}
