//! The functions that libfabric exports, and its error numbers in words.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::{CStr, c_char, c_int, c_void};

use super::abi::{FabricAttr, FiInfo, FidFabric};
use crate::smoke::engine::library::functions;
use crate::smoke::wire::cause::Cause;

functions! {
    /// The exported functions of fabric.h that are called here, without their prefix.
    pub(super) Functions, "fi_":
    /// fabric.h: the library's interface version.
    version() -> u32;
    /// fabric.h: an error number in words, in constant memory.
    strerror(c_int) -> *const c_char;
    /// fabric.h: copies an info; for a null pointer, allocates an empty one with all its attributes.
    dupinfo(*const FiInfo) -> *mut FiInfo;
    /// fabric.h: lists what matches the hints.
    getinfo(u32, *const c_char, *const c_char, u64, *const FiInfo, *mut *mut FiInfo) -> c_int;
    /// fabric.h: opens a fabric.
    fabric(*mut FabricAttr, *mut *mut FidFabric, *mut c_void) -> c_int;
}

impl Functions {
    /// The library's interface version, as `FI_VERSION` of fabric.h packs it.
    pub(super) fn interface_version(&self) -> u32 {
        // SAFETY: the function has no arguments.
        unsafe { (self.version)() }
    }

    /// Fails where a function has returned a negative status.
    pub(super) fn check(&self, function: &str, status: isize) -> Result<(), Cause> {
        if status >= 0 { Ok(()) } else { Err(self.failure(function, status)) }
    }

    /// The failure of a function that has returned this negative status.
    pub(super) fn failure(&self, function: &str, status: isize) -> Cause {
        let number = c_int::try_from(-status).unwrap_or(c_int::MAX);
        // SAFETY: the function takes any number.
        let words = unsafe { (self.strerror)(number) };
        Cause::Library { function: function.into(), status: status as i64, words: text(words) }
    }
}

/// A string that the library owns; empty for a null pointer.
pub(super) fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the string ends with a NUL, and the library does not free it while this process lives.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
