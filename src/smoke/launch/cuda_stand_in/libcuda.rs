//! A stand-in for NVIDIA's libcuda.so.1 where there is no driver: in a container build, on a machine without a GPU.
//!
//! NIXL's LIBFABRIC plugin links to that library and calls it for GPU memory alone. Every function here reports that there
//! is no GPU. The names are those that the plugins of NIXL's wheels import (`nm -D --undefined-only`, 0.5.1 to 1.5.1), and a
//! few that newer sources call. This file is no module of the program: build.rs compiles it into a library of its own.
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
        // The C calling convention lets a function ignore its arguments: the caller cleans up.
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
        /// `text` is null or valid for writing a pointer, as cuda.h demands.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(_error: c_int, text: *mut *const c_char) -> c_int {
            if !text.is_null() {
                // SAFETY: not null, and so valid for writing by the caller's promise.
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
