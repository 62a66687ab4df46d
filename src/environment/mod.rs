//! What is installed on this machine: Pythons and what they import, NIXL, shared libraries, fabric devices.
#![forbid(unsafe_code)]

pub(crate) mod demands;
pub(crate) mod efa_installer;
pub(crate) mod elf;
pub(crate) mod fabric_devices;
pub(crate) mod libfabric;
pub(crate) mod machine;
pub(crate) mod media_loader;
pub(crate) mod misspelt;
pub(crate) mod nixl;
pub(crate) mod nixl_config;
pub(crate) mod nixl_import;
pub(crate) mod nixl_mix;
pub(crate) mod program;
pub(crate) mod python;
pub(crate) mod rust;
pub(crate) mod source_date;
pub(crate) mod ucx;
pub(crate) mod ucx_modules;
pub(crate) mod variables;
