//! UCX through libucp, loaded at run time: the native engine for the backend UCX.
//!
//! The signatures are ours, after ucp.h. Nothing is ever destroyed: destructors of vendor libraries may hang, and the
//! process ends right after the transfer. One thread makes all calls.
//!
//! **Order of notifications.** A notification is sent when `ucp_ep_flush_nbx` is complete that was called after the put
//! or get was posted: «All the AMO and RMA operations issued on the ep prior to this call are completed both at the origin
//! and at the target endpoint when this call returns» (ucp.h; or when the returned request is complete). So the bytes are in the target's memory before its notification is
//! even on its way, whatever order the lanes keep among themselves.
#![allow(unsafe_code)]

mod abi;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr;

use abi::{
    EpParams, ErrHandler, MemAttr, MemMapParams, Params, RequestParam, SockAddr, Status, TagRecvInfo, WorkerParams,
};

use super::interface::{Engine, Place, Transfer};
use super::library::{self, Scope, functions};
use super::region::Region;
use crate::report::stage::Stage;
use crate::smoke::plan::memory;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::cause::GpuTrouble;
use crate::smoke::wire::worker::Stated;

/// The tag of every notification.
const NOTE: u64 = 0x6e6f_7465;
/// What NIXL's plugin sets where the environment does not say otherwise, so that UCX chooses the transports for us that
/// it would choose for NIXL. A version of UCX that does not know one of them goes without it, there as here.
const CONFIGURATION: [(&CStr, &CStr); 3] =
    [(c"RNDV_THRESH", c"inf"), (c"MAX_RMA_RAILS", c"2"), (c"IB_PCI_RELAXED_ORDERING", c"try")];
/// A notification is shorter than this.
const LONGEST_NOTE: usize = 256;
/// Rounds of progress in one go, at most: a stream that does not end must not hide that a transfer is complete.
const ROUNDS: usize = 64;

functions! {
    /// The functions of ucp.h that are called here, without their prefix.
    Functions, "ucp_":
    /// ucp.h: the library's version.
    get_version_string() -> *const c_char;
    /// ucp.h: the configuration from the environment.
    config_read(*const c_char, *const c_char, *mut *mut c_void) -> Status;
    /// ucp.h: changes one of its values.
    config_modify(*mut c_void, *const c_char, *const c_char) -> Status;
    /// ucp.h: creates a context.
    init_version(c_uint, c_uint, *const Params, *mut c_void, *mut *mut c_void) -> Status;
    /// ucp.h: creates a worker.
    worker_create(*mut c_void, *const WorkerParams, *mut *mut c_void) -> Status;
    /// ucp.h: the worker's address, owned by the library.
    worker_get_address(*mut c_void, *mut *mut c_void, *mut usize) -> Status;
    /// ucp.h: moves everything on; zero when there was nothing to do.
    worker_progress(*mut c_void) -> c_uint;
    /// ucp.h: creates an endpoint to a worker's address.
    ep_create(*mut c_void, *const EpParams, *mut *mut c_void) -> Status;
    /// ucp.h: completes when all that was posted before is complete on both sides.
    ep_flush_nbx(*mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: registers memory.
    mem_map(*mut c_void, *const MemMapParams, *mut *mut c_void) -> Status;
    /// ucp.h: what UCX knows about registered memory.
    mem_query(*mut c_void, *mut MemAttr) -> Status;
    /// ucp.h: what the other side needs for access to it, owned by the library.
    rkey_pack(*mut c_void, *mut c_void, *mut *mut c_void, *mut usize) -> Status;
    /// ucp.h: makes a key of that.
    ep_rkey_unpack(*mut c_void, *const c_void, *mut *mut c_void) -> Status;
    /// ucp.h: writes.
    put_nbx(*mut c_void, *const c_void, usize, u64, *mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: reads.
    get_nbx(*mut c_void, *mut c_void, usize, u64, *mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: sends a message with a tag.
    tag_send_nbx(*mut c_void, *const c_void, usize, u64, *const RequestParam) -> *mut c_void;
    /// ucp.h: looks for a message with a tag, and takes it.
    tag_probe_nb(*mut c_void, u64, u64, c_int, *mut TagRecvInfo) -> *mut c_void;
    /// ucp.h: receives a message that was taken.
    tag_msg_recv_nbx(*mut c_void, *mut c_void, usize, *mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: a request's state.
    request_check_status(*mut c_void) -> Status;
    /// ucp.h: gives a request back.
    request_free(*mut c_void);
}

functions! {
    /// The functions of status.h that are called here, without their prefix.
    StatusFunctions, "ucs_":
    /// status.h: a status in words, in constant memory.
    status_string(Status) -> *const c_char;
}

/// A worker with an endpoint to one other worker.
pub(super) struct Ucp {
    functions: Functions,
    statuses: StatusFunctions,
    context: *mut c_void,
    worker: *mut c_void,
    memory: Option<Memory>,
    peer: Option<Peer>,
    stated: Stated,
}

/// The registered region.
struct Memory {
    handle: *mut c_void,
    first: usize,
    length: usize,
}

/// The other side.
#[derive(Clone, Copy)]
struct Peer {
    endpoint: *mut c_void,
    key: *mut c_void,
}

/// Loads libucp and creates a worker; UCX reads its configuration from the environment.
pub(super) fn open(path: &Path, enter: &mut dyn FnMut(Stage)) -> Result<Ucp, Cause> {
    enter(Stage::Load);
    // UCX's own modules are loaded later and use its symbols.
    let library = library::load(path, Scope::Global)?;
    let functions = Functions::find(&library)?;
    let statuses = StatusFunctions::find(&library)?;
    std::mem::forget(library);
    enter(Stage::Agent);
    // SAFETY: the function has no arguments.
    let version = unsafe { (functions.get_version_string)() };
    // SAFETY: the library owns this string and ends it with a zero.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    let file = library::mapped("libucp").unwrap_or_else(|| path.to_path_buf());
    let stated = Stated { library: file.display().to_string(), version, ..Stated::default() };
    let mut ucp = Ucp {
        functions,
        statuses,
        context: ptr::null_mut(),
        worker: ptr::null_mut(),
        memory: None,
        peer: None,
        stated,
    };
    ucp.create_context()?;
    enter(Stage::Backend);
    ucp.create_worker()?;
    Ok(ucp)
}

impl Ucp {
    fn configuration(&self) -> Result<*mut c_void, Cause> {
        let mut configuration = ptr::null_mut();
        // SAFETY: names may be absent; the pointer is valid for the call.
        let status = unsafe { (self.functions.config_read)(ptr::null(), ptr::null(), &mut configuration) };
        self.check("ucp_config_read", status)?;
        for (name, value) in CONFIGURATION {
            if std::env::var_os(format!("UCX_{}", name.to_string_lossy())).is_none() {
                // SAFETY: the configuration is alive; name and value end with a zero and are copied.
                let _ = unsafe { (self.functions.config_modify)(configuration, name.as_ptr(), value.as_ptr()) };
            }
        }
        Ok(configuration)
    }

    fn create_context(&mut self) -> Result<(), Cause> {
        let configuration = self.configuration()?;
        let params = Params {
            field_mask: abi::UCP_PARAM_FIELD_FEATURES,
            features: abi::UCP_FEATURE_RMA | abi::UCP_FEATURE_TAG,
            request_size: 0,
            request_init: ptr::null(),
            request_cleanup: ptr::null(),
            tag_sender_mask: 0,
            mt_workers_shared: 0,
            estimated_num_eps: 0,
            estimated_num_ppn: 0,
            name: ptr::null(),
        };
        let (major, minor) = (abi::UCP_API_MAJOR, abi::UCP_API_MINOR);
        // SAFETY: the parameters are valid for the call, and the configuration is alive.
        let status = unsafe { (self.functions.init_version)(major, minor, &params, configuration, &mut self.context) };
        self.check("ucp_init_version", status)
    }

    fn create_worker(&mut self) -> Result<(), Cause> {
        let params = WorkerParams {
            field_mask: abi::UCP_WORKER_PARAM_FIELD_THREAD_MODE,
            thread_mode: abi::UCS_THREAD_MODE_SINGLE,
            cpu_mask: [0; 16],
            events: 0,
            user_data: ptr::null_mut(),
            event_fd: -1,
            flags: 0,
            name: ptr::null(),
            am_alignment: 0,
            client_id: 0,
        };
        // SAFETY: the context is alive, and both structures are valid for the call.
        let status = unsafe { (self.functions.worker_create)(self.context, &params, &mut self.worker) };
        self.check("ucp_worker_create", status)
    }

    fn address(&self) -> Result<Vec<u8>, Cause> {
        let (mut address, mut length) = (ptr::null_mut(), 0);
        // SAFETY: the worker is alive and both pointers are valid for the call.
        let status = unsafe { (self.functions.worker_get_address)(self.worker, &mut address, &mut length) };
        self.check("ucp_worker_get_address", status)?;
        Ok(copied(address, length))
    }

    fn packed_key(&self) -> Result<Vec<u8>, Cause> {
        let memory = self.memory()?.handle;
        let (mut key, mut length) = (ptr::null_mut(), 0);
        // SAFETY: context and memory handle are alive and both pointers are valid for the call.
        let status = unsafe { (self.functions.rkey_pack)(self.context, memory, &mut key, &mut length) };
        self.check("ucp_rkey_pack", status)?;
        Ok(copied(key, length))
    }

    fn connect(&self, address: &[u8]) -> Result<*mut c_void, Cause> {
        let params = EpParams {
            field_mask: abi::UCP_EP_PARAM_FIELD_REMOTE_ADDRESS
                | abi::UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE
                | abi::UCP_EP_PARAM_FIELD_ERR_HANDLER,
            address: address.as_ptr().cast(),
            // As NIXL's plugin does: this mode decides which transports may be used.
            err_mode: abi::UCP_ERR_HANDLING_MODE_PEER,
            err_handler: ErrHandler { cb: Some(hear_no_error), arg: ptr::null_mut() },
            user_data: ptr::null_mut(),
            flags: 0,
            sockaddr: SockAddr { addr: ptr::null(), addrlen: 0 },
            conn_request: ptr::null_mut(),
            name: ptr::null(),
            local_sockaddr: SockAddr { addr: ptr::null(), addrlen: 0 },
        };
        let mut endpoint = ptr::null_mut();
        // SAFETY: the worker is alive; the address came from a worker of the same library version at the other side.
        let status = unsafe { (self.functions.ep_create)(self.worker, &params, &mut endpoint) };
        self.check("ucp_ep_create", status)?;
        Ok(endpoint)
    }

    fn unpack_key(&self, endpoint: *mut c_void, packed: &[u8]) -> Result<*mut c_void, Cause> {
        let mut key = ptr::null_mut();
        // SAFETY: the endpoint is alive; the bytes are what the other side's library has packed.
        let status = unsafe { (self.functions.ep_rkey_unpack)(endpoint, packed.as_ptr().cast(), &mut key) };
        self.check("ucp_ep_rkey_unpack", status)?;
        Ok(key)
    }

    fn receive(&self, message: *mut c_void, length: usize) -> Result<Vec<u8>, Cause> {
        let mut note = vec![0; length];
        let (buffer, parameters) = (note.as_mut_ptr().cast(), no_options());
        // SAFETY: the message was taken by a probe and is received once; the buffer is as long as it says, and stays
        // alive until the request is complete, below.
        let request = unsafe { (self.functions.tag_msg_recv_nbx)(self.worker, buffer, length, message, &parameters) };
        let note = ManuallyDrop::new(note);
        let mut under_way = Pending::new(self, "ucp_tag_msg_recv_nbx", request)?;
        while !under_way.is_complete(self)? {
            self.progress()?;
        }
        Ok(ManuallyDrop::into_inner(note))
    }

    /// UCX finds out itself whose memory it is, as it does for NIXL's plugin; what it takes for the host's it would touch.
    fn expect_gpu(&self, memory: *mut c_void) -> Result<(), Cause> {
        let mut attributes =
            MemAttr { field_mask: abi::UCP_MEM_ATTR_FIELD_MEM_TYPE, address: ptr::null_mut(), length: 0, mem_type: 0 };
        // SAFETY: the memory handle is alive and the structure is valid for the call.
        let status = unsafe { (self.functions.mem_query)(memory, &mut attributes) };
        self.check("ucp_mem_query", status)?;
        match attributes.mem_type {
            abi::UCS_MEMORY_TYPE_CUDA => Ok(()),
            _ => Err(Cause::Gpu(GpuTrouble::TakenForHost)),
        }
    }

    fn memory(&self) -> Result<&Memory, Cause> {
        self.memory.as_ref().ok_or_else(|| Cause::Protocol("no memory is registered".into()))
    }

    fn check(&self, function: &str, status: Status) -> Result<(), Cause> {
        if status >= 0 {
            return Ok(());
        }
        // SAFETY: any status has a text.
        let words = unsafe { (self.statuses.status_string)(status) };
        // SAFETY: the library owns this string and ends it with a zero.
        let words = unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned();
        Err(Cause::Library { function: function.into(), status: status.into(), words })
    }
}

impl Engine for Ucp {
    fn register(&mut self, region: &Region) -> Result<(), Cause> {
        let (first, length) = (region.address(), region.len());
        let params = MemMapParams {
            field_mask: abi::UCP_MEM_MAP_PARAM_FIELD_ADDRESS | abi::UCP_MEM_MAP_PARAM_FIELD_LENGTH,
            address: ptr::with_exposed_provenance_mut(first),
            length,
            flags: 0,
            prot: 0,
            memory_type: 0,
        };
        let mut handle = ptr::null_mut();
        // SAFETY: the context is alive; the region is never freed.
        let status = unsafe { (self.functions.mem_map)(self.context, &params, &mut handle) };
        self.check("ucp_mem_map", status)?;
        if region.memory() != memory::Memory::Dram {
            self.expect_gpu(handle)?;
        }
        self.memory = Some(Memory { handle, first, length });
        Ok(())
    }

    /// The address's length in four bytes, least significant first, the address, the packed key.
    fn metadata(&self) -> Result<Vec<u8>, Cause> {
        let address = self.address()?;
        let length = u32::try_from(address.len()).map_err(|_| Cause::Protocol("an endless address".into()))?;
        let mut metadata = length.to_le_bytes().to_vec();
        metadata.extend(address);
        metadata.extend(self.packed_key()?);
        Ok(metadata)
    }

    fn introduce(&mut self, metadata: &[u8]) -> Result<(), Cause> {
        let (address, packed) = split(metadata).ok_or_else(|| Cause::Protocol("metadata cut short".into()))?;
        let endpoint = self.connect(address)?;
        let key = self.unpack_key(endpoint, packed)?;
        self.peer = Some(Peer { endpoint, key });
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        operation: Operation,
        place: Place,
        note: Option<&[u8]>,
    ) -> Result<Box<dyn Transfer + 'a>, Cause> {
        let memory = self.memory()?;
        let end = place.local.checked_add(place.length).filter(|end| *end <= memory.first + memory.length);
        if place.local < memory.first || end.is_none() {
            return Err(Cause::Protocol("a transfer outside the registered memory".into()));
        }
        let peer = self.peer.ok_or_else(|| Cause::Protocol("no introduction".into()))?;
        let note = note.map(|note| ManuallyDrop::new(note.to_vec()));
        Ok(Box::new(UcpTransfer { ucp: self, peer, operation, place, note, pending: Vec::new(), noted: true }))
    }

    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        self.progress()?;
        let mut notes = Vec::new();
        loop {
            let mut info = TagRecvInfo { sender_tag: 0, length: 0 };
            // SAFETY: the worker is alive and the structure is valid for the call.
            let message = unsafe { (self.functions.tag_probe_nb)(self.worker, NOTE, u64::MAX, 1, &mut info) };
            if message.is_null() {
                return Ok(notes);
            }
            if info.length > LONGEST_NOTE {
                return Err(Cause::Protocol(format!("a notification of {} bytes", info.length)));
            }
            notes.push(self.receive(message, info.length)?);
        }
    }

    fn progress(&self) -> Result<(), Cause> {
        for _ in 0..ROUNDS {
            // SAFETY: the worker is alive, and this thread is the one that uses it.
            if unsafe { (self.functions.worker_progress)(self.worker) } == 0 {
                break;
            }
        }
        Ok(())
    }

    fn works_alone(&self) -> bool {
        false
    }

    fn stated(&self) -> Option<Stated> {
        Some(self.stated.clone())
    }
}

/// A put or get, its flush, and then its notification.
struct UcpTransfer<'a> {
    ucp: &'a Ucp,
    peer: Peer,
    operation: Operation,
    place: Place,
    /// The library reads it until the send is complete; a transfer that fails leaves it allocated.
    note: Option<ManuallyDrop<Vec<u8>>>,
    pending: Vec<Pending>,
    noted: bool,
}

impl UcpTransfer<'_> {
    fn start(&self) -> *mut c_void {
        let (Peer { endpoint, key }, Place { local, remote, length }) = (self.peer, self.place);
        let (functions, remote, options) = (&self.ucp.functions, remote as u64, self.options());
        match self.operation {
            Operation::Write => {
                let source = ptr::with_exposed_provenance(local);
                // SAFETY: endpoint and key are alive; the memory is registered and never freed.
                unsafe { (functions.put_nbx)(endpoint, source, length, remote, key, &options) }
            }
            Operation::Read => {
                let sink = ptr::with_exposed_provenance_mut(local);
                // SAFETY: as above; no slice of this range is alive while the transfer is under way.
                unsafe { (functions.get_nbx)(endpoint, sink, length, remote, key, &options) }
            }
        }
    }

    /// As NIXL's plugin: the memory's handle saves UCX the search for it, and many operations are to come.
    fn options(&self) -> RequestParam {
        let memh = self.ucp.memory.as_ref().map_or(ptr::null_mut(), |memory| memory.handle);
        RequestParam {
            op_attr_mask: abi::UCP_OP_ATTR_FIELD_MEMH | abi::UCP_OP_ATTR_FLAG_MULTI_SEND,
            memh,
            ..no_options()
        }
    }

    fn start_flush(&self) -> *mut c_void {
        // SAFETY: the endpoint is alive.
        unsafe { (self.ucp.functions.ep_flush_nbx)(self.peer.endpoint, &no_options()) }
    }

    fn start_note(&self, note: &[u8]) -> *mut c_void {
        let (endpoint, options) = (self.peer.endpoint, no_options());
        // SAFETY: the endpoint is alive; the note is not freed before the send is complete.
        unsafe { (self.ucp.functions.tag_send_nbx)(endpoint, note.as_ptr().cast(), note.len(), NOTE, &options) }
    }

    fn settle(&mut self) -> Result<bool, Cause> {
        while let Some(first) = self.pending.first_mut() {
            if !first.is_complete(self.ucp)? {
                return Ok(false);
            }
            self.pending.remove(0);
        }
        Ok(true)
    }
}

impl Transfer for UcpTransfer<'_> {
    fn post(&mut self) -> Result<bool, Cause> {
        let name = match self.operation {
            Operation::Write => "ucp_put_nbx",
            Operation::Read => "ucp_get_nbx",
        };
        self.pending.push(Pending::new(self.ucp, name, self.start())?);
        self.pending.push(Pending::new(self.ucp, "ucp_ep_flush_nbx", self.start_flush())?);
        self.noted = self.note.is_none();
        self.is_complete()
    }

    fn is_complete(&mut self) -> Result<bool, Cause> {
        if !self.settle()? {
            self.ucp.progress()?;
        }
        if !self.settle()? {
            return Ok(false);
        }
        if let Some(note) = self.note.as_ref().filter(|_| !self.noted) {
            let sent = Pending::new(self.ucp, "ucp_tag_send_nbx", self.start_note(note))?;
            self.pending.push(sent);
            self.noted = true;
        }
        self.settle()
    }

    fn release(self: Box<Self>) -> Result<(), Cause> {
        if !self.pending.is_empty() {
            return Err(Cause::Protocol("a transfer was given up before it was complete".into()));
        }
        drop(self.note.map(ManuallyDrop::into_inner));
        Ok(())
    }
}

/// What a call that starts something has returned (`ucs_status_ptr_t` of status.h).
struct Pending {
    function: &'static str,
    request: *mut c_void,
}

impl Pending {
    fn new(ucp: &Ucp, function: &'static str, returned: *mut c_void) -> Result<Pending, Cause> {
        if returned.addr() >= abi::UCS_ERR_LAST as isize as usize {
            ucp.check(function, returned.addr() as Status)?;
        }
        Ok(Pending { function, request: returned })
    }

    /// Whether it is complete; a null pointer means that it was so at once.
    fn is_complete(&mut self, ucp: &Ucp) -> Result<bool, Cause> {
        let request = self.request;
        if request.is_null() {
            return Ok(true);
        }
        // SAFETY: the request was returned by the library and was not given back.
        let status = unsafe { (ucp.functions.request_check_status)(request) };
        if status == abi::UCS_INPROGRESS {
            return Ok(false);
        }
        // SAFETY: as above; it is forgotten on the next line.
        unsafe { (ucp.functions.request_free)(request) };
        self.request = ptr::null_mut();
        ucp.check(self.function, status)?;
        Ok(true)
    }
}

/// Errors are heard of by every operation's own status.
extern "C" fn hear_no_error(_argument: *mut c_void, _endpoint: *mut c_void, _status: Status) {}

fn no_options() -> RequestParam {
    RequestParam {
        op_attr_mask: 0,
        flags: 0,
        request: ptr::null_mut(),
        cb: ptr::null(),
        datatype: 0,
        user_data: ptr::null_mut(),
        reply_buffer: ptr::null_mut(),
        memory_type: 0,
        recv_info: ptr::null_mut(),
        memh: ptr::null_mut(),
    }
}

fn copied(data: *mut c_void, length: usize) -> Vec<u8> {
    // SAFETY: the callers pass what the library has just returned, and it owns that many bytes there.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec()
}

fn split(metadata: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = metadata.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (0 < length && length < rest.len()).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_cut_short_is_refused() {
        assert_eq!(split(&[2, 0, 0, 0, 7, 8, 9]), Some((&[7, 8][..], &[9][..])));
        for wrong in [&[][..], &[1, 0, 0], &[0, 0, 0, 0, 1], &[1, 0, 0, 0], &[2, 0, 0, 0, 7, 8], &[255; 6]] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
    }
}
