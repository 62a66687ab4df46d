//! A stand-in for NVIDIA's libcuda.so.1, where there is no driver: a container build, a machine without a GPU.
//!
//! NIXL's LIBFABRIC plugin is linked with that library and calls it for GPU memory alone. Every function here says that
//! there is no GPU, which is true where this is used. The names are those that the plugins of NIXL's wheels import
//! (`nm -D --undefined-only`, 0.5.1 to 1.5.1), and a few that newer source calls. It is no part of
//! the program's own code: build.rs compiles it into a library of its own.
#![no_std]
#![allow(non_snake_case)]

use core::ffi::{c_char, c_int};

/// `CUDA_ERROR_NO_DEVICE` of NVIDIA's cuda.h.
const NO_DEVICE: c_int = 100;
/// `CUDA_SUCCESS` of NVIDIA's cuda.h.
const SUCCESS: c_int = 0;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

macro_rules! refusals {
    ($($name:ident)*) => {
        // The arguments are not looked at: in the C calling convention the caller alone deals with them.
        $(#[unsafe(no_mangle)]
        pub extern "C" fn $name() -> c_int {
            NO_DEVICE
        })*
    };
}

refusals! {
    cuCtxGetCurrent
    cuCtxPopCurrent_v2
    cuCtxPushCurrent_v2
    cuCtxSetCurrent
    cuDeviceGet
    cuDeviceGetPCIBusId
    cuDevicePrimaryCtxRelease_v2
    cuDevicePrimaryCtxRetain
    cuInit
    cuPointerGetAttributes
}

macro_rules! texts {
    ($($name:ident)*) => {
        $(
        /// # Safety
        /// `text` is null or points to a place for a pointer, as cuda.h demands.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(_error: c_int, text: *mut *const c_char) -> c_int {
            if !text.is_null() {
                // SAFETY: not null, and by contract a place for a pointer.
                unsafe { text.write(c"no NVIDIA driver: a stand-in for libcuda.so.1".as_ptr()) };
            }
            SUCCESS
        })*
    };
}

texts! {
    cuGetErrorName
    cuGetErrorString
}
