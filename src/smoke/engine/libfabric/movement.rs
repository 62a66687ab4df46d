//! One transfer: its writes or reads, then its notification.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::c_void;
use std::ptr;

use super::abi::{self, CONTEXT};
use super::endpoint::{Libfabric, Peer};
use super::operations::{LONGEST_NOTIFICATION, RECEIVES};
use crate::smoke::engine::interface::{Place, Transfer};
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;

/// A transfer that is split into operations of the provider's maximum message size.
pub(super) struct Movement<'a> {
    fabric: &'a Libfabric,
    peer: Peer,
    operation: Operation,
    place: Place,
    descriptor: *mut c_void,
    max_message: usize,
    notification: Option<Vec<u8>>,
    /// Bytes whose operations are posted.
    posted: usize,
    /// The notification is posted, or there is none.
    notified: bool,
    /// Numbers of the operations in flight.
    in_flight: Vec<usize>,
}

impl<'a> Movement<'a> {
    /// Prepares a transfer; `descriptor` is that of the local memory.
    pub(super) fn new(
        fabric: &'a Libfabric,
        peer: Peer,
        operation: Operation,
        place: Place,
        descriptor: *mut c_void,
        notification: Option<&[u8]>,
    ) -> Movement<'a> {
        Movement {
            fabric,
            peer,
            operation,
            place,
            descriptor,
            max_message: fabric.max_message(),
            notification: notification.map(<[u8]>::to_vec),
            posted: place.length,
            notified: true,
            in_flight: Vec::new(),
        }
    }

    /// Posts what can be posted and retires what is complete. True when nothing is left to do.
    fn advance(&mut self) -> Result<bool, Cause> {
        self.retire();
        while self.posted < self.place.length {
            let length = (self.place.length - self.posted).min(self.max_message);
            if !self.post_with(|this, context| this.start(length, context))? {
                return Ok(false);
            }
            self.posted += length;
        }
        if !self.notified && self.in_flight.is_empty() {
            self.notified = self.send_notification()?;
        }
        Ok(self.notified && self.in_flight.is_empty())
    }

    fn retire(&mut self) {
        let mut operations = self.fabric.operations.borrow_mut();
        let (complete, waiting) = self.in_flight.iter().partition(|&&send| operations.complete[send]);
        self.in_flight = waiting;
        let complete: Vec<usize> = complete;
        operations.free_sends.extend(complete);
    }

    /// Posts one operation. False when libfabric, or this engine, has no room for it yet.
    fn post_with(&mut self, post: impl Fn(&Self, *mut c_void) -> (&'static str, isize)) -> Result<bool, Cause> {
        let Some(send) = self.fabric.operations.borrow_mut().free_sends.pop() else { return Ok(false) };
        let context = self.fabric.operations.borrow().context(RECEIVES + send);
        self.fabric.operations.borrow_mut().complete[send] = false;
        let (function, status) = post(self, context);
        if status == -abi::FI_EAGAIN {
            self.fabric.operations.borrow_mut().free_sends.push(send);
            return Ok(false);
        }
        self.fabric.functions.check(function, status)?;
        self.in_flight.push(send);
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
                // SAFETY: the endpoint is enabled and has its table; memory and context are never freed, and nothing
                // writes to this range of the memory while the operation is in flight.
                let status = unsafe {
                    ((*(*endpoint).rma).write)(endpoint, source, length, descriptor, address, remote, key, context)
                };
                ("fi_write", status)
            }
            Operation::Read => {
                let sink = ptr::with_exposed_provenance_mut(local);
                // SAFETY: the endpoint is enabled and has its table; memory and context are never freed, and no slice of
                // this range of the memory is alive while the operation is in flight.
                let status = unsafe {
                    ((*(*endpoint).rma).read)(endpoint, sink, length, descriptor, address, remote, key, context)
                };
                ("fi_read", status)
            }
        }
    }

    fn send_notification(&mut self) -> Result<bool, Cause> {
        let Some(notification) = self.notification.clone() else { return Ok(true) };
        let address = self.peer.address;
        self.post_with(|this, context| {
            let fabric = this.fabric;
            let mut operations = fabric.operations.borrow_mut();
            let index = (context.addr() - operations.contexts.address()) / CONTEXT;
            let start = index * LONGEST_NOTIFICATION;
            operations.notifications.bytes_mut(start..start + notification.len()).copy_from_slice(&notification);
            let (endpoint, buffer) = (fabric.endpoint, operations.notification(index));
            let descriptor = fabric.descriptor(operations.notifications_registration);
            // SAFETY: the endpoint is enabled and has its table; buffer and context are never freed, and nothing writes to
            // them until the operation is complete.
            let status = unsafe {
                ((*(*endpoint).msg).send)(endpoint, buffer, notification.len(), descriptor, address, context)
            };
            ("fi_send", status)
        })
    }
}

impl Transfer for Movement<'_> {
    fn post(&mut self) -> Result<bool, Cause> {
        self.posted = 0;
        self.notified = self.notification.is_none();
        self.advance()
    }

    fn is_complete(&mut self) -> Result<bool, Cause> {
        if self.advance()? {
            return Ok(true);
        }
        self.fabric.make_progress()?;
        self.advance()
    }

    fn release(self: Box<Self>) -> Result<(), Cause> {
        if !self.in_flight.is_empty() {
            return Err(Cause::Protocol("a transfer was released before it was complete".into()));
        }
        Ok(())
    }
}
