//! Memory that a vendor library reads and writes on its own: host memory or GPU memory.
//!
//! GPU memory is filled and compared in a host copy of the same length, which `upload` and `download` move. For host
//! memory both do nothing.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::alloc::Layout;
use std::ops::Range;
use std::ptr::NonNull;

use super::cuda::{Buffer, Cuda};
use crate::smoke::plan::memory::Memory;
use crate::smoke::wire::cause::Cause;

/// 2 MiB: the usual huge page, and a multiple of every base page. Registration works on whole pages.
const ALIGNMENT: usize = 2 << 20;

/// Zeroed, page-aligned memory that is never freed: the library may access it until the process ends.
///
/// A slice covers one range, so that the library may write to the rest of the region meanwhile. No transfer into the range
/// may be in flight while the slice is alive.
pub(crate) struct Region {
    base: NonNull<u8>,
    length: usize,
    /// The GPU memory that is moved in place of the host memory.
    gpu: Option<Buffer>,
}

// SAFETY: no other Rust value refers to the memory, and nothing in it is tied to a thread.
unsafe impl Send for Region {}
// SAFETY: a shared reference only reads the memory.
unsafe impl Sync for Region {}

impl Region {
    /// Allocates `length` bytes; None where the allocation fails.
    pub(crate) fn allocate(length: usize) -> Option<Region> {
        let layout = Layout::from_size_align(length.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout's size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        // Fewer, larger pages are zeroed, registered and freed faster. It is no more than advice: an error is ignored.
        // SAFETY: the range was just allocated, starts on a page, and the advice changes no content.
        let _ = unsafe { libc::madvise(base.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
        // SAFETY: the range was just allocated.
        unsafe { base.as_ptr().write_bytes(0, layout.size()) };
        Some(Region { base, length, gpu: None })
    }

    /// Copies the bytes to the GPU; transfers move them in its memory from now on.
    ///
    /// # Errors
    /// Where the GPU has too little free memory, or its driver fails.
    pub(crate) fn move_to(&mut self, gpu: &'static Cuda) -> Result<(), Cause> {
        // A network card or another process maps whole pages, which are larger than the driver's granularity.
        let size = self.length.next_multiple_of(ALIGNMENT);
        self.gpu = Some(gpu.allocate(size)?.part(0..self.length));
        self.upload(0..self.length)
    }

    /// The memory that transfers move.
    pub(crate) fn memory(&self) -> Memory {
        self.gpu.map_or(Memory::Dram, |gpu| Memory::Vram(gpu.device()))
    }

    /// Address of the first byte in that memory.
    pub(crate) fn address(&self) -> usize {
        self.gpu.map_or_else(|| self.base.as_ptr().expose_provenance(), |gpu| gpu.address())
    }

    /// Copies bytes to the GPU.
    ///
    /// # Errors
    /// Where its driver fails.
    pub(crate) fn upload(&self, range: Range<usize>) -> Result<(), Cause> {
        let Some(gpu) = self.gpu else { return Ok(()) };
        gpu.part(range.clone()).write(self.bytes(range))
    }

    /// Copies bytes from the GPU.
    ///
    /// # Errors
    /// Where its driver fails.
    pub(crate) fn download(&mut self, range: Range<usize>) -> Result<(), Cause> {
        let Some(gpu) = self.gpu else { return Ok(()) };
        gpu.part(range.clone()).read(self.bytes_mut(range))
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Divides the region into portions that do not overlap: a range loses what an earlier one covers.
    pub(crate) fn divide(self, ranges: impl Iterator<Item = Range<usize>>) -> Vec<Portion> {
        let mut end = 0;
        let mut portion = |range: Range<usize>| {
            let (start, stop) = (range.start.clamp(end, self.length), range.end.clamp(end, self.length));
            end = stop.max(start);
            // SAFETY: `start` is at most the allocation's length.
            let base = unsafe { self.base.add(start) };
            Portion { base, length: end - start, gpu: self.gpu.map(|gpu| gpu.part(start..end)) }
        };
        ranges.map(&mut portion).collect()
    }

    /// The bytes of `range`, to read; panics where it exceeds the region.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: the start is at most the allocation's length.
        let first = unsafe { self.base.add(range.start) };
        // SAFETY: inside the allocation, initialized (zeroed), and borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), range.len()) }
    }

    /// The bytes of `range`, to write; panics where it exceeds the region.
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: the start is at most the allocation's length.
        let first = unsafe { self.base.add(range.start) };
        // SAFETY: inside the allocation, initialized (zeroed), and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), range.len()) }
    }
}

/// A part of a region that no other value gives access to.
///
/// No transfer into it may be in flight while one of its slices is alive.
pub(crate) struct Portion {
    base: NonNull<u8>,
    length: usize,
    gpu: Option<Buffer>,
}

// SAFETY: no other Rust value refers to its memory, since portions do not overlap, and nothing in it is tied to a thread.
unsafe impl Send for Portion {}

impl Portion {
    /// Copies the bytes to the GPU.
    ///
    /// # Errors
    /// Where its driver fails.
    pub(crate) fn upload(&self) -> Result<(), Cause> {
        self.gpu.map_or(Ok(()), |gpu| gpu.write(self.bytes()))
    }

    /// Copies the bytes from the GPU.
    ///
    /// # Errors
    /// Where its driver fails.
    pub(crate) fn download(&mut self) -> Result<(), Cause> {
        self.gpu.map_or(Ok(()), |gpu| gpu.read(self.bytes_mut()))
    }

    /// The bytes, to read.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: inside an allocation that is never freed, initialized, and borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.length) }
    }

    /// The bytes, to write.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: inside an allocation that is never freed, initialized, and `self`, which alone gives access to it, is
        // borrowed exclusively.
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
    fn portions_cover_their_ranges_and_never_overlap() {
        let region = Region::allocate(100).unwrap();
        let mut portions = region.divide([0..10, 10..40, 30..60, 90..200, 5..7].into_iter());
        let lengths: Vec<usize> = portions.iter().map(|portion| portion.bytes().len()).collect();
        assert_eq!(lengths, [10, 30, 20, 10, 0]);
        portions.iter_mut().for_each(|portion| portion.bytes_mut().iter_mut().for_each(|byte| *byte += 1));
        assert!(portions.iter().all(|portion| portion.bytes().iter().all(|&byte| byte == 1)));
    }

    /// A region on the stand-in's GPU.
    fn on_a_gpu(length: usize) -> Region {
        let mut region = Region::allocate(length).unwrap();
        for (index, byte) in region.bytes_mut(0..length).iter_mut().enumerate() {
            *byte = index as u8;
        }
        let here = region.address();
        region.move_to(crate::smoke::engine::cuda::tests::stand_in()).unwrap();
        assert_ne!(region.address(), here);
        region
    }

    #[test]
    fn a_region_on_a_gpu_is_compared_as_the_gpu_holds_it() {
        let mut region = on_a_gpu(5000);
        assert_eq!((region.memory(), region.len()), (Memory::Vram(1), 5000));
        region.bytes_mut(0..5000).fill(0xff);
        region.download(10..20).unwrap();
        assert_eq!(region.bytes(9..21), [0xff, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0xff]);
        region.upload(30..40).unwrap();
        region.download(0..5000).unwrap();
        assert_eq!(region.bytes(29..41), [29, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 40]);
    }

    #[test]
    fn portions_of_a_region_on_a_gpu_have_their_own_part_of_it() {
        let mut portions = on_a_gpu(100).divide([0..10, 5..30, 90..100].into_iter());
        for portion in &mut portions {
            portion.bytes_mut().fill(0);
        }
        let last = std::thread::spawn(move || {
            portions.iter_mut().for_each(|portion| portion.download().unwrap());
            portions.iter().map(|portion| portion.bytes().to_vec()).collect::<Vec<_>>()
        });
        let expected: [Vec<u8>; 3] = [(0..10).collect(), (10..30).collect(), (90..100).collect()];
        assert_eq!(last.join().unwrap(), expected);
    }

    #[test]
    fn host_memory_is_moved_in_place() {
        let mut region = Region::allocate(10).unwrap();
        region.bytes_mut(0..10).fill(7);
        assert_eq!(region.memory(), Memory::Dram);
        region.upload(0..10).unwrap();
        region.download(0..10).unwrap();
        assert_eq!(region.bytes(0..10), [7; 10]);
    }

    #[test]
    fn a_failed_allocation_is_none() {
        assert!(Region::allocate(usize::MAX / 2).is_none());
    }
}
