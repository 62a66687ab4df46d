//! Which provider carries the bytes.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ptr;

use super::abi::{self, FiInfo};
use super::functions::{Functions, text};
use crate::smoke::plan::memory::Memory;
use crate::smoke::wire::cause::Cause;

/// The providers that NIXL's plugin accepts, in its order.
const PROVIDERS: [&str; 4] = ["cxi", "efa", "tcp", "sockets"];

/// Chooses the first info of the first provider in NIXL's order, one with delivery completion where there is one.
///
/// # Errors
/// [`Cause::NoProvider`] where libfabric offers none of them.
pub(super) fn choose(functions: &Functions, version: u32, memory: Memory) -> Result<(*mut FiInfo, String), Cause> {
    let delivering = offers(functions, version, memory, true)?;
    let ordering = offers(functions, version, memory, false)?;
    for wanted in PROVIDERS {
        for (info, provider) in delivering.iter().chain(&ordering) {
            if provider == wanted {
                return Ok((*info, provider.clone()));
            }
        }
    }
    let mut offered: Vec<String> = delivering.into_iter().chain(ordering).map(|(_, provider)| provider).collect();
    offered.sort();
    offered.dedup();
    Err(Cause::NoProvider { wanted: PROVIDERS.map(String::from).to_vec(), offered })
}

/// The names of the providers that libfabric offers NIXL's plugin, in its order.
///
/// The query is the plugin's: NIXL 1.5.1, `getAvailableNetworkDevices` in `libfabric_common.cpp`.
pub(super) fn offered(functions: &Functions, version: u32) -> Vec<String> {
    let Ok(hints) = empty_hints(functions) else { return Vec::new() };
    // SAFETY: the info and all its attributes were just allocated, and nothing else refers to them.
    unsafe {
        (*hints).caps = abi::FI_MSG | abi::FI_RMA | abi::FI_LOCAL_COMM | abi::FI_REMOTE_COMM;
        (*hints).mode = abi::FI_CONTEXT;
        (*(*hints).ep_attr).r#type = abi::FI_EP_RDM;
        // All but the two deprecated modes.
        (*(*hints).domain_attr).mr_mode = !3;
    }
    let mut names: Vec<String> = Vec::new();
    for (_, name) in matching(functions, version, hints).unwrap_or_default() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The names of the providers that libfabric was built with or has as modules, in its order, hooks included.
///
/// # Errors
/// When libfabric cannot list them.
pub(super) fn built_in(functions: &Functions, version: u32) -> Result<Vec<String>, Cause> {
    let mut names: Vec<String> = Vec::new();
    for (_, name) in listed(functions, version, abi::FI_PROV_ATTR_ONLY, ptr::null())? {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What libfabric offers, each info with its provider's name, in libfabric's order.
fn offers(
    functions: &Functions,
    version: u32,
    memory: Memory,
    delivering: bool,
) -> Result<Vec<(*mut FiInfo, String)>, Cause> {
    let hints = empty_hints(functions)?;
    // SAFETY: the info and all its attributes were just allocated, and nothing else refers to them.
    unsafe { fill_hints(hints, memory, delivering) };
    matching(functions, version, hints)
}

fn empty_hints(functions: &Functions) -> Result<*mut FiInfo, Cause> {
    // SAFETY: for a null pointer the function allocates an empty info.
    let hints = unsafe { (functions.dupinfo)(ptr::null()) };
    if hints.is_null() { Err(Cause::Memory(0)) } else { Ok(hints) }
}

/// What matches these hints, which stay allocated.
fn matching(functions: &Functions, version: u32, hints: *mut FiInfo) -> Result<Vec<(*mut FiInfo, String)>, Cause> {
    listed(functions, version, 0, hints)
}

/// What fi_getinfo lists with these flags and hints, each info with its provider's name.
fn listed(
    functions: &Functions,
    version: u32,
    flags: u64,
    hints: *const FiInfo,
) -> Result<Vec<(*mut FiInfo, String)>, Cause> {
    let mut first = ptr::null_mut();
    // SAFETY: node, service and hints may be null; hints that are not are alive, and the pointer is valid for the call.
    let status = unsafe { (functions.getinfo)(version, ptr::null(), ptr::null(), flags, hints, &mut first) };
    if status == -abi::FI_ENODATA {
        return Ok(Vec::new());
    }
    functions.check("fi_getinfo", status as isize)?;
    let mut offers = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: fi_getinfo has just allocated this list, and it is never freed.
        let info = unsafe { &*next };
        // SAFETY: every info of the list has its attributes.
        let fabric = unsafe { &*info.fabric_attr };
        offers.push((next, text(fabric.prov_name)));
        next = info.next;
    }
    Ok(offers)
}

/// Asks for what NIXL's plugin asks for: reliable datagrams with messages and RMA; and for every registration mode that
/// this engine handles.
///
/// # Safety
/// The info and its attributes are allocated, and nothing else refers to them.
unsafe fn fill_hints(hints: *mut FiInfo, memory: Memory, delivering: bool) {
    // SAFETY: the caller's promise.
    let hints = unsafe { &mut *hints };
    // SAFETY: the caller's promise.
    let endpoint = unsafe { &mut *hints.ep_attr };
    // SAFETY: the caller's promise.
    let domain = unsafe { &mut *hints.domain_attr };
    // SAFETY: the caller's promise.
    let transmit = unsafe { &mut *hints.tx_attr };
    // SAFETY: the caller's promise.
    let receive = unsafe { &mut *hints.rx_attr };

    hints.caps = abi::FI_MSG | abi::FI_RMA | abi::FI_LOCAL_COMM | abi::FI_REMOTE_COMM;
    hints.mode = abi::FI_CONTEXT | abi::FI_CONTEXT2;
    endpoint.r#type = abi::FI_EP_RDM;
    domain.control_progress = abi::FI_PROGRESS_MANUAL;
    domain.data_progress = abi::FI_PROGRESS_MANUAL;
    domain.mr_mode =
        abi::FI_MR_LOCAL | abi::FI_MR_VIRT_ADDR | abi::FI_MR_ALLOCATED | abi::FI_MR_PROV_KEY | abi::FI_MR_ENDPOINT;
    if memory != Memory::Dram {
        hints.caps |= abi::FI_HMEM;
        domain.mr_mode |= abi::FI_MR_HMEM;
    }
    if delivering {
        transmit.op_flags = abi::FI_DELIVERY_COMPLETE;
    } else {
        transmit.msg_order = abi::FI_ORDER_SAW;
        receive.msg_order = abi::FI_ORDER_SAW;
    }
}
