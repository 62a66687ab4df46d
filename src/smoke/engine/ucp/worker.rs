//! UCX's worker with an endpoint to one other worker, and the memory that is registered with it.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::ptr;

use super::abi::{
    self, EpParams, ErrHandler, MemAttr, MemMapParams, Params, RequestParam, SockAddr, Status, TagRecvInfo,
    WorkerParams,
};
use crate::smoke::engine::library::functions;
use crate::smoke::engine::region::Region;
use crate::smoke::wire::cause::{Cause, GpuTrouble};
use crate::smoke::wire::worker::Stated;

/// The tag of every notification.
pub(super) const NOTIFICATION_TAG: u64 = 0x6e6f_7465;
/// What NIXL's plugin sets where the environment does not, so that UCX chooses the transports that it would choose for
/// NIXL. A version of UCX that does not know one of them goes without it, as with NIXL.
const CONFIGURATION: [(&CStr, &CStr); 3] =
    [(c"RNDV_THRESH", c"inf"), (c"MAX_RMA_RAILS", c"2"), (c"IB_PCI_RELAXED_ORDERING", c"try")];
/// Maximum length of a notification in bytes.
const LONGEST_NOTIFICATION: usize = 256;
/// Maximum number of progress calls in a row: a stream of events must not hide that a transfer is complete.
const ROUNDS: usize = 64;

functions! {
    /// The functions of ucp.h that are called here, without their prefix.
    pub(super) Functions, "ucp_":
    /// ucp.h: the library's version.
    get_version_string() -> *const c_char;
    /// ucp.h: reads the configuration from the environment.
    config_read(*const c_char, *const c_char, *mut *mut c_void) -> Status;
    /// ucp.h: changes one of its values.
    config_modify(*mut c_void, *const c_char, *const c_char) -> Status;
    /// ucp.h: creates a context.
    init_version(c_uint, c_uint, *const Params, *mut c_void, *mut *mut c_void) -> Status;
    /// ucp.h: creates a worker.
    worker_create(*mut c_void, *const WorkerParams, *mut *mut c_void) -> Status;
    /// ucp.h: destroys a worker and its endpoints.
    worker_destroy(*mut c_void);
    /// ucp.h: unmaps registered memory.
    mem_unmap(*mut c_void, *mut c_void) -> Status;
    /// ucp.h: destroys a context.
    cleanup(*mut c_void);
    /// ucp.h: the worker's address, owned by the library.
    worker_get_address(*mut c_void, *mut *mut c_void, *mut usize) -> Status;
    /// ucp.h: makes progress on all communication; zero when there was none.
    worker_progress(*mut c_void) -> c_uint;
    /// ucp.h: creates an endpoint to a worker's address.
    ep_create(*mut c_void, *const EpParams, *mut *mut c_void) -> Status;
    /// ucp.h: completes when all operations posted before are complete on both sides.
    ep_flush_nbx(*mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: registers memory.
    mem_map(*mut c_void, *const MemMapParams, *mut *mut c_void) -> Status;
    /// ucp.h: the attributes of registered memory.
    mem_query(*mut c_void, *mut MemAttr) -> Status;
    /// ucp.h: packs the remote key of registered memory, in a buffer owned by the library.
    rkey_pack(*mut c_void, *mut c_void, *mut *mut c_void, *mut usize) -> Status;
    /// ucp.h: unpacks a remote key.
    ep_rkey_unpack(*mut c_void, *const c_void, *mut *mut c_void) -> Status;
    /// ucp.h: writes.
    put_nbx(*mut c_void, *const c_void, usize, u64, *mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: reads.
    get_nbx(*mut c_void, *mut c_void, usize, u64, *mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: sends a message with a tag.
    tag_send_nbx(*mut c_void, *const c_void, usize, u64, *const RequestParam) -> *mut c_void;
    /// ucp.h: probes for a message with a tag, and removes it from the queue.
    tag_probe_nb(*mut c_void, u64, u64, c_int, *mut TagRecvInfo) -> *mut c_void;
    /// ucp.h: receives a message that a probe has removed.
    tag_msg_recv_nbx(*mut c_void, *mut c_void, usize, *mut c_void, *const RequestParam) -> *mut c_void;
    /// ucp.h: a request's status.
    request_check_status(*mut c_void) -> Status;
    /// ucp.h: frees a request.
    request_free(*mut c_void);
}

functions! {
    /// The functions of status.h that are called here, without their prefix.
    pub(super) StatusFunctions, "ucs_":
    /// status.h: a status in words, in constant memory.
    status_string(Status) -> *const c_char;
}

impl Functions {
    /// The library's version.
    pub(super) fn library_version(&self) -> String {
        // SAFETY: the function has no arguments.
        let version = unsafe { (self.get_version_string)() };
        // SAFETY: the library owns this string and ends it with a NUL.
        unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
    }
}

/// A worker with an endpoint to one other worker.
pub(super) struct Ucp {
    /// The library's functions.
    pub(super) functions: Functions,
    /// The library's functions for statuses.
    pub(super) statuses: StatusFunctions,
    /// The context; null until [`Ucp::create_context`].
    pub(super) context: *mut c_void,
    /// The worker; null until [`Ucp::create_worker`].
    pub(super) worker: *mut c_void,
    /// The registered region.
    pub(super) memory: Option<Memory>,
    /// The other side, once its metadata is loaded.
    pub(super) peer: Option<Peer>,
    /// What UCX states about itself.
    pub(super) stated: Stated,
}

/// The registered region.
pub(super) struct Memory {
    /// UCX's handle.
    pub(super) handle: *mut c_void,
    /// Address of the region's first byte.
    pub(super) first: usize,
    /// The region's length in bytes.
    pub(super) length: usize,
}

/// The other side.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// The endpoint to its worker, destroyed with this side's worker.
    pub(super) endpoint: *mut c_void,
    /// The remote key of its region, never destroyed.
    pub(super) key: *mut c_void,
}

impl Ucp {
    /// Destroys the worker with its endpoint, then what it was made in.
    pub(super) fn destroy(self) {
        // SAFETY: the worker is alive and not used again: this method consumes it, and every transfer borrows it.
        unsafe { (self.functions.worker_destroy)(self.worker) };
        if let Some(memory) = &self.memory {
            // SAFETY: the memory is mapped in this context; no endpoint that uses it is left.
            let _ = unsafe { (self.functions.mem_unmap)(self.context, memory.handle) };
        }
        // SAFETY: the context is alive, and its only worker is destroyed.
        unsafe { (self.functions.cleanup)(self.context) };
    }

    /// Creates the context with NIXL's configuration; a `UCX_*` variable that is set takes precedence.
    pub(super) fn create_context(&mut self, is_set: &dyn Fn(&str) -> bool) -> Result<(), Cause> {
        let configuration = self.configuration(is_set)?;
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

    fn configuration(&self, is_set: &dyn Fn(&str) -> bool) -> Result<*mut c_void, Cause> {
        let mut configuration = ptr::null_mut();
        // SAFETY: prefix and file name may be null; the pointer is valid for the call.
        let status = unsafe { (self.functions.config_read)(ptr::null(), ptr::null(), &mut configuration) };
        self.check("ucp_config_read", status)?;
        for (name, value) in CONFIGURATION {
            if !is_set(&format!("UCX_{}", name.to_string_lossy())) {
                // SAFETY: the configuration is alive; name and value end with a NUL and are copied.
                let _ = unsafe { (self.functions.config_modify)(configuration, name.as_ptr(), value.as_ptr()) };
            }
        }
        Ok(configuration)
    }

    /// Creates the worker, for calls from one thread.
    pub(super) fn create_worker(&mut self) -> Result<(), Cause> {
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
        // SAFETY: the context is alive, and both pointers are valid for the call.
        let status = unsafe { (self.functions.worker_create)(self.context, &params, &mut self.worker) };
        self.check("ucp_worker_create", status)
    }

    /// Registers a region.
    pub(super) fn map(&self, region: &Region) -> Result<Memory, Cause> {
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
        Ok(Memory { handle, first, length })
    }

    /// Fails unless UCX has detected GPU memory; it would dereference memory that it misdetects as host memory.
    ///
    /// The memory type is left to UCX, as NIXL's plugin leaves it.
    pub(super) fn require_gpu_memory(&self, memory: &Memory) -> Result<(), Cause> {
        let mut attributes =
            MemAttr { field_mask: abi::UCP_MEM_ATTR_FIELD_MEM_TYPE, address: ptr::null_mut(), length: 0, mem_type: 0 };
        // SAFETY: the memory handle is alive and the attributes are valid for the call.
        let status = unsafe { (self.functions.mem_query)(memory.handle, &mut attributes) };
        self.check("ucp_mem_query", status)?;
        match attributes.mem_type {
            abi::UCS_MEMORY_TYPE_CUDA => Ok(()),
            _ => Err(Cause::Gpu(GpuTrouble::TakenForHost)),
        }
    }

    /// The registered region.
    pub(super) fn memory(&self) -> Result<&Memory, Cause> {
        self.memory.as_ref().ok_or_else(|| Cause::Protocol("no memory is registered".into()))
    }

    /// The worker's address, for the other side.
    pub(super) fn address(&self) -> Result<Vec<u8>, Cause> {
        let (mut address, mut length) = (ptr::null_mut(), 0);
        // SAFETY: the worker is alive and both pointers are valid for the call.
        let status = unsafe { (self.functions.worker_get_address)(self.worker, &mut address, &mut length) };
        self.check("ucp_worker_get_address", status)?;
        // SAFETY: the call has just returned this buffer.
        Ok(unsafe { copied(address, length) })
    }

    /// The packed remote key of the registered region, for the other side.
    pub(super) fn packed_key(&self) -> Result<Vec<u8>, Cause> {
        let memory = self.memory()?.handle;
        let (mut key, mut length) = (ptr::null_mut(), 0);
        // SAFETY: context and memory handle are alive and both pointers are valid for the call.
        let status = unsafe { (self.functions.rkey_pack)(self.context, memory, &mut key, &mut length) };
        self.check("ucp_rkey_pack", status)?;
        // SAFETY: the call has just returned this buffer.
        Ok(unsafe { copied(key, length) })
    }

    /// Creates an endpoint to the worker with that address.
    pub(super) fn connect(&self, address: &[u8]) -> Result<*mut c_void, Cause> {
        let params = EpParams {
            field_mask: abi::UCP_EP_PARAM_FIELD_REMOTE_ADDRESS
                | abi::UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE
                | abi::UCP_EP_PARAM_FIELD_ERR_HANDLER,
            address: address.as_ptr().cast(),
            // The mode of NIXL's plugin: it restricts the transports.
            err_mode: abi::UCP_ERR_HANDLING_MODE_PEER,
            err_handler: ErrHandler { cb: Some(ignore_error), arg: ptr::null_mut() },
            user_data: ptr::null_mut(),
            flags: 0,
            sockaddr: SockAddr { addr: ptr::null(), addrlen: 0 },
            conn_request: ptr::null_mut(),
            name: ptr::null(),
            local_sockaddr: SockAddr { addr: ptr::null(), addrlen: 0 },
        };
        let mut endpoint = ptr::null_mut();
        // SAFETY: the worker is alive; a worker of the same library version on the other side has given the address.
        let status = unsafe { (self.functions.ep_create)(self.worker, &params, &mut endpoint) };
        self.check("ucp_ep_create", status)?;
        Ok(endpoint)
    }

    /// Unpacks the other side's remote key.
    pub(super) fn unpack_key(&self, endpoint: *mut c_void, packed: &[u8]) -> Result<*mut c_void, Cause> {
        let mut key = ptr::null_mut();
        // SAFETY: the endpoint is alive; the other side's library has packed the bytes.
        let status = unsafe { (self.functions.ep_rkey_unpack)(endpoint, packed.as_ptr().cast(), &mut key) };
        self.check("ucp_ep_rkey_unpack", status)?;
        Ok(key)
    }

    /// Drives UCX until it has nothing to do, or for [`ROUNDS`] calls.
    pub(super) fn make_progress(&self) {
        for _ in 0..ROUNDS {
            // SAFETY: the worker is alive, and only this thread uses it.
            let events = unsafe { (self.functions.worker_progress)(self.worker) };
            if events == 0 {
                break;
            }
        }
    }

    /// Receives the notifications that have arrived.
    pub(super) fn receive_notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        let mut notifications = Vec::new();
        loop {
            let mut info = TagRecvInfo { sender_tag: 0, length: 0 };
            let (tag, mask, remove) = (NOTIFICATION_TAG, u64::MAX, 1);
            // SAFETY: the worker is alive and the structure is valid for the call.
            let message = unsafe { (self.functions.tag_probe_nb)(self.worker, tag, mask, remove, &mut info) };
            if message.is_null() {
                return Ok(notifications);
            }
            if info.length > LONGEST_NOTIFICATION {
                return Err(Cause::Protocol(format!(
                    "a notification of {} bytes exceeds the limit of {LONGEST_NOTIFICATION} bytes",
                    info.length
                )));
            }
            notifications.push(self.receive(message, info.length)?);
        }
    }

    fn receive(&self, message: *mut c_void, length: usize) -> Result<Vec<u8>, Cause> {
        let mut bytes = vec![0; length];
        let (buffer, options) = (bytes.as_mut_ptr().cast(), no_options());
        // SAFETY: a probe has removed the message, and it is received once; the buffer is `length` bytes long, and stays
        // alive until the request is complete, below.
        let request = unsafe { (self.functions.tag_msg_recv_nbx)(self.worker, buffer, length, message, &options) };
        // UCX may still write to the buffer when an error ends this function.
        let bytes = ManuallyDrop::new(bytes);
        let mut pending = Pending::new(self, "ucp_tag_msg_recv_nbx", request)?;
        while !pending.is_complete(self)? {
            self.make_progress();
        }
        Ok(ManuallyDrop::into_inner(bytes))
    }

    fn check(&self, function: &str, status: Status) -> Result<(), Cause> {
        if status >= 0 {
            return Ok(());
        }
        // SAFETY: the function takes any status.
        let words = unsafe { (self.statuses.status_string)(status) };
        // SAFETY: the library owns this string and ends it with a NUL.
        let words = unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned();
        Err(Cause::Library { function: function.into(), status: status.into(), words })
    }
}

/// What a non-blocking call has returned (`ucs_status_ptr_t` of status.h).
pub(super) struct Pending {
    function: &'static str,
    request: *mut c_void,
}

impl Pending {
    /// Takes the value that `function` has returned; fails where it is an error.
    pub(super) fn new(ucp: &Ucp, function: &'static str, returned: *mut c_void) -> Result<Pending, Cause> {
        if returned.addr() >= abi::UCS_ERR_LAST as isize as usize {
            ucp.check(function, returned.addr() as Status)?;
        }
        Ok(Pending { function, request: returned })
    }

    /// Whether it is complete; a null pointer stands for an operation that completed at once.
    pub(super) fn is_complete(&mut self, ucp: &Ucp) -> Result<bool, Cause> {
        let request = self.request;
        if request.is_null() {
            return Ok(true);
        }
        // SAFETY: the library has returned the request, and it was not freed.
        let status = unsafe { (ucp.functions.request_check_status)(request) };
        if status == abi::UCS_INPROGRESS {
            return Ok(false);
        }
        // SAFETY: the library has returned the request, and the next line forgets it.
        unsafe { (ucp.functions.request_free)(request) };
        self.request = ptr::null_mut();
        ucp.check(self.function, status)?;
        Ok(true)
    }
}

/// Every operation's own status reports its error.
extern "C" fn ignore_error(_argument: *mut c_void, _endpoint: *mut c_void, _status: Status) {}

/// Parameters without any option.
pub(super) fn no_options() -> RequestParam {
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

/// Copies a buffer that the library owns.
///
/// # Safety
/// `data` points to `length` initialized bytes.
unsafe fn copied(data: *mut c_void, length: usize) -> Vec<u8> {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec()
}
