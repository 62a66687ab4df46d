//! Memory that a vendor library reads and writes on its own.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr::NonNull;

/// The huge page of most machines, a multiple of their base page: registration works on whole pages.
const ALIGNMENT: usize = 2 << 20;
/// `MADV_HUGEPAGE` of madvise(2) on Linux.
const MADV_HUGEPAGE: c_int = 14;

unsafe extern "C" {
    /// madvise(2) of the C library that the standard library is linked with anyway.
    fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
}

/// Zeroed, page-aligned memory that is never given back: the library may touch it until the process ends.
///
/// Slices of it are made for one range at a time, so that a library that writes elsewhere in the region does no harm.
/// While a slice is alive, no transfer into its range may be under way.
pub struct Region {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to this value alone as far as Rust is concerned; nothing in it is tied to a thread.
unsafe impl Send for Region {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Region {}

impl Region {
    /// Allocates; None when there is no room for it.
    pub fn allocate(length: usize) -> Option<Region> {
        let layout = Layout::from_size_align(length.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout's size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        // Fewer, larger pages are touched, registered and given back faster. Where the kernel declines, nothing is lost.
        // SAFETY: the range was just allocated, starts on a page, and the advice changes no content.
        let _ = unsafe { madvise(base.as_ptr().cast(), layout.size(), MADV_HUGEPAGE) };
        // SAFETY: the range was just allocated.
        unsafe { base.as_ptr().write_bytes(0, layout.size()) };
        Some(Region { base, length })
    }

    /// Address of the first byte.
    pub fn address(&self) -> usize {
        self.base.as_ptr().expose_provenance()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Divides the region into portions that do not overlap: whatever of a range an earlier one has is left out of it.
    pub fn divide(self, ranges: impl Iterator<Item = Range<usize>>) -> Vec<Portion> {
        let mut end = 0;
        let mut portion = |range: Range<usize>| {
            let (start, stop) = (range.start.clamp(end, self.length), range.end.clamp(end, self.length));
            end = stop.max(start);
            // SAFETY: `start` is at most the allocation's length.
            Portion { base: unsafe { self.base.add(start) }, length: end - start }
        };
        ranges.map(&mut portion).collect()
    }

    /// Bytes to read.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside the allocation, initialized (it was zeroed), and borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(range.start), range.len()) }
    }

    /// Bytes to write.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside the allocation, initialized, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(range.start), range.len()) }
    }
}

/// A part of a region, which no other value gives access to.
///
/// While one of its slices is alive, no transfer into it may be under way.
pub struct Portion {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: as for the region; a portion was divided from the others and overlaps none of them.
unsafe impl Send for Portion {}

impl Portion {
    /// Bytes to read.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: inside an allocation that is never given back, initialized, and borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.length) }
    }

    /// Bytes to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: inside an allocation that is never given back, initialized, and `self`, which alone gives access to it,
        // is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_zeroed_and_writable() {
        let mut region = Region::allocate(100_000).unwrap();
        assert_eq!(region.address() % 4096, 0);
        assert!(region.bytes(0..region.len()).iter().all(|&byte| byte == 0));
        region.bytes_mut(99_999..100_000)[0] = 7;
        assert_eq!(region.bytes(99_998..100_000), [0, 7]);
    }

    #[test]
    fn portions_cover_what_they_were_asked_for_and_never_overlap() {
        let region = Region::allocate(100).unwrap();
        let mut portions = region.divide([0..10, 10..40, 30..60, 90..200, 5..7].into_iter());
        let lengths: Vec<usize> = portions.iter().map(|portion| portion.bytes().len()).collect();
        assert_eq!(lengths, [10, 30, 20, 10, 0]);
        portions.iter_mut().for_each(|portion| portion.bytes_mut().iter_mut().for_each(|byte| *byte += 1));
        assert!(portions.iter().all(|portion| portion.bytes().iter().all(|&byte| byte == 1)));
    }

    #[test]
    fn what_cannot_be_allocated_is_none() {
        assert!(Region::allocate(usize::MAX / 2).is_none());
    }
}
