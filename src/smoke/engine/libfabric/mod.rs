//! libfabric, loaded at run time: the native engine for the backend LIBFABRIC.
//!
//! The declarations are ours, after libfabric's headers: most of its functions are inline there, and go through tables
//! of pointers in the objects. Nothing is ever closed: destructors of vendor libraries may hang, and the process ends
//! right after the transfer. One thread makes all calls.
//!
//! **Order of notifications.** A notification is a message that is sent when every write or read of its transfer has
//! completed. Writes complete with `FI_DELIVERY_COMPLETE`: «a completion will not be generated until an operation has been
//! processed by the destination endpoint(s)» and «the result of the operation is available» (fi_cq(3)), so the bytes are
//! there before their notification is on its way. A provider without that must promise `FI_ORDER_SAW`: it processes a
//! message after the writes before it. Should one break its promise, the comparison at the target fails: that is a
//! failure too many, never a success.
#![allow(unsafe_code)]

mod abi;

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use abi::{
    AvAttr, CqAttr, CqErrEntry, CqMsgEntry, FabricAttr, FiInfo, Fid, FidAv, FidCq, FidDomain, FidEp, FidFabric, FidMr,
    IoVec, MrAttr,
};

use super::interface::{Engine, Place, Transfer};
use super::library::{self, Scope, functions};
use super::region::Region;
use crate::report::fabric::{Fabric, Fabrics};
use crate::report::stage::Stage;
use crate::smoke::plan::memory;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::{Cause, FI_ENABLE};
use crate::smoke::wire::worker::{Carrier, Stated};

/// The providers that NIXL's plugin takes, in its order.
const PROVIDERS: [&str; 4] = ["cxi", "efa", "tcp", "sockets"];
/// The interface that NIXL's plugin asks for; a library from before it is asked for its own.
const INTERFACE: u32 = abi::version(1, 18);
/// Receives that are posted at any time.
const RECEIVES: usize = 256;
/// Writes, reads and sends under way at a time, at most.
const SENDS: usize = 256;
/// Room for one notification.
const NOTE: usize = 64;
/// An operation's context, which belongs to the provider while it is under way: `struct fi_context2` of fabric.h.
const CONTEXT: usize = 64;
/// Completions taken in one call, and calls in one go.
const BATCH: usize = 16;
const ROUNDS: usize = 64;
/// An endpoint's name is shorter than this.
const LONGEST_NAME: usize = 512;
/// Keys of the two registrations, where the provider does not choose them.
const PAYLOAD_KEY: u64 = 1;
const NOTES_KEY: u64 = 2;

functions! {
    /// The functions of fabric.h that the library exports, without their prefix.
    Functions, "fi_":
    /// fabric.h: the library's interface.
    version() -> u32;
    /// fabric.h: what a number below zero means, in constant memory.
    strerror(c_int) -> *const c_char;
    /// fabric.h: a copy, or an empty structure with all its parts.
    dupinfo(*const FiInfo) -> *mut FiInfo;
    /// fabric.h: a list of what fits the hints.
    getinfo(u32, *const c_char, *const c_char, u64, *const FiInfo, *mut *mut FiInfo) -> c_int;
    /// fabric.h: opens a fabric.
    fabric(*mut FabricAttr, *mut *mut FidFabric, *mut c_void) -> c_int;
}

/// An endpoint for reliable datagrams, and what belongs to it.
pub(super) struct Libfabric {
    functions: Functions,
    info: *mut FiInfo,
    provider: String,
    domain: *mut FidDomain,
    queue: *mut FidCq,
    addresses: *mut FidAv,
    endpoint: *mut FidEp,
    memory: Option<Memory>,
    peer: Option<Peer>,
    state: RefCell<State>,
    stated: Stated,
}

/// The registered region.
struct Memory {
    registration: *mut FidMr,
    first: usize,
    length: usize,
}

/// The other side.
#[derive(Clone, Copy)]
struct Peer {
    address: u64,
    key: u64,
    /// What is subtracted from an address there: nothing, or the region's own.
    base: u64,
}

/// What is under way.
struct State {
    /// Received notifications first, then those to be sent.
    notes: Region,
    notes_registration: *mut FidMr,
    contexts: Region,
    /// Receives to be posted.
    idle: Vec<usize>,
    free: Vec<usize>,
    /// By the number of a send: whether it is complete.
    complete: Vec<bool>,
    inbox: Vec<Vec<u8>>,
}

/// Loads libfabric, chooses a provider that can move such memory, and opens an endpoint.
pub(super) fn open(path: &Path, memory: memory::Memory, enter: &mut dyn FnMut(Stage)) -> Result<Libfabric, Cause> {
    enter(Stage::Load);
    let library = library::load(path, Scope::Local)?;
    let functions = Functions::find(&library)?;
    std::mem::forget(library);
    enter(Stage::Agent);
    // SAFETY: the function has no arguments.
    let version = unsafe { (functions.version)() };
    let (info, provider) = choose(&functions, version.min(INTERFACE), memory)?;
    let file = library::mapped("libfabric").unwrap_or_else(|| path.to_path_buf());
    let (major, minor) = (version >> 16, version & 0xffff);
    let stated =
        Stated { library: file.display().to_string(), version: format!("{major}.{minor}"), ..Stated::default() };
    enter(Stage::Backend);
    Libfabric::start(functions, info, provider, stated)
}

/// The first offer of the first provider in NIXL's order, with delivery completion if it has that.
fn choose(functions: &Functions, version: u32, memory: memory::Memory) -> Result<(*mut FiInfo, String), Cause> {
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

/// What the library offers, each with its provider's name, in its order.
fn offers(
    functions: &Functions,
    version: u32,
    memory: memory::Memory,
    delivering: bool,
) -> Result<Vec<(*mut FiInfo, String)>, Cause> {
    // SAFETY: without an argument the function allocates an empty structure.
    let hints = unsafe { (functions.dupinfo)(ptr::null()) };
    if hints.is_null() {
        return Err(Cause::Memory(0));
    }
    // SAFETY: the structure and all its parts were just allocated, and nothing else refers to them.
    unsafe { fill_hints(hints, memory, delivering) };
    let mut first = ptr::null_mut();
    // SAFETY: names may be absent; hints and pointer are valid for the call.
    let status = unsafe { (functions.getinfo)(version, ptr::null(), ptr::null(), 0, hints, &mut first) };
    if status == -61 {
        // FI_ENODATA: nothing fits.
        return Ok(Vec::new());
    }
    check(functions, "fi_getinfo", status as isize)?;
    let mut offers = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: the library has just allocated this list and everything in it, and it is never freed.
        let (info, attributes) = unsafe { (&*next, &*(*next).fabric_attr) };
        offers.push((next, text(attributes.prov_name)));
        next = info.next;
    }
    Ok(offers)
}

/// What NIXL's plugin asks for: reliable datagrams with messages and RMA, every mode of registration that is handled here.
///
/// # Safety
/// The structure and its parts are allocated, and nothing else refers to them.
unsafe fn fill_hints(hints: *mut FiInfo, memory: memory::Memory, delivering: bool) {
    // SAFETY: the caller's promise.
    let hints = unsafe { &mut *hints };
    hints.caps = abi::FI_MSG | abi::FI_RMA | abi::FI_LOCAL_COMM | abi::FI_REMOTE_COMM;
    hints.mode = abi::FI_CONTEXT | abi::FI_CONTEXT2;
    // SAFETY: the caller's promise.
    let (endpoint, domain) = unsafe { (&mut *hints.ep_attr, &mut *hints.domain_attr) };
    endpoint.r#type = abi::FI_EP_RDM;
    domain.control_progress = abi::FI_PROGRESS_MANUAL;
    domain.data_progress = abi::FI_PROGRESS_MANUAL;
    domain.mr_mode =
        abi::FI_MR_LOCAL | abi::FI_MR_VIRT_ADDR | abi::FI_MR_ALLOCATED | abi::FI_MR_PROV_KEY | abi::FI_MR_ENDPOINT;
    // SAFETY: the caller's promise.
    if memory != memory::Memory::Dram {
        hints.caps |= abi::FI_HMEM;
        domain.mr_mode |= abi::FI_MR_HMEM;
    }
    // SAFETY: the caller's promise.
    let (transmit, receive) = unsafe { (&mut *hints.tx_attr, &mut *hints.rx_attr) };
    if delivering {
        transmit.op_flags = abi::FI_DELIVERY_COMPLETE;
    } else {
        transmit.msg_order = abi::FI_ORDER_SAW;
        receive.msg_order = abi::FI_ORDER_SAW;
    }
}

impl Libfabric {
    fn start(functions: Functions, info: *mut FiInfo, provider: String, stated: Stated) -> Result<Libfabric, Cause> {
        let room = || Region::allocate((RECEIVES + SENDS) * NOTE.max(CONTEXT)).ok_or(Cause::Memory(0));
        let state = State {
            notes: room()?,
            notes_registration: ptr::null_mut(),
            contexts: room()?,
            idle: (0..RECEIVES).collect(),
            free: (0..SENDS).collect(),
            complete: vec![true; SENDS],
            inbox: Vec::new(),
        };
        let mut started = Libfabric {
            functions,
            info,
            provider,
            domain: ptr::null_mut(),
            queue: ptr::null_mut(),
            addresses: ptr::null_mut(),
            endpoint: ptr::null_mut(),
            memory: None,
            peer: None,
            state: RefCell::new(state),
            stated,
        };
        started.open_domain()?;
        started.open_queue()?;
        started.open_addresses()?;
        started.open_endpoint()?;
        let network_only = started.forbid_shared_memory();
        started.enable()?;
        started.stated.carrier = Some(started.carrier(network_only));
        started.prepare_notes()?;
        Ok(started)
    }

    fn info(&self) -> &FiInfo {
        // SAFETY: it is from the list that fi_getinfo has allocated, and never freed.
        unsafe { &*self.info }
    }

    fn check(&self, function: &str, status: impl Into<isize>) -> Result<(), Cause> {
        check(&self.functions, function, status.into())
    }

    fn open_domain(&mut self) -> Result<(), Cause> {
        let mut fabric = ptr::null_mut();
        // SAFETY: the attributes are alive and the pointer is valid for the call.
        let status = unsafe { (self.functions.fabric)(self.info().fabric_attr, &mut fabric, ptr::null_mut()) };
        self.check("fi_fabric", status as isize)?;
        // SAFETY: the fabric was just opened and has its table; the info is alive.
        let status = unsafe { ((*(*fabric).ops).domain)(fabric, self.info, &mut self.domain, ptr::null_mut()) };
        self.check("fi_domain", status as isize)
    }

    fn open_queue(&mut self) -> Result<(), Cause> {
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
        self.check("fi_cq_open", status as isize)
    }

    fn open_addresses(&mut self) -> Result<(), Cause> {
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
        self.check("fi_av_open", status as isize)
    }

    fn open_endpoint(&mut self) -> Result<(), Cause> {
        // SAFETY: the domain is open and has its table; the info is alive.
        let status =
            unsafe { ((*(*self.domain).ops).endpoint)(self.domain, self.info, &mut self.endpoint, ptr::null_mut()) };
        self.check("fi_endpoint", status as isize)?;
        self.bind(self.queue.cast(), abi::FI_TRANSMIT | abi::FI_RECV)?;
        self.bind(self.addresses.cast(), 0)
    }

    fn bind(&self, object: *mut Fid, flags: u64) -> Result<(), Cause> {
        let endpoint: *mut Fid = self.endpoint.cast();
        // SAFETY: both objects are open, begin with a `struct fid` and have their table.
        let status = unsafe { ((*(*endpoint).ops).bind)(endpoint, object, flags) };
        self.check("fi_ep_bind", status as isize)
    }

    /// The efa provider moves bytes between processes of one machine through shared memory unless told not to, and then
    /// it is not EFA that was tried. True where nothing but the network is left.
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
        // SAFETY: the endpoint is open, bound to all it needs, and has its table.
        let status = unsafe { ((*(*endpoint).ops).control)(endpoint, abi::FI_ENABLE, ptr::null_mut()) };
        self.check(FI_ENABLE, status as isize)
    }

    fn carrier(&self, network_only: bool) -> Carrier {
        // SAFETY: the attributes are part of the info, and alive.
        let device = text(unsafe { (*self.info().domain_attr).name });
        let fabric = match self.provider.as_str() {
            "sockets" => Fabric::Tcp,
            other => Fabric::named(other),
        };
        let transports = vec![format!("{}/{device}", self.provider)];
        Carrier { fabric: Fabrics::of(network_only.then_some(fabric)), transports }
    }

    fn mode(&self, bit: c_int) -> bool {
        // SAFETY: the attributes are part of the info, and alive.
        unsafe { (*self.info().domain_attr).mr_mode & bit != 0 }
    }

    fn register_memory(&self, region: &Region, access: u64, key: u64) -> Result<*mut FidMr, Cause> {
        let registration = match region.memory() {
            memory::Memory::Dram => self.register_host(region, access, key)?,
            memory::Memory::Vram(device) => self.register_gpu(region, device, access, key)?,
        };
        if self.mode(abi::FI_MR_ENDPOINT) {
            self.bind_memory(registration)?;
        }
        Ok(registration)
    }

    fn register_host(&self, region: &Region, access: u64, key: u64) -> Result<*mut FidMr, Cause> {
        let (domain, memory) = (self.domain.cast::<Fid>(), ptr::with_exposed_provenance(region.address()));
        let mut registration = ptr::null_mut();
        // SAFETY: the domain is open and has its table; the region is never freed.
        let status = unsafe {
            ((*(*self.domain).mr).reg)(
                domain,
                memory,
                region.len(),
                access,
                0,
                key,
                0,
                &mut registration,
                ptr::null_mut(),
            )
        };
        self.check("fi_mr_reg", status as isize)?;
        Ok(registration)
    }

    /// fi_mr(3), «fi_mr_regattr»: `iface` and `device` say whose memory it is.
    fn register_gpu(&self, region: &Region, device: u16, access: u64, key: u64) -> Result<*mut FidMr, Cause> {
        let memory = IoVec { iov_base: ptr::with_exposed_provenance(region.address()), iov_len: region.len() };
        let mut attributes = MrAttr {
            mr_iov: &memory,
            iov_count: 1,
            access,
            offset: 0,
            requested_key: key,
            context: ptr::null_mut(),
            auth_key_size: 0,
            auth_key: ptr::null_mut(),
            iface: abi::FI_HMEM_CUDA,
            device: 0,
            later: [0; 8],
        };
        let number = c_int::from(device).to_ne_bytes();
        let mut union = [0; 8];
        union[..number.len()].copy_from_slice(&number);
        attributes.device = u64::from_ne_bytes(union);
        let mut registration = ptr::null_mut();
        // SAFETY: the domain is open and has its table; the attributes are valid for the call, the region is never freed.
        let status =
            unsafe { ((*(*self.domain).mr).regattr)(self.domain.cast::<Fid>(), &attributes, 0, &mut registration) };
        self.check("fi_mr_regattr", status as isize)?;
        Ok(registration)
    }

    fn bind_memory(&self, registration: *mut FidMr) -> Result<(), Cause> {
        let (object, endpoint) = (registration.cast::<Fid>(), self.endpoint.cast());
        // SAFETY: both objects are open, begin with a `struct fid` and have their table.
        let status = unsafe { ((*(*object).ops).bind)(object, endpoint, 0) };
        self.check("fi_mr_bind", status as isize)?;
        // SAFETY: as above.
        let status = unsafe { ((*(*object).ops).control)(object, abi::FI_ENABLE, ptr::null_mut()) };
        self.check("fi_mr_enable", status as isize)
    }

    /// What operations on that memory want to be told; nothing where local memory needs no registration.
    fn descriptor(&self, registration: *mut FidMr) -> *mut c_void {
        if registration.is_null() || !self.mode(abi::FI_MR_LOCAL | abi::FI_MR_HMEM) {
            return ptr::null_mut();
        }
        // SAFETY: the registration is open.
        unsafe { (*registration).mem_desc }
    }

    fn prepare_notes(&self) -> Result<(), Cause> {
        let mut state = self.state.borrow_mut();
        state.notes_registration = self.register_memory(&state.notes, abi::FI_TRANSMIT | abi::FI_RECV, NOTES_KEY)?;
        self.post_receives(&mut state)
    }

    fn post_receives(&self, state: &mut State) -> Result<(), Cause> {
        let (endpoint, descriptor) = (self.endpoint, self.descriptor(state.notes_registration));
        while let Some(&index) = state.idle.last() {
            let (buffer, context) = (state.note(index), state.context(index));
            // SAFETY: the endpoint is enabled and has its table; buffer and context are never freed, and not looked at
            // until the operation is complete.
            let status = unsafe { ((*(*endpoint).msg).recv)(endpoint, buffer, NOTE, descriptor, u64::MAX, context) };
            if status == -abi::FI_EAGAIN {
                break;
            }
            self.check("fi_recv", status)?;
            state.idle.pop();
        }
        Ok(())
    }

    fn name(&self) -> Result<Vec<u8>, Cause> {
        let mut name = vec![0u8; LONGEST_NAME];
        let mut length = name.len();
        let endpoint = self.endpoint;
        // SAFETY: the endpoint is enabled and has its table; the buffer is as long as it says.
        let status = unsafe { ((*(*endpoint).cm).getname)(endpoint.cast(), name.as_mut_ptr().cast(), &mut length) };
        self.check("fi_getname", status as isize)?;
        name.truncate(length);
        Ok(name)
    }

    fn insert(&self, name: &[u8]) -> Result<u64, Cause> {
        let (table, mut address) = (self.addresses, u64::MAX);
        // SAFETY: the table is open and has its table of functions; the name is what the other side's endpoint of the
        // same provider has given.
        let inserted =
            unsafe { ((*(*table).ops).insert)(table, name.as_ptr().cast(), 1, &mut address, 0, ptr::null_mut()) };
        if inserted == 1 {
            return Ok(address);
        }
        self.check("fi_av_insert", inserted.min(-22) as isize)?;
        Err(Cause::Protocol("an address that libfabric does not take".into()))
    }

    fn memory(&self) -> Result<&Memory, Cause> {
        self.memory.as_ref().ok_or_else(|| Cause::Protocol("no memory is registered".into()))
    }

    /// Takes completions; false when there were none.
    fn take(&self, state: &mut State) -> Result<bool, Cause> {
        let mut entries = [CqMsgEntry { op_context: ptr::null_mut(), flags: 0, len: 0 }; BATCH];
        // SAFETY: the queue is open and has its table; the entries have the format that it was opened with.
        let count = unsafe { ((*(*self.queue).ops).read)(self.queue, entries.as_mut_ptr().cast(), BATCH) };
        if count == -abi::FI_EAGAIN || count == 0 {
            return Ok(false);
        }
        if count == -abi::FI_EAVAIL {
            return Err(self.error());
        }
        self.check("fi_cq_read", count)?;
        for entry in entries.iter().take(count as usize) {
            state.completed(entry.op_context, entry.len)?;
        }
        Ok(true)
    }

    /// The error that is waiting in the queue.
    fn error(&self) -> Cause {
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
        let status = if count == 1 { -(entry.err as isize) } else { count.min(-1) };
        let what = match entry.flags {
            flags if flags & abi::FI_RECV != 0 => "fi_recv",
            flags if flags & abi::FI_WRITE != 0 => "fi_write",
            flags if flags & abi::FI_READ != 0 => "fi_read",
            flags if flags & abi::FI_TRANSMIT != 0 => "fi_send",
            _ => "fi_cq_readerr",
        };
        match self.check(&format!("the completion of {what}"), status) {
            Err(cause) => cause,
            Ok(()) => Cause::Protocol("an error without a number".into()),
        }
    }
}

impl State {
    fn note(&self, index: usize) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.notes.address() + index * NOTE)
    }

    fn context(&self, index: usize) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.contexts.address() + index * CONTEXT)
    }

    /// Notes that the operation with that context is complete.
    fn completed(&mut self, context: *mut c_void, length: usize) -> Result<(), Cause> {
        let index = context.addr().wrapping_sub(self.contexts.address()) / CONTEXT;
        if index < RECEIVES {
            let range = index * NOTE..index * NOTE + length.min(NOTE);
            self.inbox.push(self.notes.bytes(range).to_vec());
            self.idle.push(index);
            return Ok(());
        }
        let complete = self.complete.get_mut(index - RECEIVES);
        *complete.ok_or_else(|| Cause::Protocol("a completion of nothing".into()))? = true;
        Ok(())
    }
}

impl Engine for Libfabric {
    fn register(&mut self, region: &Region) -> Result<(), Cause> {
        let access = abi::FI_READ | abi::FI_WRITE | abi::FI_REMOTE_READ | abi::FI_REMOTE_WRITE;
        let registration = self.register_memory(region, access, PAYLOAD_KEY)?;
        self.memory = Some(Memory { registration, first: region.address(), length: region.len() });
        Ok(())
    }

    /// The key and the base in eight bytes each, least significant first, and the endpoint's name.
    fn metadata(&self) -> Result<Vec<u8>, Cause> {
        let memory = self.memory()?;
        // SAFETY: the registration is open.
        let key = unsafe { (*memory.registration).key };
        let base = if self.mode(abi::FI_MR_VIRT_ADDR) { 0 } else { memory.first as u64 };
        Ok([&key.to_le_bytes()[..], &base.to_le_bytes(), &self.name()?].concat())
    }

    fn introduce(&mut self, metadata: &[u8]) -> Result<(), Cause> {
        let (key, base, name) = split(metadata).ok_or_else(|| Cause::Protocol("metadata cut short".into()))?;
        self.peer = Some(Peer { address: self.insert(name)?, key, base });
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
        if note.is_some_and(|note| note.len() > NOTE) {
            return Err(Cause::Protocol("too long a notification".into()));
        }
        let peer = self.peer.ok_or_else(|| Cause::Protocol("no introduction".into()))?;
        // SAFETY: the attributes are part of the info, and alive.
        let longest = unsafe { (*self.info().ep_attr).max_msg_size }.max(1);
        Ok(Box::new(Movement {
            fabric: self,
            peer,
            operation,
            place,
            descriptor: self.descriptor(memory.registration),
            longest,
            note: note.map(<[u8]>::to_vec),
            posted: place.length,
            noted: true,
            under_way: Vec::new(),
        }))
    }

    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        self.progress()?;
        Ok(std::mem::take(&mut self.state.borrow_mut().inbox))
    }

    fn progress(&self) -> Result<(), Cause> {
        let mut state = self.state.borrow_mut();
        for _ in 0..ROUNDS {
            if !self.take(&mut state)? {
                break;
            }
        }
        self.post_receives(&mut state)
    }

    fn works_alone(&self) -> bool {
        false
    }

    fn stated(&self) -> Option<Stated> {
        Some(self.stated.clone())
    }
}

/// Writes or reads of as many bytes each as the provider allows, and then a notification.
struct Movement<'a> {
    fabric: &'a Libfabric,
    peer: Peer,
    operation: Operation,
    place: Place,
    descriptor: *mut c_void,
    longest: usize,
    note: Option<Vec<u8>>,
    /// Bytes whose operations are posted.
    posted: usize,
    noted: bool,
    under_way: Vec<usize>,
}

impl Movement<'_> {
    /// Posts what can be posted, notices what is complete. True when there is nothing more to do.
    fn advance(&mut self) -> Result<bool, Cause> {
        self.settle();
        while self.posted < self.place.length {
            let length = (self.place.length - self.posted).min(self.longest);
            if !self.post_with(|this, context| this.start(length, context))? {
                return Ok(false);
            }
            self.posted += length;
        }
        if !self.noted && self.under_way.is_empty() {
            self.noted = self.send_note()?;
        }
        Ok(self.noted && self.under_way.is_empty())
    }

    fn settle(&mut self) {
        let mut state = self.fabric.state.borrow_mut();
        let (complete, waiting) = self.under_way.iter().partition(|&&send| state.complete[send]);
        self.under_way = waiting;
        let complete: Vec<usize> = complete;
        state.free.extend(complete);
    }

    /// Posts one operation; false when the library, or this engine, has too many under way.
    fn post_with(&mut self, post: impl Fn(&Self, *mut c_void) -> (&'static str, isize)) -> Result<bool, Cause> {
        let Some(send) = self.fabric.state.borrow_mut().free.pop() else { return Ok(false) };
        let context = self.fabric.state.borrow().context(RECEIVES + send);
        self.fabric.state.borrow_mut().complete[send] = false;
        let (function, status) = post(self, context);
        if status == -abi::FI_EAGAIN {
            self.fabric.state.borrow_mut().free.push(send);
            return Ok(false);
        }
        self.fabric.check(function, status)?;
        self.under_way.push(send);
        Ok(true)
    }

    fn start(&self, length: usize, context: *mut c_void) -> (&'static str, isize) {
        let Peer { address, key, base } = self.peer;
        let (endpoint, descriptor) = (self.fabric.endpoint, self.descriptor);
        let local = self.place.local + self.posted;
        let remote = ((self.place.remote + self.posted) as u64).wrapping_sub(base);
        match self.operation {
            Operation::Write => {
                let source = ptr::with_exposed_provenance(local);
                // SAFETY: the endpoint is enabled and has its table; memory and context are never freed, and no slice of
                // the memory changes while the operation is under way.
                let status = unsafe {
                    ((*(*endpoint).rma).write)(endpoint, source, length, descriptor, address, remote, key, context)
                };
                ("fi_write", status)
            }
            Operation::Read => {
                let sink = ptr::with_exposed_provenance_mut(local);
                // SAFETY: as above; no slice of this range is alive while the operation is under way.
                let status = unsafe {
                    ((*(*endpoint).rma).read)(endpoint, sink, length, descriptor, address, remote, key, context)
                };
                ("fi_read", status)
            }
        }
    }

    fn send_note(&mut self) -> Result<bool, Cause> {
        let Some(note) = self.note.clone() else { return Ok(true) };
        let address = self.peer.address;
        self.post_with(|this, context| {
            let fabric = this.fabric;
            let mut state = fabric.state.borrow_mut();
            let index = (context.addr() - state.contexts.address()) / CONTEXT;
            state.notes.bytes_mut(index * NOTE..index * NOTE + note.len()).copy_from_slice(&note);
            let (endpoint, buffer) = (fabric.endpoint, state.note(index));
            let descriptor = fabric.descriptor(state.notes_registration);
            // SAFETY: the endpoint is enabled and has its table; buffer and context are never freed, and not written to
            // until the operation is complete.
            let status =
                unsafe { ((*(*endpoint).msg).send)(endpoint, buffer, note.len(), descriptor, address, context) };
            ("fi_send", status)
        })
    }
}

impl Transfer for Movement<'_> {
    fn post(&mut self) -> Result<bool, Cause> {
        self.posted = 0;
        self.noted = self.note.is_none();
        self.advance()
    }

    fn is_complete(&mut self) -> Result<bool, Cause> {
        if self.advance()? {
            return Ok(true);
        }
        self.fabric.progress()?;
        self.advance()
    }

    fn release(self: Box<Self>) -> Result<(), Cause> {
        if !self.under_way.is_empty() {
            return Err(Cause::Protocol("a transfer was given up before it was complete".into()));
        }
        Ok(())
    }
}

fn check(functions: &Functions, function: &str, status: isize) -> Result<(), Cause> {
    if status >= 0 {
        return Ok(());
    }
    let number = c_int::try_from(-status).unwrap_or(c_int::MAX);
    // SAFETY: any number has a text.
    let words = text(unsafe { (functions.strerror)(number) });
    Err(Cause::Library { function: function.into(), status: status as i64, words })
}

/// A string of the library's, which may be absent.
fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the library owns this string, ends it with a zero, and never frees it while this process lives.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

fn split(metadata: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (key, rest) = metadata.split_first_chunk::<8>()?;
    let (base, name) = rest.split_first_chunk::<8>()?;
    (!name.is_empty()).then(|| (u64::from_le_bytes(*key), u64::from_le_bytes(*base), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_cut_short_is_refused() {
        let whole = [&7u64.to_le_bytes()[..], &9u64.to_le_bytes(), b"name"].concat();
        assert_eq!(split(&whole), Some((7, 9, &b"name"[..])));
        for length in 0..=16 {
            assert_eq!(split(&whole[..length]), None, "{length}");
        }
    }
}
