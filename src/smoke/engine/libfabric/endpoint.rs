//! An endpoint with its domain, completion queue and address vector, and the memory that is registered with it.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr;

use super::abi::{
    self, AvAttr, CqAttr, CqErrEntry, CqMsgEntry, FiInfo, Fid, FidAv, FidCq, FidDomain, FidEp, FidFabric, FidMr, IoVec,
    MrAttr,
};
use super::functions::{Functions, text};
use super::operations::{LONGEST_NOTIFICATION, Operations, RECEIVES, SENDS};
use crate::report::fabric::{Fabric, Fabrics};
use crate::smoke::engine::region::Region;
use crate::smoke::plan::memory;
use crate::smoke::wire::cause::{Cause, FI_ENABLE};
use crate::smoke::wire::worker::{Carrier, Stated};

/// Completions read in one call.
const BATCH: usize = 16;
/// Maximum number of such calls in a row: a stream of completions must not hide that a transfer is complete.
const ROUNDS: usize = 64;
/// Room for an endpoint's name in bytes.
const LONGEST_NAME: usize = 512;
/// Key of the notifications' registration, where the provider does not choose it.
const NOTIFICATIONS_KEY: u64 = 2;

/// An endpoint for reliable datagrams, and the objects that belong to it.
pub(super) struct Libfabric {
    /// The library's functions.
    pub(super) functions: Functions,
    info: *mut FiInfo,
    provider: String,
    fabric: *mut FidFabric,
    domain: *mut FidDomain,
    queue: *mut FidCq,
    addresses: *mut FidAv,
    /// The endpoint; enabled once [`Libfabric::start`] has returned.
    pub(super) endpoint: *mut FidEp,
    /// The registered region.
    pub(super) memory: Option<Memory>,
    /// The other side, once its metadata is loaded.
    pub(super) peer: Option<Peer>,
    /// The operations in flight.
    pub(super) operations: RefCell<Operations>,
    /// What libfabric states about itself.
    pub(super) stated: Stated,
}

/// The registered region.
pub(super) struct Memory {
    /// Its registration.
    pub(super) registration: *mut FidMr,
    /// Address of its first byte.
    pub(super) first: usize,
    /// Its length in bytes.
    pub(super) length: usize,
}

/// The other side.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// Its entry in the address vector.
    pub(super) address: u64,
    /// The key of its region.
    pub(super) key: u64,
    /// What is subtracted from an address there: zero, or the address of its region for a provider that takes offsets.
    pub(super) base: u64,
}

impl Libfabric {
    /// Opens the provider's domain and an endpoint in it, and posts the receives for notifications.
    pub(super) fn start(
        functions: Functions,
        info: *mut FiInfo,
        provider: String,
        stated: Stated,
    ) -> Result<Libfabric, Cause> {
        let mut started = Libfabric {
            functions,
            info,
            provider,
            fabric: ptr::null_mut(),
            domain: ptr::null_mut(),
            queue: ptr::null_mut(),
            addresses: ptr::null_mut(),
            endpoint: ptr::null_mut(),
            memory: None,
            peer: None,
            operations: RefCell::new(Operations::new()?),
            stated,
        };
        started.open_domain()?;
        started.open_completion_queue()?;
        started.open_address_vector()?;
        started.open_endpoint()?;
        let network_only = started.forbid_shared_memory();
        started.enable()?;
        started.stated.carrier = Some(started.carrier(network_only));
        started.prepare_notifications()?;
        Ok(started)
    }

    /// Closes every object, each before those that it was opened in. Their statuses are of no use: the process ends next.
    pub(super) fn close_all(self) {
        let notifications = self.operations.borrow().notifications_registration;
        let payload = self.memory.as_ref().map_or(ptr::null_mut(), |memory| memory.registration);
        let objects: [*mut Fid; 7] = [
            self.endpoint.cast(),
            notifications.cast(),
            payload.cast(),
            self.addresses.cast(),
            self.queue.cast(),
            self.domain.cast(),
            self.fabric.cast(),
        ];
        for object in objects.into_iter().filter(|object| !object.is_null()) {
            // SAFETY: the object is open, begins with a `struct fid` and has its table; it is not used again.
            let _ = unsafe { ((*(*object).ops).close)(object) };
        }
    }

    fn info(&self) -> &FiInfo {
        // SAFETY: the info is from the list that fi_getinfo has allocated, and is never freed.
        unsafe { &*self.info }
    }

    fn check(&self, function: &str, status: c_int) -> Result<(), Cause> {
        self.functions.check(function, status as isize)
    }

    fn open_domain(&mut self) -> Result<(), Cause> {
        let attributes = self.info().fabric_attr;
        // SAFETY: the attributes are alive and the pointer is valid for the call.
        let status = unsafe { (self.functions.fabric)(attributes, &mut self.fabric, ptr::null_mut()) };
        self.check("fi_fabric", status)?;
        let fabric = self.fabric;
        // SAFETY: the fabric was just opened and has its table; the info is alive.
        let status = unsafe { ((*(*fabric).ops).domain)(fabric, self.info, &mut self.domain, ptr::null_mut()) };
        self.check("fi_domain", status)
    }

    fn open_completion_queue(&mut self) -> Result<(), Cause> {
        let mut attributes = CqAttr {
            size: 2 * (RECEIVES + SENDS),
            flags: 0,
            format: abi::FI_CQ_FORMAT_MSG,
            wait_obj: 0,
            signaling_vector: 0,
            wait_cond: 0,
            wait_set: ptr::null_mut(),
        };
        // SAFETY: the domain is open and has its table; the attributes are valid for the call.
        let status =
            unsafe { ((*(*self.domain).ops).cq_open)(self.domain, &mut attributes, &mut self.queue, ptr::null_mut()) };
        self.check("fi_cq_open", status)
    }

    fn open_address_vector(&mut self) -> Result<(), Cause> {
        let mut attributes = AvAttr {
            r#type: 0,
            rx_ctx_bits: 0,
            count: 1,
            ep_per_node: 0,
            name: ptr::null(),
            map_addr: ptr::null_mut(),
            flags: 0,
        };
        // SAFETY: the domain is open and has its table; the attributes are valid for the call.
        let status = unsafe {
            ((*(*self.domain).ops).av_open)(self.domain, &mut attributes, &mut self.addresses, ptr::null_mut())
        };
        self.check("fi_av_open", status)
    }

    fn open_endpoint(&mut self) -> Result<(), Cause> {
        // SAFETY: the domain is open and has its table; the info is alive.
        let status =
            unsafe { ((*(*self.domain).ops).endpoint)(self.domain, self.info, &mut self.endpoint, ptr::null_mut()) };
        self.check("fi_endpoint", status)?;
        self.bind(self.queue.cast(), abi::FI_TRANSMIT | abi::FI_RECV)?;
        self.bind(self.addresses.cast(), 0)
    }

    fn bind(&self, object: *mut Fid, flags: u64) -> Result<(), Cause> {
        let endpoint: *mut Fid = self.endpoint.cast();
        // SAFETY: both objects are open and begin with a `struct fid`; the endpoint has its table.
        let status = unsafe { ((*(*endpoint).ops).bind)(endpoint, object, flags) };
        self.check("fi_ep_bind", status)
    }

    /// Keeps the efa provider off shared memory. False where shared memory may still carry the bytes.
    ///
    /// The provider uses shared memory between processes of one machine unless told otherwise, and the transfer would say
    /// nothing about EFA.
    fn forbid_shared_memory(&self) -> bool {
        if self.provider != "efa" {
            return true;
        }
        let permitted = false;
        let (level, option) = (abi::FI_OPT_ENDPOINT, abi::FI_OPT_SHARED_MEMORY_PERMITTED);
        let (value, length) = ((&raw const permitted).cast(), size_of_val(&permitted));
        // SAFETY: the endpoint is open and has its table; a library that does not know the option refuses it.
        let status = unsafe { ((*(*self.endpoint).ops).setopt)(self.endpoint.cast(), level, option, value, length) };
        status == 0
    }

    fn enable(&self) -> Result<(), Cause> {
        let endpoint: *mut Fid = self.endpoint.cast();
        // SAFETY: the endpoint is open, bound to its queue and address vector, and has its table.
        let status = unsafe { ((*(*endpoint).ops).control)(endpoint, abi::FI_ENABLE, ptr::null_mut()) };
        self.check(FI_ENABLE, status)
    }

    fn carrier(&self, network_only: bool) -> Carrier {
        // SAFETY: the attributes are part of the info, and alive.
        let domain = unsafe { &*self.info().domain_attr };
        let fabric = match self.provider.as_str() {
            "sockets" => Fabric::Tcp,
            other => Fabric::named(other),
        };
        let transports = vec![format!("{}/{}", self.provider, text(domain.name))];
        Carrier { fabric: Fabrics::of(network_only.then_some(fabric)), transports }
    }

    /// Whether the provider demands one of these registration modes (`FI_MR_*`).
    pub(super) fn demands(&self, modes: c_int) -> bool {
        // SAFETY: the attributes are part of the info, and alive.
        let domain = unsafe { &*self.info().domain_attr };
        domain.mr_mode & modes != 0
    }

    /// The longest message of the provider in bytes, at least one.
    pub(super) fn max_message(&self) -> usize {
        // SAFETY: the attributes are part of the info, and alive.
        let endpoint = unsafe { &*self.info().ep_attr };
        endpoint.max_msg_size.max(1)
    }

    /// Registers a region; the provider may choose another key.
    pub(super) fn register_memory(&self, region: &Region, access: u64, key: u64) -> Result<*mut FidMr, Cause> {
        let registration = match region.memory() {
            memory::Memory::Dram => self.register_host(region, access, key)?,
            memory::Memory::Vram(device) => self.register_gpu(region, device, access, key)?,
        };
        if self.demands(abi::FI_MR_ENDPOINT) {
            self.bind_memory(registration)?;
        }
        Ok(registration)
    }

    fn register_host(&self, region: &Region, access: u64, key: u64) -> Result<*mut FidMr, Cause> {
        let (domain, address) = (self.domain.cast::<Fid>(), ptr::with_exposed_provenance(region.address()));
        let (length, context) = (region.len(), ptr::null_mut());
        let mut registration = ptr::null_mut();
        // SAFETY: the domain is open and has its table; the region is never freed.
        let status = unsafe {
            ((*(*self.domain).mr).reg)(domain, address, length, access, 0, key, 0, &mut registration, context)
        };
        self.check("fi_mr_reg", status)?;
        Ok(registration)
    }

    /// fi_mr(3), `fi_mr_regattr`: `iface` and `device` say whose memory it is.
    fn register_gpu(&self, region: &Region, device: u16, access: u64, key: u64) -> Result<*mut FidMr, Cause> {
        let memory = IoVec { iov_base: ptr::with_exposed_provenance(region.address()), iov_len: region.len() };
        let number = c_int::from(device).to_ne_bytes();
        let mut union = [0; 8];
        union[..number.len()].copy_from_slice(&number);
        let attributes = MrAttr {
            mr_iov: &memory,
            iov_count: 1,
            access,
            offset: 0,
            requested_key: key,
            context: ptr::null_mut(),
            auth_key_size: 0,
            auth_key: ptr::null_mut(),
            iface: abi::FI_HMEM_CUDA,
            device: u64::from_ne_bytes(union),
            later: [0; 8],
        };
        let mut registration = ptr::null_mut();
        // SAFETY: the domain is open and has its table; the attributes are valid for the call, the region is never freed.
        let status =
            unsafe { ((*(*self.domain).mr).regattr)(self.domain.cast::<Fid>(), &attributes, 0, &mut registration) };
        self.check("fi_mr_regattr", status)?;
        Ok(registration)
    }

    fn bind_memory(&self, registration: *mut FidMr) -> Result<(), Cause> {
        let (object, endpoint) = (registration.cast::<Fid>(), self.endpoint.cast());
        // SAFETY: both objects are open and begin with a `struct fid`; the registration has its table.
        let status = unsafe { ((*(*object).ops).bind)(object, endpoint, 0) };
        self.check("fi_mr_bind", status)?;
        // SAFETY: the registration is open, bound to the endpoint, and has its table.
        let status = unsafe { ((*(*object).ops).control)(object, abi::FI_ENABLE, ptr::null_mut()) };
        self.check("fi_mr_enable", status)
    }

    /// The descriptor of registered memory for local operations; null where the provider needs none.
    pub(super) fn descriptor(&self, registration: *mut FidMr) -> *mut c_void {
        if registration.is_null() || !self.demands(abi::FI_MR_LOCAL | abi::FI_MR_HMEM) {
            return ptr::null_mut();
        }
        // SAFETY: the registration is open.
        unsafe { (*registration).mem_desc }
    }

    fn prepare_notifications(&self) -> Result<(), Cause> {
        let mut operations = self.operations.borrow_mut();
        let access = abi::FI_TRANSMIT | abi::FI_RECV;
        operations.notifications_registration =
            self.register_memory(&operations.notifications, access, NOTIFICATIONS_KEY)?;
        self.post_receives(&mut operations)
    }

    fn post_receives(&self, operations: &mut Operations) -> Result<(), Cause> {
        let (endpoint, descriptor) = (self.endpoint, self.descriptor(operations.notifications_registration));
        while let Some(&index) = operations.unposted_receives.last() {
            let (buffer, context) = (operations.notification(index), operations.context(index));
            // SAFETY: the endpoint is enabled and has its table; buffer and context are never freed, and not read until the
            // operation is complete.
            let status = unsafe {
                ((*(*endpoint).msg).recv)(endpoint, buffer, LONGEST_NOTIFICATION, descriptor, u64::MAX, context)
            };
            if status == -abi::FI_EAGAIN {
                break;
            }
            self.functions.check("fi_recv", status)?;
            operations.unposted_receives.pop();
        }
        Ok(())
    }

    /// The endpoint's name, by which the other side reaches it.
    pub(super) fn name(&self) -> Result<Vec<u8>, Cause> {
        let mut name = vec![0u8; LONGEST_NAME];
        let mut length = name.len();
        let endpoint = self.endpoint;
        // SAFETY: the endpoint is enabled and has its table; the buffer is `length` bytes long.
        let status = unsafe { ((*(*endpoint).cm).getname)(endpoint.cast(), name.as_mut_ptr().cast(), &mut length) };
        self.check("fi_getname", status)?;
        name.truncate(length);
        Ok(name)
    }

    /// Inserts the name of the other side's endpoint into the address vector.
    pub(super) fn insert(&self, name: &[u8]) -> Result<u64, Cause> {
        let (addresses, mut address) = (self.addresses, u64::MAX);
        // SAFETY: the address vector is open and has its table; an endpoint of the same provider has given the name.
        let inserted = unsafe {
            ((*(*addresses).ops).insert)(addresses, name.as_ptr().cast(), 1, &mut address, 0, ptr::null_mut())
        };
        match inserted {
            1 => Ok(address),
            // fi_av(3): the number of inserted addresses; none for an invalid one.
            0.. => Err(self.functions.failure("fi_av_insert", -abi::FI_EINVAL)),
            status => Err(self.functions.failure("fi_av_insert", status as isize)),
        }
    }

    /// The registered region.
    pub(super) fn memory(&self) -> Result<&Memory, Cause> {
        self.memory.as_ref().ok_or_else(|| Cause::Protocol("no memory is registered".into()))
    }

    /// The key of the registered region, for the other side.
    pub(super) fn key(&self) -> Result<u64, Cause> {
        let registration = self.memory()?.registration;
        // SAFETY: the registration is open.
        Ok(unsafe { (*registration).key })
    }

    /// Reads completions, which drives the provider, and posts receives again.
    pub(super) fn make_progress(&self) -> Result<(), Cause> {
        let mut operations = self.operations.borrow_mut();
        for _ in 0..ROUNDS {
            if !self.read_completions(&mut operations)? {
                break;
            }
        }
        self.post_receives(&mut operations)
    }

    /// Reads a batch of completions. False when there were none.
    fn read_completions(&self, operations: &mut Operations) -> Result<bool, Cause> {
        let mut entries = [CqMsgEntry { op_context: ptr::null_mut(), flags: 0, len: 0 }; BATCH];
        // SAFETY: the queue is open and has its table; the entries have the format that it was opened with.
        let count = unsafe { ((*(*self.queue).ops).read)(self.queue, entries.as_mut_ptr().cast(), BATCH) };
        if count == -abi::FI_EAGAIN || count == 0 {
            return Ok(false);
        }
        if count == -abi::FI_EAVAIL {
            return Err(self.read_error());
        }
        self.functions.check("fi_cq_read", count)?;
        for entry in entries.iter().take(count as usize) {
            operations.complete(entry.op_context, entry.len)?;
        }
        Ok(true)
    }

    /// Reads the error that the completion queue has announced.
    fn read_error(&self) -> Cause {
        let mut entry = CqErrEntry {
            op_context: ptr::null_mut(),
            flags: 0,
            len: 0,
            buf: ptr::null_mut(),
            data: 0,
            tag: 0,
            olen: 0,
            err: 0,
            prov_errno: 0,
            err_data: ptr::null_mut(),
            err_data_size: 0,
            later: [0; 8],
        };
        // SAFETY: the queue is open and has its table; the entry has room for what any version writes.
        let count = unsafe { ((*(*self.queue).ops).readerr)(self.queue, &mut entry, 0) };
        let status = if count == 1 { -(entry.err as isize) } else { count };
        let operation = match entry.flags {
            flags if flags & abi::FI_RECV != 0 => "fi_recv",
            flags if flags & abi::FI_WRITE != 0 => "fi_write",
            flags if flags & abi::FI_READ != 0 => "fi_read",
            flags if flags & abi::FI_TRANSMIT != 0 => "fi_send",
            _ => "fi_cq_readerr",
        };
        self.functions.failure(&format!("the completion of {operation}"), status.min(-1))
    }
}
