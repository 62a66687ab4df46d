//! Why a GPU's memory cannot be used, and what to do about it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::quantity::mebibytes;
use crate::choice::backend::Backend;
use crate::environment::elf::loader::{self, Loader};
use crate::report::stage::Stage;
use crate::smoke::observe::ucx;
use crate::smoke::plan::Plan;
use crate::smoke::plan::memory::Memory;
use crate::smoke::wire::cause::GpuTrouble;

/// `CUDA_ERROR_INVALID_DEVICE`, `_NO_DEVICE`, `_STUB_LIBRARY`, `_OPERATING_SYSTEM`, `_SYSTEM_NOT_READY`,
/// `_SYSTEM_DRIVER_MISMATCH`, `_COMPAT_NOT_SUPPORTED_ON_DEVICE` and `_UNKNOWN` of NVIDIA's cuda.h.
mod status {
    pub(super) const STUB_LIBRARY: i32 = 34;
    pub(super) const NO_DEVICE: i32 = 100;
    pub(super) const OPERATING_SYSTEM: i32 = 304;
    pub(super) const SYSTEM_NOT_READY: i32 = 802;
    pub(super) const SYSTEM_DRIVER_MISMATCH: i32 = 803;
    pub(super) const COMPAT_NOT_SUPPORTED: i32 = 804;
    pub(super) const UNKNOWN: i32 = 999;
}

/// What happened.
pub(crate) fn describe(trouble: &GpuTrouble, plan: &Plan) -> String {
    let memory = plan.memory;
    match trouble {
        GpuTrouble::NoDriver(words) => format!(
            "no NVIDIA driver for `--memory {memory}`: cannot load `libcuda.so.1` ({words})\n  searched: {}\n  the stand-in for \
             it in transfers of host memory is never used for GPU memory",
            places(plan).join(", "),
        ),
        GpuTrouble::Incomplete { driver, name } => {
            format!(
                "`{driver}` is not a complete NVIDIA driver, which `--memory {memory}` needs: it has no function `{name}`"
            )
        }
        GpuTrouble::NoSuchDevice { wanted, count } => {
            let there = match count {
                0 => "no GPU".into(),
                1 => "one GPU, number 0".into(),
                _ => format!("{count} GPUs, numbers 0 to {}", count - 1),
            };
            let visible = plan.variables.assignments(&["CUDA_VISIBLE_DEVICES"]);
            let visible = visible.first().map(|value| format!(" (`{value}`)")).unwrap_or_default();
            format!("no GPU number {wanted} for `--memory {memory}`: the driver shows {there}{visible}")
        }
        GpuTrouble::Full { wanted, free, total } => {
            let room = match total {
                0 => String::new(),
                total => format!(": {} of its {} are free", mebibytes(*free), mebibytes(*total)),
            };
            format!("the GPU has no room for {}{room}", mebibytes(*wanted))
        }
        GpuTrouble::TakenForHost => {
            "UCX misdetects the GPU's memory as host memory: it has no CUDA support here".into()
        }
        GpuTrouble::Call { status: status::STUB_LIBRARY, driver, .. } => {
            format!("`{driver}` is the CUDA toolkit's stub for linking, not the driver that `--memory {memory}` needs")
        }
        GpuTrouble::Call { function, status, name, words, driver } => {
            let name = if name.is_empty() { status.to_string() } else { format!("{status} ({name}: {words})") };
            format!("the NVIDIA driver `{driver}` failed: `{function}` returned {name}")
        }
    }
}

/// What to do next.
pub(crate) fn advise(trouble: &GpuTrouble) -> String {
    match trouble {
        GpuTrouble::NoDriver(_) | GpuTrouble::Incomplete { .. } => NO_DRIVER.into(),
        GpuTrouble::NoSuchDevice { .. } => {
            "name a GPU that `nvidia-smi -L` lists (`--memory vram:N`; `CUDA_VISIBLE_DEVICES` renumbers them), or give the \
             container more GPUs (`docker run --gpus all`)"
                .into()
        }
        GpuTrouble::Full { .. } => {
            "reduce `--size` (each of the two sides takes that much of the GPU's memory), choose another GPU (`--memory \
             vram:N`), or end what holds the memory (`nvidia-smi` lists it)"
                .into()
        }
        GpuTrouble::TakenForHost => UCX_WITHOUT_CUDA.into(),
        GpuTrouble::Call { status, .. } => advise_status(*status),
    }
}

/// For a function of the driver that returned this.
fn advise_status(status: i32) -> String {
    match status {
        status::STUB_LIBRARY => {
            return format!("remove the directory of stubs from `LD_LIBRARY_PATH` and `--library-path`, and {NO_DRIVER}");
        }
        status::NO_DEVICE => {
            "give the container its GPUs (`docker run --gpus all`), and check that `CUDA_VISIBLE_DEVICES` is not empty or `-1` \
             and that `nvidia-smi` lists a GPU: the driver's library is there, a GPU is not"
        }
        status::OPERATING_SYSTEM | status::UNKNOWN => {
            "check that `nvidia-smi` works, that this user may open /dev/nvidia* (`docker run --gpus all`), and that the module \
             `nvidia_uvm` is loaded on the host (`nvidia-modprobe -u`): the driver's library cannot reach the kernel's driver"
        }
        status::SYSTEM_NOT_READY => {
            "on a machine with NVSwitch, start NVIDIA's fabric manager on the host (`systemctl status nvidia-fabricmanager`): \
             the GPUs are not ready for use"
        }
        status::SYSTEM_DRIVER_MISMATCH | status::COMPAT_NOT_SUPPORTED => {
            "remove the container's own `libcuda.so.1` (a driver package, or `/usr/local/cuda/compat`) from the image or from \
             `LD_LIBRARY_PATH`: it hides the host's, and it and the kernel's driver are of different versions"
        }
        _ => "check whether `nvidia-smi` works here, and what the kernel says (`dmesg | grep -i nvrm`)",
    }
    .into()
}

const NO_DRIVER: &str = "test GPU memory on a machine with a GPU, with the NVIDIA container toolkit (`docker run --gpus all`), or \
    leave `--memory` at `dram`: the driver belongs to the host, not to the image, and a container build (`docker build`) never \
    has it";

/// Where the dynamic loader of a worker looks for the driver.
fn places(plan: &Plan) -> Vec<String> {
    let variable = plan.variables.get("LD_LIBRARY_PATH").map(loader::split_path).unwrap_or_default();
    Loader::new(plan.library_path.iter().cloned().chain(variable).collect()).places()
}

/// What to do when a library failed over GPU memory, `words` being the last lines it printed; `None` for host memory.
pub(crate) fn advise_library(plan: &Plan, words: &[String]) -> Option<String> {
    let Memory::Vram(_) = plan.memory else { return None };
    let has = |part: &str| words.iter().any(|line| line.contains(part));
    Some(match plan.backend() {
        Backend::Ucx if has("detected as host") => UCX_WITHOUT_CUDA.into(),
        Backend::Ucx => format!("{REGISTRATION}; {UCX_WITHOUT_CUDA}; run again with `UCX_LOG_LEVEL=debug`"),
        Backend::Libfabric => format!(
            "{REGISTRATION}; use a libfabric that was built with CUDA (`fi_info -p efa -c FI_HMEM` then lists the provider), on \
             AWS the EFA installer's (`--library-path /opt/amazon/efa/lib`); run again with `FI_LOG_LEVEL=info`"
        ),
    })
}

const REGISTRATION: &str = "load the kernel module `nvidia_peermem` on the host (`modprobe nvidia_peermem`) or use dma-buf (the \
    open kernel modules of NVIDIA's driver, Linux 5.12 or newer): GPUDirect RDMA, by which a network card reaches GPU memory, \
    needs one of them";

const UCX_WITHOUT_CUDA: &str = "let UCX load its module `libuct_cuda.so`, without which it does not know GPU memory and does not \
    say so: the module needs `libcuda.so.1` and `libnvidia-ml.so.1`, which the NVIDIA container toolkit provides with \
    `NVIDIA_DRIVER_CAPABILITIES=compute,utility` (or `all`), and `UCX_TLS` must allow `cuda`";

/// What a provider of libfabric must offer besides, for a sentence; empty for host memory.
pub(crate) fn demand(plan: &Plan) -> &'static str {
    match plan.memory {
        Memory::Dram => "",
        Memory::Vram(_) => " and GPU memory (`FI_HMEM`)",
    }
}

/// What to do when a library crashed over GPU memory; `None` for host memory, and before the memory is used.
pub(crate) fn advise_dead(plan: &Plan, stage: Stage, status: ExitStatus) -> Option<String> {
    // SIGABRT, SIGBUS and SIGSEGV.
    let crashed = matches!(status.signal(), Some(6 | 7 | 11));
    if stage < Stage::Register || !crashed {
        return None;
    }
    advise_library(plan, &[])
}

/// A warning about a transfer of GPU memory that passed although UCX, by its own statements, did not know that memory.
pub(crate) fn misdetection(plan: &Plan, statements: impl Fn() -> String) -> Option<String> {
    let Memory::Vram(_) = plan.memory else { return None };
    ucx::names_host_memory(&statements()).then(|| {
        format!(
            "UCX misdetected the memory of `{}` as host memory: it has no CUDA support here, and cannot move a real GPU's \
             memory\nhelp: {UCX_WITHOUT_CUDA}",
            plan.memory
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::plan::tests::plan;

    fn failed(status: i32) -> GpuTrouble {
        let (name, words) = ("CUDA_ERROR_X".into(), "in words".into());
        GpuTrouble::Call { function: "cuInit".into(), status, name, words, driver: "/d/libcuda.so.1".into() }
    }

    #[test]
    fn what_the_driver_says_has_its_advice() {
        for (status, advice) in [
            (34, "docker run --gpus all"),
            (100, "CUDA_VISIBLE_DEVICES"),
            (304, "/dev/nvidia*"),
            (802, "fabricmanager"),
            (803, "compat"),
            (804, "compat"),
            (999, "nvidia_uvm"),
            (1, "nvidia-smi"),
        ] {
            let trouble = failed(status);
            assert!(advise(&trouble).contains(advice), "{status}: {}", advise(&trouble));
            assert!(describe(&trouble, &plan(Backend::Ucx)).contains("`/d/libcuda.so.1`"), "{status}");
        }
        assert!(describe(&failed(34), &plan(Backend::Ucx)).contains("stub"));
        let words = describe(&failed(999), &plan(Backend::Ucx));
        assert!(words.contains("`cuInit` returned 999 (CUDA_ERROR_X: in words)"), "{words}");
    }

    #[test]
    fn registration_of_gpu_memory_has_advice_of_its_own() {
        let gpu = |backend| Plan { memory: Memory::Vram(0), ..plan(backend) };
        let host = vec!["E1 ucx_utils.cpp:674] VRAM memory is detected as host by UCX.".to_string()];
        let advice = advise_library(&gpu(Backend::Ucx), &host).unwrap();
        assert!(advice.contains("libnvidia-ml.so.1") && !advice.contains("nvidia_peermem"), "{advice}");
        assert!(advise_library(&gpu(Backend::Ucx), &[]).unwrap().contains("nvidia_peermem"));
        assert!(advise_library(&gpu(Backend::Libfabric), &[]).unwrap().contains("dma-buf"));
        assert_eq!(advise_library(&plan(Backend::Ucx), &host), None);
    }

    #[test]
    fn only_a_crash_over_registered_gpu_memory_is_explained_by_it() {
        let gpu = Plan { memory: Memory::Vram(0), ..plan(Backend::Ucx) };
        let (crash, killed) = (ExitStatus::from_raw(11), ExitStatus::from_raw(9));
        assert!(advise_dead(&gpu, Stage::Connect, crash).unwrap().contains("libuct_cuda.so"));
        for (plan, stage, status) in
            [(&gpu, Stage::Connect, killed), (&gpu, Stage::Load, crash), (&plan(Backend::Ucx), Stage::Connect, crash)]
        {
            assert_eq!(advise_dead(plan, stage, status), None, "{stage} {status}");
        }
    }
}
