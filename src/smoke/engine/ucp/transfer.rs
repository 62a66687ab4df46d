//! One transfer: a put or get, its flush, and then its notification.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;

use super::abi::{self, RequestParam};
use super::worker::{NOTIFICATION_TAG, Peer, Pending, Ucp, no_options};
use crate::smoke::engine::interface::{Place, Transfer};
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;

/// A put or get, its flush, and then its notification.
pub(super) struct UcpTransfer<'a> {
    ucp: &'a Ucp,
    peer: Peer,
    /// UCX's handle of the local memory.
    memory: *mut c_void,
    operation: Operation,
    place: Place,
    /// The library reads it until the send is complete; a transfer that fails leaves it allocated.
    notification: Option<ManuallyDrop<Vec<u8>>>,
    pending: Vec<Pending>,
    /// The notification is sent, or there is none.
    notified: bool,
}

impl<'a> UcpTransfer<'a> {
    /// Prepares a transfer; `memory` is UCX's handle of the local memory.
    pub(super) fn new(
        ucp: &'a Ucp,
        peer: Peer,
        memory: *mut c_void,
        operation: Operation,
        place: Place,
        notification: Option<&[u8]>,
    ) -> UcpTransfer<'a> {
        let notification = notification.map(|bytes| ManuallyDrop::new(bytes.to_vec()));
        UcpTransfer { ucp, peer, memory, operation, place, notification, pending: Vec::new(), notified: true }
    }

    fn start(&self) -> *mut c_void {
        let (Peer { endpoint, key }, Place { local, remote, length }) = (self.peer, self.place);
        let (functions, remote, options) = (&self.ucp.functions, remote as u64, self.options());
        match self.operation {
            Operation::Write => {
                let source = ptr::with_exposed_provenance(local);
                // SAFETY: endpoint and key are alive; the memory is registered and never freed, and nothing writes to this
                // range of it while the transfer is in flight.
                unsafe { (functions.put_nbx)(endpoint, source, length, remote, key, &options) }
            }
            Operation::Read => {
                let sink = ptr::with_exposed_provenance_mut(local);
                // SAFETY: endpoint and key are alive; the memory is registered and never freed, and no slice of this range
                // of it is alive while the transfer is in flight.
                unsafe { (functions.get_nbx)(endpoint, sink, length, remote, key, &options) }
            }
        }
    }

    /// The options of NIXL's plugin: the memory's handle saves UCX a lookup, and many operations follow.
    fn options(&self) -> RequestParam {
        RequestParam {
            op_attr_mask: abi::UCP_OP_ATTR_FIELD_MEMH | abi::UCP_OP_ATTR_FLAG_MULTI_SEND,
            memh: self.memory,
            ..no_options()
        }
    }

    fn start_flush(&self) -> *mut c_void {
        // SAFETY: the endpoint is alive, and the options are valid for the call.
        unsafe { (self.ucp.functions.ep_flush_nbx)(self.peer.endpoint, &no_options()) }
    }

    fn start_notification(&self, bytes: &[u8]) -> *mut c_void {
        let (endpoint, options) = (self.peer.endpoint, no_options());
        let (start, length) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the endpoint is alive; the bytes are not freed before the send is complete.
        unsafe { (self.ucp.functions.tag_send_nbx)(endpoint, start, length, NOTIFICATION_TAG, &options) }
    }

    /// Retires what is complete, in order. True when nothing is pending.
    fn retire(&mut self) -> Result<bool, Cause> {
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
        self.notified = self.notification.is_none();
        self.is_complete()
    }

    fn is_complete(&mut self) -> Result<bool, Cause> {
        if !self.retire()? {
            self.ucp.make_progress();
        }
        if !self.retire()? {
            return Ok(false);
        }
        if let Some(bytes) = self.notification.as_ref().filter(|_| !self.notified) {
            let sent = Pending::new(self.ucp, "ucp_tag_send_nbx", self.start_notification(bytes))?;
            self.pending.push(sent);
            self.notified = true;
        }
        self.retire()
    }

    fn release(self: Box<Self>) -> Result<(), Cause> {
        if !self.pending.is_empty() {
            return Err(Cause::Protocol("a transfer was released before it was complete".into()));
        }
        drop(self.notification.map(ManuallyDrop::into_inner));
        Ok(())
    }
}
