//! The smoke transfer of GPU memory.
//!
//! What is shown depends on the machine. Where there is an NVIDIA driver, real transfers. Where there is none, that the
//! failure is clear; and with fixtures/gpu_stand_in/libcuda.c, a stand-in for the hardware, that the driver is called
//! rightly and that it is the GPU's bytes that are compared. UCX takes the stand-in's memory for the host's, which it is:
//! NIXL 0.10.1 only warns of that, later ones and the native engine refuse. How UCX and libfabric move a real GPU's memory
//! is seen on a real GPU alone.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use common::{has_driver, lab, nixl};

/// Takes any memory for a GPU's where it is told so.
const LENIENT: &str = "0.10.1";

/// The folder with the stand-in for the hardware.
fn stand_in() -> &'static str {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o"]);
        compiler.arg(folder.path().join("libcuda.so.1")).arg(common::fixture("gpu_stand_in/libcuda.c"));
        assert!(compiler.arg("-lpthread").status().expect("a C compiler, cc").success());
        folder
    });
    folder.path().to_str().unwrap()
}

/// One run of the program.
struct Run {
    status: i32,
    smoke: Value,
}

impl Run {
    fn of(version: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = common::program();
        command.arg("smoke").args(arguments).args(["--output-format", "json"]).arg(nixl(version));
        if !arguments.contains(&"--backend") {
            command.args(["--backend", "UCX"]);
        }
        for name in ["LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().expect("the program starts");
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
        Run { status: common::status(&output), smoke: document["smoke"].clone() }
    }

    /// On the stand-in for the hardware, which is told to fail in some way.
    fn on_stand_in(version: &str, arguments: &[&str], trouble: &str) -> Run {
        let arguments = [&["--library-path", stand_in(), "--memory", "vram:1"], arguments].concat();
        Run::of(version, &arguments, &[("GPU_STAND_IN", trouble)])
    }

    #[track_caller]
    fn passed(&self) {
        let state = (self.status, self.smoke["status"].as_str(), self.smoke["verified"].as_bool());
        assert_eq!(state, (0, Some("passed"), Some(true)), "{:#}", self.smoke);
    }

    #[track_caller]
    fn failed(&self, stage: &str, words: &[&str]) {
        assert_eq!((self.status, self.smoke["status"].as_str()), (1, Some("failed")), "{:#}", self.smoke);
        assert_eq!(self.smoke["failure"]["stage"], stage, "{:#}", self.smoke);
        let text = format!("{} {}", self.smoke["failure"]["message"], self.smoke["failure"]["advice"]);
        for word in words {
            assert!(text.contains(word), "'{word}' is missing in: {text}");
        }
    }
}

#[test]
fn memory_that_is_none_is_refused() {
    for wrong in ["gpu", "vram:x", "vram:-1", "vram:", "VRAM", "dram:0"] {
        let output = common::run(["smoke", &format!("--memory={wrong}")]);
        assert_eq!(common::status(&output), 2, "{wrong}");
        assert!(common::stderr(&output).contains("vram:N"), "{}", common::stderr(&output));
    }
}

/// A real GPU where there is one; otherwise a failure that nobody can misread, and no stand-in for the driver.
#[test]
fn a_real_gpu_is_used_or_its_absence_is_clear() {
    for (version, engine) in [("1.5.0", "nixl"), ("1.5.0", "native"), ("0.9.0", "auto")] {
        let run = Run::of(version, &["--memory", "vram", "--engine", engine], &[]);
        assert_eq!(run.smoke["memory"], "vram:0");
        assert_eq!(run.smoke["stand_ins"], serde_json::json!([]));
        if has_driver() {
            run.passed();
            assert_eq!(run.smoke["warnings"], serde_json::json!([]), "{:#}", run.smoke);
            assert!(run.smoke["gpu"]["name"].is_string(), "{:#}", run.smoke);
            continue;
        }
        let searched = "searched: the folders that ldconfig knows";
        run.failed("load", &["no NVIDIA driver", "libcuda.so.1", searched, "docker run --gpus all", "docker build"]);
        assert_eq!(run.smoke["gpu"], Value::Null);
    }
}

/// `--smoke auto` skips what an older NIXL has nothing to make a transfer with; a GPU that was asked for is another matter.
#[test]
fn apply_never_passes_over_a_missing_driver() {
    if has_driver() {
        return;
    }
    for version in ["0.9.0", "1.5.0"] {
        let (folder, site) = common::virtual_environment();
        let lib = std::fs::read_dir(nixl(version).join("lib")).unwrap().flatten().next().expect("lib/pythonX.Y");
        std::fs::write(site.join("nixl.pth"), format!("{}\n", lib.path().join("site-packages").display())).unwrap();
        let arguments = ["apply", "--memory", "vram", folder.path().to_str().unwrap()];
        let (status, document) = common::run_json(arguments);
        assert_eq!((status, &document["smoke"]["status"]), (1, &"failed".into()), "{document:#}");
        assert_eq!(document["files"][0]["status"], "patched", "{document:#}");
    }
}

/// LIBFABRIC's plugin gets a stand-in for the driver where host memory is moved; here it would be a lie.
#[test]
fn the_drivers_stand_in_is_never_used_for_gpu_memory() {
    let libraries = lab(&["libfabric"]);
    let arguments = ["--backend", "LIBFABRIC", "--memory", "vram", "--library-path", libraries.to_str().unwrap()];
    let run = Run::of("1.5.0", &arguments, &[]);
    assert_eq!(run.smoke["stand_ins"], serde_json::json!([]));
    assert!(!run.smoke["environment"].to_string().contains("LD_PRELOAD"), "{:#}", run.smoke);
    if !has_driver() {
        run.failed("load", &["no NVIDIA driver", libraries.to_str().unwrap()]);
    }
}

#[test]
fn a_whole_transfer_goes_through_the_gpus_memory() {
    for (size, iterations) in [("1", "1"), ("1000003", "7"), ("1M", "200"), ("64M", "4")] {
        let run = Run::on_stand_in(LENIENT, &["--size", size, "--iterations", iterations], "");
        run.passed();
        assert_eq!(run.smoke["memory"], "vram:1");
        assert_eq!(run.smoke["gpu"]["name"], "stand-in for hardware, number 1");
        assert_eq!(run.smoke["gpu"]["driver"], format!("{}/libcuda.so.1", stand_in()));
        // It is the host's, after all.
        let warnings = run.smoke["warnings"].to_string();
        assert!(warnings.contains("UCX misdetected the memory of `vram:1` as host memory"), "{warnings}");
    }
}

#[test]
fn people_are_told_whose_memory_it_was() {
    let mut command = common::program();
    command.args(["smoke", "--backend", "UCX", "--size", "1M", "--memory", "vram", "--library-path", stand_in(), "-v"]);
    let text = common::stdout(&command.arg(nixl(LENIENT)).output().unwrap());
    assert!(text.contains("vram:0 to vram:0 (stand-in for hardware, number 0, CUDA 13.0)"), "{text}");
    assert!(text.contains(&format!("NVIDIA driver: {}/libcuda.so.1", stand_in())), "{text}");
}

#[test]
fn wrong_bytes_in_the_gpus_memory_are_caught() {
    for (fault, word) in [
        ("corrupt:524288", "byte 524288 of the payload"),
        ("corrupt-read:1048575", "byte 1048575 of the payload"),
        ("short-write", "none of them was ever written"),
        ("short-read", "all of them are what the initiator had written before"),
    ] {
        let run = Run::on_stand_in(LENIENT, &["--size", "1M", "--fault", fault], "");
        run.failed("compare", &[word, "1 of the message's"]);
    }
}

#[test]
fn copies_that_do_not_copy_are_caught() {
    for trouble in ["lost-uploads", "lost-downloads"] {
        Run::on_stand_in(LENIENT, &["--size", "1M"], trouble).failed("connect", &["are wrong", "8 of the message's 8"]);
    }
    let broken = Run::on_stand_in(LENIENT, &["--size", "1M"], "broken-downloads");
    broken.failed("connect", &["`cuMemcpyDtoH` returned 700", "CUDA_ERROR_ILLEGAL_ADDRESS", "illegal memory access"]);
}

#[test]
fn what_the_driver_refuses_is_explained() {
    let run = |trouble: &str| Run::on_stand_in("1.5.0", &["--size", "1M"], trouble);
    run("no-device").failed("load", &["`cuInit` returned 100 (CUDA_ERROR_NO_DEVICE", "docker run --gpus all"]);
    run("stub").failed("load", &["the CUDA toolkit's stub for linking", "docker run --gpus all"]);
    run("mismatch").failed("load", &["`cuInit` returned 803", "different versions", "compat"]);
    run("full").failed("register", &["no room for 2.0 MiB", "3.0 MiB of its 16.0 MiB are free", "--size"]);
}

#[test]
fn a_gpu_that_is_not_there_is_counted_out() {
    for (number, visible) in [("2", "0,1"), ("65535", "1,0")] {
        let memory = format!("vram:{number}");
        let arguments = ["--memory", &memory, "--library-path", stand_in()];
        let run = Run::of("1.5.0", &arguments, &[("CUDA_VISIBLE_DEVICES", visible)]);
        let none = format!("no GPU number {number} for `--memory {memory}`");
        run.failed("load", &[&none, "the driver shows 2 GPUs, numbers 0 to 1", visible, "nvidia-smi -L"]);
    }
}

/// UCX without its CUDA module would read a GPU's addresses as its own.
#[test]
fn a_ucx_that_does_not_know_gpus_is_refused() {
    for version in ["1.0.1", "1.5.0"] {
        let run = Run::on_stand_in(version, &["--size", "1M"], "");
        run.failed("register", &["detected as host", "libuct_cuda.so", "libnvidia-ml.so.1", "compute,utility"]);
        let run = Run::on_stand_in(version, &["--size", "1M", "--engine", "native"], "");
        run.failed("register", &["misdetects the GPU's memory as host memory", "libuct_cuda.so", "compute,utility"]);
    }
}

/// The laboratory's libfabric was built without CUDA: nothing there can move a GPU's memory.
#[test]
fn a_libfabric_that_does_not_know_gpus_is_refused() {
    let libraries = lab(&["libfabric"]);
    let arguments = ["--backend", "LIBFABRIC", "--engine", "native", "--library-path", libraries.to_str().unwrap()];
    let run = Run::on_stand_in("1.5.0", &arguments, "");
    run.failed("agent", &["none of the providers cxi, efa, tcp, sockets", "GPU memory", "FI_HMEM", "nvidia_peermem"]);
}
