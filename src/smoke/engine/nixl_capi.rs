//! NIXL through its C API, `libnixl_capi.so`, loaded at run time.
//!
//! The declarations follow the documentation in NIXL's `wrapper.h`. An agent is destroyed, with its backends, once the
//! supervisor has the result; the handles of this API, which the process's end frees, are not.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use super::interface::Place;
use super::library::{self, Scope, functions};
use super::region::Region;
use crate::smoke::plan::memory::Memory;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;

/// `nixl_capi_status_t` of wrapper.h: zero is success, one is in progress, negative values are errors.
type Status = c_int;
/// `NIXL_CAPI_IN_PROG` of wrapper.h.
const IN_PROGRESS: Status = 1;
/// `NIXL_CAPI_MEM_DRAM` of `nixl_capi_mem_type_t` in wrapper.h.
const DRAM: c_int = 0;
/// `NIXL_CAPI_MEM_VRAM` of `nixl_capi_mem_type_t` in wrapper.h.
const VRAM: c_int = 1;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        #[repr(C)]
        struct $name { _opaque: [u8; 0] })*
    };
}

handles! {
    /// What `nixl_capi_agent_t` of wrapper.h points to.
    RawAgent;
    /// What `nixl_capi_backend_t` of wrapper.h points to.
    RawBackend;
    /// What `nixl_capi_mem_list_t` of wrapper.h points to.
    RawMemList;
    /// What `nixl_capi_params_t` of wrapper.h points to.
    RawParams;
    /// What `nixl_capi_string_list_t` of wrapper.h points to.
    RawStringList;
    /// What `nixl_capi_opt_args_t` of wrapper.h points to.
    RawOptArgs;
    /// What `nixl_capi_reg_dlist_t` of wrapper.h points to.
    RawRegList;
    /// What `nixl_capi_xfer_dlist_t` of wrapper.h points to.
    RawXferList;
    /// What `nixl_capi_xfer_req_t` of wrapper.h points to.
    RawRequest;
    /// What `nixl_capi_notif_map_t` of wrapper.h points to.
    RawNotifMap;
}

functions! {
    /// The functions of wrapper.h that are called here, without their prefix.
    Functions, "nixl_capi_":
    /// wrapper.h: creates an agent with a progress thread.
    create_agent(*const c_char, *mut *mut RawAgent) -> Status;
    /// wrapper.h: destroys an agent and its backends.
    destroy_agent(*mut RawAgent) -> Status;
    /// wrapper.h: the names of the plugins that NIXL has found.
    get_available_plugins(*mut RawAgent, *mut *mut RawStringList) -> Status;
    /// wrapper.h: the number of strings.
    string_list_size(*mut RawStringList, *mut usize) -> Status;
    /// wrapper.h: one string, owned by the list.
    string_list_get(*mut RawStringList, usize, *mut *const c_char) -> Status;
    /// wrapper.h: a plugin's memory types and default parameters.
    get_plugin_params(*mut RawAgent, *const c_char, *mut *mut RawMemList, *mut *mut RawParams) -> Status;
    /// wrapper.h: creates a backend in an agent.
    create_backend(*mut RawAgent, *const c_char, *mut RawParams, *mut *mut RawBackend) -> Status;
    /// wrapper.h: empty optional arguments.
    create_opt_args(*mut *mut RawOptArgs) -> Status;
    /// wrapper.h: frees them.
    destroy_opt_args(*mut RawOptArgs) -> Status;
    /// wrapper.h: sets the notification's text, which is copied.
    opt_args_set_notif_msg(*mut RawOptArgs, *const c_void, usize) -> Status;
    /// wrapper.h: turns the notification on; setting its text does not.
    opt_args_set_has_notif(*mut RawOptArgs, bool) -> Status;
    /// wrapper.h: an empty descriptor list for registration.
    create_reg_dlist(c_int, *mut *mut RawRegList) -> Status;
    /// wrapper.h: adds a descriptor (address, length, device, private metadata and its length).
    reg_dlist_add_desc(*mut RawRegList, usize, usize, u64, *const c_void, usize) -> Status;
    /// wrapper.h: registers memory.
    register_mem(*mut RawAgent, *mut RawRegList, *mut RawOptArgs) -> Status;
    /// wrapper.h: the agent's metadata, in memory from malloc.
    get_local_md(*mut RawAgent, *mut *mut c_void, *mut usize) -> Status;
    /// wrapper.h: loads another agent's metadata; returns its name, in memory from malloc.
    load_remote_md(*mut RawAgent, *const c_void, usize, *mut *mut c_char) -> Status;
    /// wrapper.h: an empty descriptor list for a transfer.
    create_xfer_dlist(c_int, *mut *mut RawXferList) -> Status;
    /// wrapper.h: adds a descriptor (address, length, device).
    xfer_dlist_add_desc(*mut RawXferList, usize, usize, u64) -> Status;
    /// wrapper.h: frees the list.
    destroy_xfer_dlist(*mut RawXferList) -> Status;
    /// wrapper.h: prepares a transfer (operation, local, remote, the other agent's name).
    create_xfer_req(*mut RawAgent, c_int, *mut RawXferList, *mut RawXferList, *const c_char, *mut *mut RawRequest, *mut RawOptArgs) -> Status;
    /// wrapper.h: starts it.
    post_xfer_req(*mut RawAgent, *mut RawRequest, *mut RawOptArgs) -> Status;
    /// wrapper.h: success when it is locally complete, else in progress or an error.
    get_xfer_status(*mut RawAgent, *mut RawRequest) -> Status;
    /// wrapper.h: the backend that NIXL has chosen for a request, in a new handle.
    query_xfer_backend(*mut RawAgent, *mut RawRequest, *mut *mut RawBackend) -> Status;
    /// wrapper.h: releases the agent's part of a request.
    release_xfer_req(*mut RawAgent, *mut RawRequest) -> Status;
    /// wrapper.h: frees the handle.
    destroy_xfer_req(*mut RawRequest) -> Status;
    /// wrapper.h: an empty map from agents to their notifications.
    create_notif_map(*mut *mut RawNotifMap) -> Status;
    /// wrapper.h: adds the notifications that have arrived.
    get_notifs(*mut RawAgent, *mut RawNotifMap, *mut RawOptArgs) -> Status;
    /// wrapper.h: the number of agents in the map.
    notif_map_size(*mut RawNotifMap, *mut usize) -> Status;
    /// wrapper.h: an agent's name, owned by the map.
    notif_map_get_agent_at(*mut RawNotifMap, usize, *mut *const c_char) -> Status;
    /// wrapper.h: the number of an agent's notifications.
    notif_map_get_notifs_size(*mut RawNotifMap, *const c_char, *mut usize) -> Status;
    /// wrapper.h: one notification, owned by the map.
    notif_map_get_notif(*mut RawNotifMap, *const c_char, usize, *mut *const c_void, *mut usize) -> Status;
    /// wrapper.h: empties the map.
    notif_map_clear(*mut RawNotifMap) -> Status;
}

/// A loaded libnixl_capi.so; it stays loaded until the process ends.
pub(super) struct NixlLibrary {
    functions: Functions,
}

impl NixlLibrary {
    /// Loads the library and finds every function that is called here.
    pub(super) fn load(path: &Path) -> Result<NixlLibrary, Cause> {
        let library = library::load(path, Scope::Global)?;
        let functions = Functions::find(&library)?;
        std::mem::forget(library);
        Ok(NixlLibrary { functions })
    }

    /// Creates an agent.
    pub(super) fn create_agent(self, name: &str) -> Result<Agent, Cause> {
        let name = text(name)?;
        let mut raw = ptr::null_mut();
        // SAFETY: both pointers are valid for the call.
        let status = unsafe { (self.functions.create_agent)(name.as_ptr(), &mut raw) };
        check("create_agent", status)?;
        let mut notifications = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        let status = unsafe { (self.functions.create_notif_map)(&mut notifications) };
        check("create_notif_map", status)?;
        Ok(Agent { functions: self.functions, raw, backends: Vec::new(), notifications, memory: Memory::Dram })
    }
}

/// A NIXL agent.
pub(super) struct Agent {
    functions: Functions,
    raw: *mut RawAgent,
    /// Its backends, with their names.
    backends: Vec<(String, *mut RawBackend)>,
    notifications: *mut RawNotifMap,
    /// The memory that both sides register.
    memory: Memory,
}

/// The other side's agent.
pub(super) struct Peer {
    name: CString,
}

/// A prepared transfer that can be posted again once it is complete.
pub(super) struct Request<'a> {
    agent: &'a Agent,
    raw: *mut RawRequest,
    options: *mut RawOptArgs,
}

impl Agent {
    /// Creates a backend. NIXL chooses among an agent's backends, as for Dynamo.
    pub(super) fn create_backend(&mut self, backend: &str) -> Result<(), Cause> {
        let name = text(backend)?;
        let (mut memory, mut parameters) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the agent is alive and all pointers are valid for the call.
        let status =
            unsafe { (self.functions.get_plugin_params)(self.raw, name.as_ptr(), &mut memory, &mut parameters) };
        check("get_plugin_params", status)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the agent and the parameters are alive and the pointers are valid for the call.
        let status = unsafe { (self.functions.create_backend)(self.raw, name.as_ptr(), parameters, &mut raw) };
        check("create_backend", status)?;
        self.backends.push((backend.into(), raw));
        Ok(())
    }

    /// Destroys the agent. Its status is of no use: the process ends next.
    pub(super) fn destroy(self) {
        // SAFETY: the agent is alive and not used again: this method consumes it, and every request borrows it.
        let _ = unsafe { (self.functions.destroy_agent)(self.raw) };
    }

    /// The names of the plugins that NIXL has found.
    pub(super) fn plugins(&self) -> Result<Vec<String>, Cause> {
        let mut list = ptr::null_mut();
        // SAFETY: the agent is alive and the pointer is valid for the call.
        check("get_available_plugins", unsafe { (self.functions.get_available_plugins)(self.raw, &mut list) })?;
        let mut count = 0;
        // SAFETY: the list is alive and the pointer is valid for the call.
        check("string_list_size", unsafe { (self.functions.string_list_size)(list, &mut count) })?;
        let mut names = Vec::new();
        for index in 0..count {
            let mut name = ptr::null();
            // SAFETY: the list is alive, the index is in range and the pointer is valid for the call.
            check("string_list_get", unsafe { (self.functions.string_list_get)(list, index, &mut name) })?;
            // SAFETY: the list, which is never freed, owns this string and ends it with a NUL.
            names.push(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// Registers a region with every backend that supports its memory.
    pub(super) fn register(&mut self, region: &Region) -> Result<(), Cause> {
        self.memory = region.memory();
        let (kind, device) = segment(self.memory);
        let mut list = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        check("create_reg_dlist", unsafe { (self.functions.create_reg_dlist)(kind, &mut list) })?;
        // SAFETY: the list is alive; the region is never freed.
        let status = unsafe {
            (self.functions.reg_dlist_add_desc)(list, region.address(), region.len(), device, ptr::null(), 0)
        };
        check("reg_dlist_add_desc", status)?;
        let options = self.options(None)?;
        // SAFETY: agent, list and options are alive; the region that the list names is never freed.
        check("register_mem", unsafe { (self.functions.register_mem)(self.raw, list, options) })
    }

    /// What another agent must load to reach this one.
    pub(super) fn metadata(&self) -> Result<Vec<u8>, Cause> {
        let (mut data, mut length) = (ptr::null_mut::<c_void>(), 0);
        // SAFETY: the agent is alive and both pointers are valid for the call.
        check("get_local_md", unsafe { (self.functions.get_local_md)(self.raw, &mut data, &mut length) })?;
        // SAFETY: the call has just returned this buffer of `length` bytes; it is never freed.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec())
    }

    /// Loads the other agent's metadata.
    pub(super) fn load_peer(&self, metadata: &[u8]) -> Result<Peer, Cause> {
        let mut name = ptr::null_mut();
        // SAFETY: the agent is alive, the bytes and the pointer are valid for the call.
        let status =
            unsafe { (self.functions.load_remote_md)(self.raw, metadata.as_ptr().cast(), metadata.len(), &mut name) };
        check("load_remote_md", status)?;
        // SAFETY: the call has just returned this string, which ends with a NUL; it is never freed.
        Ok(Peer { name: unsafe { CStr::from_ptr(name) }.to_owned() })
    }

    /// Prepares a transfer. Its notification reaches the other side after all its bytes are in place.
    pub(super) fn prepare(
        &self,
        operation: Operation,
        peer: &Peer,
        place: Place,
        notification: Option<&[u8]>,
    ) -> Result<Request<'_>, Cause> {
        let local = self.descriptors(place.local, place.length)?;
        let remote = self.descriptors(place.remote, place.length)?;
        let options = self.options(notification)?;
        let (operation, name) = (operation as c_int, peer.name.as_ptr());
        let mut raw = ptr::null_mut();
        // SAFETY: every handle is alive, the name ends with a NUL and the pointer is valid for the call.
        let status =
            unsafe { (self.functions.create_xfer_req)(self.raw, operation, local, remote, name, &mut raw, options) };
        check("create_xfer_req", status)?;
        for list in [local, remote] {
            // SAFETY: the list is alive and not used again; a request keeps its own copy.
            check("destroy_xfer_dlist", unsafe { (self.functions.destroy_xfer_dlist)(list) })?;
        }
        Ok(Request { agent: self, raw, options })
    }

    /// Takes the notifications that have arrived since the last call.
    pub(super) fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        let map = self.notifications;
        // SAFETY: agent and map are alive; the options may be null.
        check("get_notifs", unsafe { (self.functions.get_notifs)(self.raw, map, ptr::null_mut()) })?;
        let mut agents = 0;
        // SAFETY: the map is alive and the pointer is valid for the call.
        check("notif_map_size", unsafe { (self.functions.notif_map_size)(map, &mut agents) })?;
        if agents == 0 {
            return Ok(Vec::new());
        }
        let mut notifications = Vec::new();
        for agent in 0..agents {
            self.collect(map, agent, &mut notifications)?;
        }
        // SAFETY: the map is alive, and nothing that it owns is used afterwards.
        check("notif_map_clear", unsafe { (self.functions.notif_map_clear)(map) })?;
        Ok(notifications)
    }

    fn collect(&self, map: *mut RawNotifMap, agent: usize, notifications: &mut Vec<Vec<u8>>) -> Result<(), Cause> {
        let (mut name, mut count) = (ptr::null(), 0);
        // SAFETY: the map is alive, the index is in range and the pointer is valid for the call.
        check("notif_map_get_agent_at", unsafe { (self.functions.notif_map_get_agent_at)(map, agent, &mut name) })?;
        // SAFETY: the name was just returned by the unchanged map; the pointer is valid for the call.
        let status = unsafe { (self.functions.notif_map_get_notifs_size)(map, name, &mut count) };
        check("notif_map_get_notifs_size", status)?;
        for index in 0..count {
            let (mut data, mut length) = (ptr::null::<c_void>(), 0);
            // SAFETY: the unchanged map owns the name, the index is in range and both pointers are valid for the call.
            let status = unsafe { (self.functions.notif_map_get_notif)(map, name, index, &mut data, &mut length) };
            check("notif_map_get_notif", status)?;
            // SAFETY: the map owns this buffer of `length` bytes until it is cleared.
            notifications.push(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec());
        }
        Ok(())
    }

    fn options(&self, notification: Option<&[u8]>) -> Result<*mut RawOptArgs, Cause> {
        let mut options = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        check("create_opt_args", unsafe { (self.functions.create_opt_args)(&mut options) })?;
        let Some(text) = notification else { return Ok(options) };
        // SAFETY: the options are alive; the bytes are copied during the call.
        let status = unsafe { (self.functions.opt_args_set_notif_msg)(options, text.as_ptr().cast(), text.len()) };
        check("opt_args_set_notif_msg", status)?;
        // SAFETY: the options are alive.
        check("opt_args_set_has_notif", unsafe { (self.functions.opt_args_set_has_notif)(options, true) })?;
        Ok(options)
    }

    fn descriptors(&self, address: usize, length: usize) -> Result<*mut RawXferList, Cause> {
        let (kind, device) = segment(self.memory);
        let mut list = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        check("create_xfer_dlist", unsafe { (self.functions.create_xfer_dlist)(kind, &mut list) })?;
        // SAFETY: the list is alive; the call does not dereference the address.
        check("xfer_dlist_add_desc", unsafe { (self.functions.xfer_dlist_add_desc)(list, address, length, device) })?;
        Ok(list)
    }
}

impl Request<'_> {
    /// Starts the transfer. True when it is already complete on this side.
    pub(super) fn post(&self) -> Result<bool, Cause> {
        // SAFETY: all handles are alive; the memory is registered and never freed.
        let status = unsafe { (self.agent.functions.post_xfer_req)(self.agent.raw, self.raw, self.options) };
        check("post_xfer_req", status)?;
        Ok(status != IN_PROGRESS)
    }

    /// Whether the posted transfer is complete on this side; it may not have arrived.
    pub(super) fn is_complete(&self) -> Result<bool, Cause> {
        // SAFETY: both handles are alive.
        let status = unsafe { (self.agent.functions.get_xfer_status)(self.agent.raw, self.raw) };
        check("get_xfer_status", status)?;
        Ok(status != IN_PROGRESS)
    }

    /// The backend that NIXL has chosen for it; None where two backends of the agent cannot be told apart.
    ///
    /// The C API returns a new handle and no way to compare it. In every release with a C API (0.10.1 to 1.5.1) a handle
    /// holds nothing but a pointer to NIXL's backend, so two handles of one backend hold the same pointer.
    pub(super) fn backend(&self) -> Result<Option<String>, Cause> {
        let mut chosen = ptr::null_mut();
        // SAFETY: both handles are alive and the pointer is valid for the call.
        let status = unsafe { (self.agent.functions.query_xfer_backend)(self.agent.raw, self.raw, &mut chosen) };
        check("query_xfer_backend", status)?;
        let wanted = held(chosen);
        let mut matching = self.agent.backends.iter().filter(|(_, raw)| held(*raw) == wanted);
        let first = matching.next().filter(|_| matching.next().is_none());
        Ok(first.map(|(name, _)| name.clone()))
    }

    /// Frees a complete request.
    pub(super) fn release(self) -> Result<(), Cause> {
        // SAFETY: both handles are alive, and the transfer is complete.
        let status = unsafe { (self.agent.functions.release_xfer_req)(self.agent.raw, self.raw) };
        check("release_xfer_req", status)?;
        // SAFETY: the handle is alive and not used again: this method consumes the request.
        check("destroy_xfer_req", unsafe { (self.agent.functions.destroy_xfer_req)(self.raw) })?;
        // SAFETY: the options are alive and not used again: this method consumes the request.
        check("destroy_opt_args", unsafe { (self.agent.functions.destroy_opt_args)(self.options) })
    }
}

/// The pointer that a backend's handle holds.
fn held(backend: *mut RawBackend) -> usize {
    if backend.is_null() {
        return 0;
    }
    // SAFETY: a handle that is not null points to a structure whose one field is a pointer, and is never freed.
    unsafe { backend.cast::<usize>().read() }
}

/// NIXL's memory type and device number; the latter is the CUDA driver's.
fn segment(memory: Memory) -> (c_int, u64) {
    match memory {
        Memory::Dram => (DRAM, 0),
        Memory::Vram(device) => (VRAM, device.into()),
    }
}

fn check(function: &str, status: Status) -> Result<(), Cause> {
    if status < 0 {
        return Err(Cause::Call { function: format!("nixl_capi_{function}"), status });
    }
    Ok(())
}

fn text(name: &str) -> Result<CString, Cause> {
    CString::new(name).map_err(|_| Cause::Protocol(format!("the name `{}` contains a NUL", name.escape_default())))
}
