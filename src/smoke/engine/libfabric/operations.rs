//! The operations in flight, with their buffers and contexts.
#![forbid(unsafe_code)]

use std::ffi::c_void;
use std::ptr;

use super::abi::{CONTEXT, FidMr};
use crate::smoke::engine::region::Region;
use crate::smoke::wire::cause::Cause;

/// Receives posted at any time.
pub(super) const RECEIVES: usize = 256;
/// Maximum number of writes, reads and sends in flight.
pub(super) const SENDS: usize = 256;
/// Size of a notification's buffer in bytes.
pub(super) const LONGEST_NOTIFICATION: usize = 64;

/// The operations in flight. Each has a number: those of the receives come first, then those of the sends.
pub(super) struct Operations {
    /// One buffer an operation: received notifications, then those to be sent.
    pub(super) notifications: Region,
    /// The registration of these buffers.
    pub(super) notifications_registration: *mut FidMr,
    /// One context an operation, which belongs to the provider while the operation is in flight.
    pub(super) contexts: Region,
    /// Receives that are not posted.
    pub(super) unposted_receives: Vec<usize>,
    /// Sends that are not in use.
    pub(super) free_sends: Vec<usize>,
    /// Whether a send, by its number, is complete.
    pub(super) complete: Vec<bool>,
    /// Notifications that have arrived.
    pub(super) inbox: Vec<Vec<u8>>,
}

impl Operations {
    /// Allocates the buffers and contexts.
    pub(super) fn new() -> Result<Operations, Cause> {
        let allocate = |each| Region::allocate((RECEIVES + SENDS) * each).ok_or(Cause::Memory(0));
        Ok(Operations {
            notifications: allocate(LONGEST_NOTIFICATION)?,
            notifications_registration: ptr::null_mut(),
            contexts: allocate(CONTEXT)?,
            unposted_receives: (0..RECEIVES).collect(),
            free_sends: (0..SENDS).collect(),
            complete: vec![true; SENDS],
            inbox: Vec::new(),
        })
    }

    /// The buffer of an operation.
    pub(super) fn notification(&self, index: usize) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.notifications.address() + index * LONGEST_NOTIFICATION)
    }

    /// The context of an operation.
    pub(super) fn context(&self, index: usize) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.contexts.address() + index * CONTEXT)
    }

    /// Completes the operation with that context; `length` is that of a received notification.
    pub(super) fn complete(&mut self, context: *mut c_void, length: usize) -> Result<(), Cause> {
        let index = context.addr().wrapping_sub(self.contexts.address()) / CONTEXT;
        if index < RECEIVES {
            let start = index * LONGEST_NOTIFICATION;
            let range = start..start + length.min(LONGEST_NOTIFICATION);
            self.inbox.push(self.notifications.bytes(range).to_vec());
            self.unposted_receives.push(index);
            return Ok(());
        }
        let complete = self.complete.get_mut(index - RECEIVES);
        *complete.ok_or_else(|| Cause::Protocol("the completion queue returned an unknown context".into()))? = true;
        Ok(())
    }
}
