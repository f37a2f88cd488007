//! Array maps mapped into this process. One of the two files of this crate with `unsafe`.
#![expect(unsafe_code, reason = "memory shared with the kernel program, wrapped here in a safe type")]

use std::{io, marker::PhantomData, ops::Range, os::fd::RawFd, ptr};

use memmap2::{MmapOptions, MmapRaw};
use sensor_common::{
    control::{CpuState, Inspection},
    table::{BucketV4, BucketV6},
};

/// What may lie in a mapped map: any bytes are a valid value.
///
/// # Safety
/// The type must be `repr(C)` or primitive, without padding that matters and without invalid values, and its
/// size must be a multiple of 8, as the elements of array maps are.
pub unsafe trait Shared: Copy {}

// SAFETY: repr(C) structures of integers, sizes asserted where they are defined.
unsafe impl Shared for BucketV4 {}
// SAFETY: as above.
unsafe impl Shared for BucketV6 {}
// SAFETY: as above.
unsafe impl Shared for CpuState {}
// SAFETY: as above.
unsafe impl Shared for Inspection {}
// SAFETY: an integer of 8 bytes.
unsafe impl Shared for u64 {}

/// An array map of `T` in memory.
pub struct MappedArray<T> {
    memory: MmapRaw,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Shared> MappedArray<T> {
    /// Maps the first `len` elements of a map made with `BPF_F_MMAPABLE`.
    pub fn map(fd: RawFd, len: usize) -> io::Result<Self> {
        let memory = MmapOptions::new().len(len * size_of::<T>()).map_raw(fd)?;
        Ok(Self { memory, len, element: PhantomData })
    }

    /// Elements.
    pub const fn len(&self) -> usize {
        self.len
    }

    fn pointer(&self, index: usize) -> *mut T {
        assert!(index < self.len, "element {index} of a map of {}", self.len);
        self.memory.as_mut_ptr().cast::<T>().wrapping_add(index)
    }

    /// Reads one element that a program may be writing: each aligned word is read whole, the element as a
    /// whole may be torn.
    pub fn read(&self, index: usize) -> T {
        // SAFETY: the pointer is in bounds and aligned (mappings begin at a page), and any bytes are a `T`.
        unsafe { ptr::read_volatile(self.pointer(index)) }
    }

    /// Writes one element.
    pub fn write(&mut self, index: usize, value: T) {
        // SAFETY: as for `read`; the mapping is writable and this is its only handle in this process.
        unsafe { ptr::write_volatile(self.pointer(index), value) }
    }

    /// Writes one word of an element whose other words a program may be writing.
    pub fn write_word(&mut self, index: usize, word: usize, value: u64) {
        assert!(word < size_of::<T>() / size_of::<u64>(), "word {word} of {} bytes", size_of::<T>());
        let pointer = self.pointer(index).cast::<u64>().wrapping_add(word);
        // SAFETY: the word is within the element, and aligned because the size of elements is a multiple of
        // 8; any bytes are a `T`. The mapping is writable, this is its only handle in this process, and the
        // program does not write this word.
        unsafe { ptr::write_volatile(pointer, value) }
    }

    /// Elements that no program touches: those of a generation that is inactive and quiescent.
    pub fn quiescent(&mut self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "elements {range:?} of {}", self.len);
        let first = self.memory.as_mut_ptr().cast::<T>().wrapping_add(range.start);
        // SAFETY: in bounds and aligned as above. The caller picked a range that programs do not write
        // (generation flipped and waited for), and `&mut self` excludes other readers here.
        unsafe { std::slice::from_raw_parts_mut(first, range.len()) }
    }
}
