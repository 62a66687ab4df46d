//! NVIDIA's driver through libcuda.so.1, loaded at run time: GPU memory, and copies between it and host memory.
//!
//! The signatures follow NVIDIA's cuda.h (CUDA Driver API reference). Every call that needs a context makes the device's
//! primary context current first, so that any thread may make the call. The CUDA runtime uses the primary context too, and
//! with it everything else in this process that uses the GPU. Nothing is ever freed: the process ends right after the
//! transfer.
//!
//! **Order of copies.** `cuMemcpyHtoD` from pageable memory may return before the bytes are in place (CUDA Driver API, "API
//! synchronization behavior"), and a network card does not wait for a stream: `cuCtxSynchronize` follows each copy. A copy to
//! the host that starts after a notification sees what was written before it. The comparison relies on these copies.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ops::Range;
use std::path::Path;
use std::ptr;

use super::library::{self, LoadError, MissingFunction, Scope, functions};
use crate::smoke::wire::cause::{Cause, GpuTrouble};
use crate::smoke::wire::worker::Gpu;

/// The driver's name for the dynamic loader.
const DRIVER: &str = "libcuda.so.1";

/// `CUresult` of cuda.h.
type Status = c_int;
/// `CUdeviceptr` of cuda.h, on 64-bit machines.
type Address = u64;

functions! {
    /// The functions of cuda.h that are called here, without their prefix. The header's macros add the version to the
    /// plain names.
    #[allow(non_snake_case, reason = "the names are the header's")]
    Functions, "cu":
    /// cuda.h: initializes the driver; the first call.
    Init(c_uint) -> Status;
    /// cuda.h: the CUDA version that the driver supports, 1000 * major + 10 * minor.
    DriverGetVersion(*mut c_int) -> Status;
    /// cuda.h: the number of devices.
    DeviceGetCount(*mut c_int) -> Status;
    /// cuda.h: the device with this number.
    DeviceGet(*mut c_int, c_int) -> Status;
    /// cuda.h: its name, in a buffer of this length.
    DeviceGetName(*mut c_char, c_int, c_int) -> Status;
    /// cuda.h: its primary context, created where there is none.
    DevicePrimaryCtxRetain(*mut *mut c_void, c_int) -> Status;
    /// cuda.h: binds a context to the calling thread.
    CtxSetCurrent(*mut c_void) -> Status;
    /// cuda.h: waits until the current context has finished all its work.
    CtxSynchronize() -> Status;
    /// cuda.h: free and total bytes of the current context's device.
    MemGetInfo_v2(*mut usize, *mut usize) -> Status;
    /// cuda.h: allocates on the current context's device.
    MemAlloc_v2(*mut Address, usize) -> Status;
    /// cuda.h: copies to a device.
    MemcpyHtoD_v2(Address, *const c_void, usize) -> Status;
    /// cuda.h: copies from a device.
    MemcpyDtoH_v2(*mut c_void, Address, usize) -> Status;
    /// cuda.h: an error's name, in constant memory.
    GetErrorName(Status, *mut *const c_char) -> Status;
    /// cuda.h: an error in words, in constant memory.
    GetErrorString(Status, *mut *const c_char) -> Status;
}

/// One GPU.
pub(crate) struct Cuda {
    functions: Functions,
    number: u16,
    device: c_int,
    context: *mut c_void,
}

// SAFETY: any thread may call the driver's functions, and a context may be current in several threads (CUDA Driver API,
// "Context Management"); the context's pointer is never dereferenced here.
unsafe impl Send for Cuda {}
// SAFETY: a shared reference only calls functions that several threads may call at a time, for the same reason.
unsafe impl Sync for Cuda {}

impl Cuda {
    /// Loads the driver and opens the GPU with this number.
    ///
    /// # Errors
    /// Where there is no driver, no such GPU, or a call fails.
    pub(crate) fn open(number: u16) -> Result<&'static Cuda, Cause> {
        Cuda::open_with(Path::new(DRIVER), number)
    }

    fn open_with(driver: &Path, number: u16) -> Result<&'static Cuda, Cause> {
        // Libraries that use the GPU may look for the driver's symbols in the global scope.
        let library =
            library::load(driver, Scope::Global).map_err(|LoadError(words)| Cause::Gpu(GpuTrouble::NoDriver(words)))?;
        let functions = Functions::find(&library)
            .map_err(|MissingFunction(name)| Cause::Gpu(GpuTrouble::Incomplete { driver: path(), name }))?;
        std::mem::forget(library);
        let mut cuda = Cuda { functions, number, device: 0, context: ptr::null_mut() };
        cuda.open_device()?;
        // Its allocations are never freed, so it lives as long as the process.
        Ok(Box::leak(Box::new(cuda)))
    }

    fn open_device(&mut self) -> Result<(), Cause> {
        // SAFETY: the argument must be zero (cuda.h).
        self.check("cuInit", unsafe { (self.functions.Init)(0) })?;
        let mut count = 0;
        // SAFETY: the pointer is valid for the call.
        self.check("cuDeviceGetCount", unsafe { (self.functions.DeviceGetCount)(&mut count) })?;
        if c_int::from(self.number) >= count {
            return Err(Cause::Gpu(GpuTrouble::NoSuchDevice {
                wanted: self.number,
                count: count.try_into().unwrap_or(0),
            }));
        }
        // SAFETY: the pointer is valid for the call.
        let status = unsafe { (self.functions.DeviceGet)(&mut self.device, self.number.into()) };
        self.check("cuDeviceGet", status)?;
        // SAFETY: the pointer is valid for the call, and the driver has just returned the device.
        let status = unsafe { (self.functions.DevicePrimaryCtxRetain)(&mut self.context, self.device) };
        self.check("cuDevicePrimaryCtxRetain", status)?;
        self.make_current()
    }

    /// What the driver states about the GPU and itself.
    ///
    /// # Errors
    /// Where a call fails.
    pub(crate) fn describe(&self) -> Result<Gpu, Cause> {
        let mut name = [0u8; 256];
        let (buffer, length) = (name.as_mut_ptr().cast(), name.len() as c_int);
        // SAFETY: the buffer is `length` bytes long, and the driver has returned the device.
        self.check("cuDeviceGetName", unsafe { (self.functions.DeviceGetName)(buffer, length, self.device) })?;
        let mut version = 0;
        // SAFETY: the pointer is valid for the call.
        self.check("cuDriverGetVersion", unsafe { (self.functions.DriverGetVersion)(&mut version) })?;
        let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy().into_owned();
        Ok(Gpu { name, cuda: format!("{}.{}", version / 1000, version % 1000 / 10), driver: path() })
    }

    /// Allocates `length` bytes of the GPU's memory.
    ///
    /// # Errors
    /// Where fewer bytes are free, or a call fails.
    pub(crate) fn allocate(&'static self, length: usize) -> Result<Buffer, Cause> {
        self.make_current()?;
        let mut address = 0;
        // SAFETY: the pointer is valid for the call.
        let status = unsafe { (self.functions.MemAlloc_v2)(&mut address, length) };
        if status == OUT_OF_MEMORY {
            let (free, total) = self.memory();
            return Err(Cause::Gpu(GpuTrouble::Full { wanted: length as u64, free, total }));
        }
        self.check("cuMemAlloc", status)?;
        Ok(Buffer { cuda: self, address, length })
    }

    /// The GPU's number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Free and total bytes; zeros where the driver does not say.
    fn memory(&self) -> (u64, u64) {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both pointers are valid for the call.
        let _ = unsafe { (self.functions.MemGetInfo_v2)(&mut free, &mut total) };
        (free as u64, total as u64)
    }

    fn make_current(&self) -> Result<(), Cause> {
        // SAFETY: the driver has returned the context, and it is never released.
        self.check("cuCtxSetCurrent", unsafe { (self.functions.CtxSetCurrent)(self.context) })
    }

    fn synchronize(&self) -> Result<(), Cause> {
        // SAFETY: the function has no arguments.
        self.check("cuCtxSynchronize", unsafe { (self.functions.CtxSynchronize)() })
    }

    fn check(&self, function: &str, status: Status) -> Result<(), Cause> {
        if status == SUCCESS {
            return Ok(());
        }
        let (name, words) =
            (self.text(self.functions.GetErrorName, status), self.text(self.functions.GetErrorString, status));
        Err(Cause::Gpu(GpuTrouble::Call { function: function.into(), status, name, words, driver: path() }))
    }

    /// What a function of the driver says about an error; empty for one that it does not know.
    fn text(&self, function: unsafe extern "C" fn(Status, *mut *const c_char) -> Status, status: Status) -> String {
        let mut text = ptr::null();
        // SAFETY: the function takes any status, and the pointer is valid for the call.
        let known = unsafe { function(status, &mut text) };
        if known != SUCCESS || text.is_null() {
            return String::new();
        }
        // SAFETY: the driver owns this string, ends it with a NUL and never frees it.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

/// `CUDA_SUCCESS` of cuda.h.
const SUCCESS: Status = 0;
/// `CUDA_ERROR_OUT_OF_MEMORY` of cuda.h.
const OUT_OF_MEMORY: Status = 2;

/// The file that the driver was loaded from.
fn path() -> String {
    library::mapped("libcuda.so").map_or(DRIVER.into(), |file| file.display().to_string())
}

/// GPU memory, or a part of it.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    cuda: &'static Cuda,
    address: Address,
    length: usize,
}

impl Buffer {
    /// Address of the first byte, which the CPU must not dereference.
    pub(crate) fn address(&self) -> usize {
        self.address as usize
    }

    /// The GPU's number.
    pub(crate) fn device(&self) -> u16 {
        self.cuda.number()
    }

    /// The bytes of `range`; panics where it exceeds the buffer.
    pub(crate) fn part(&self, range: Range<usize>) -> Buffer {
        assert!(range.start <= range.end && range.end <= self.length);
        Buffer { address: self.address + range.start as u64, length: range.len(), ..*self }
    }

    /// Copies bytes to the GPU; they are in place when this returns.
    ///
    /// # Errors
    /// Where a call fails.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Cause> {
        assert_eq!(bytes.len(), self.length);
        if bytes.is_empty() {
            return Ok(());
        }
        self.cuda.make_current()?;
        // SAFETY: both sides are as long as the slice, and the GPU's memory is never freed.
        let status = unsafe { (self.cuda.functions.MemcpyHtoD_v2)(self.address, bytes.as_ptr().cast(), bytes.len()) };
        self.cuda.check("cuMemcpyHtoD", status)?;
        self.cuda.synchronize()
    }

    /// Copies the bytes from the GPU.
    ///
    /// # Errors
    /// Where a call fails.
    pub(crate) fn read(&self, bytes: &mut [u8]) -> Result<(), Cause> {
        assert_eq!(bytes.len(), self.length);
        if bytes.is_empty() {
            return Ok(());
        }
        self.cuda.make_current()?;
        // SAFETY: both sides are as long as the slice, which is borrowed exclusively; the GPU's memory is never freed.
        let status =
            unsafe { (self.cuda.functions.MemcpyDtoH_v2)(bytes.as_mut_ptr().cast(), self.address, bytes.len()) };
        self.cuda.check("cuMemcpyDtoH", status)?;
        self.cuda.synchronize()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::OnceLock;

    /// A driver over this process's memory; fixtures/gpu_stand_in/libcuda.c says what that proves.
    pub(crate) fn stand_in() -> &'static Cuda {
        static DRIVER: OnceLock<&'static Cuda> = OnceLock::new();
        DRIVER.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gpu_stand_in/libcuda.c");
            let library = folder.path().join("libcuda.so.1");
            let mut compiler = Command::new("cc");
            compiler.args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
            assert!(compiler.arg("-lpthread").status().expect("a C compiler, cc").success());
            Cuda::open_with(&library, 1).unwrap_or_else(|cause| panic!("{cause:?}"))
        })
    }

    #[test]
    fn the_driver_describes_itself_and_its_gpu() {
        let gpu = stand_in().describe().unwrap();
        assert_eq!((gpu.name.as_str(), gpu.cuda.as_str()), ("stand-in for hardware, number 1", "13.0"));
        assert!(gpu.driver.contains("/libcuda.so.1"), "{}", gpu.driver);
    }

    #[test]
    fn any_thread_copies_bytes_both_ways() {
        let buffer = stand_in().allocate(1000).unwrap();
        assert_eq!(buffer.device(), 1);
        buffer.write(&[7; 1000]).unwrap();
        let part = buffer.part(10..20);
        assert_eq!(part.address(), buffer.address() + 10);
        std::thread::spawn(move || part.write(&[8; 10])).join().unwrap().unwrap();
        let mut bytes = [0; 30];
        buffer.part(0..30).read(&mut bytes).unwrap();
        assert_eq!(bytes[..10], [7; 10]);
        assert_eq!(bytes[10..20], [8; 10]);
        assert_eq!(bytes[20..], [7; 10]);
        buffer.part(5..5).read(&mut []).unwrap();
    }

    #[test]
    #[should_panic(expected = "range.end <= self.length")]
    fn a_part_outside_the_buffer_panics() {
        stand_in().allocate(10).unwrap().part(5..11);
    }

    #[test]
    fn a_failed_call_is_reported_in_the_drivers_words() {
        let beyond = Buffer { length: 11, ..stand_in().allocate(10).unwrap() };
        let Err(Cause::Gpu(GpuTrouble::Call { function, status, name, words, .. })) = beyond.write(&[0; 11]) else {
            panic!()
        };
        assert_eq!((function.as_str(), status), ("cuMemcpyHtoD", 1));
        assert_eq!((name.as_str(), words.as_str()), ("CUDA_ERROR_INVALID_VALUE", "invalid argument"));
    }

    #[test]
    fn a_library_that_is_no_driver_is_refused() {
        let open = |library: &str| match Cuda::open_with(Path::new(library), 0) {
            Err(Cause::Gpu(trouble)) => trouble,
            _ => panic!("{library}"),
        };
        assert!(matches!(open("libcuda-absent.so.1"), GpuTrouble::NoDriver(words) if words.contains("libcuda-absent")));
        assert!(matches!(open("libc.so.6"), GpuTrouble::Incomplete { name, .. } if name == "cuInit"));
    }
}
