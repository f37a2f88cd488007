//! What no safe interface offers: map memory, batch operations on maps. The only file here with `unsafe`.
#![expect(unsafe_code, reason = "raw system calls, each wrapped here in a safe function")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use memmap2::{MmapMut, MmapOptions};
use nix::time::{ClockId, clock_gettime};
use sensor_common::bench::FrameFlow;

/// CPU time of the calling thread: what others do on a shared machine is not in it.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// The list of flows in a mapped array map.
pub struct FlowList(MmapMut);

impl FlowList {
    /// Maps the first `len` flows of a map made with `BPF_F_MMAPABLE`.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: the memory is the map's; the one program that reads it runs while nobody writes here.
        let memory = unsafe { MmapOptions::new().len(len * size_of::<FrameFlow>()).map_mut(fd.as_raw_fd())? };
        Ok(Self(memory))
    }

    /// Writes a list.
    pub fn write(&mut self, flows: &[FrameFlow]) {
        let slots = self.0.as_chunks_mut::<{ size_of::<FrameFlow>() }>().0;
        assert!(flows.len() <= slots.len(), "{} flows do not fit a list of {}", flows.len(), slots.len());
        for (slot, flow) in slots.iter_mut().zip(flows) {
            slot[..8].copy_from_slice(&flow.addresses.to_ne_bytes());
            slot[8..12].copy_from_slice(&flow.ports.to_ne_bytes());
        }
    }
}

/// The batch part of `union bpf_attr` (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Empties a hash map by `BPF_MAP_LOOKUP_AND_DELETE_BATCH`, `batch` entries a call, into buffers that are
/// made once.
pub struct BatchDrain {
    keys: Vec<u8>,
    values: Vec<u64>,
    value_words: usize,
    batch: u32,
}

const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;

impl BatchDrain {
    /// For keys and values of so many bytes; of a per-CPU map the values of all CPUs together.
    pub fn new(key_size: usize, value_size: usize, batch: u32) -> Self {
        let entries = batch as usize;
        let value_words = value_size / size_of::<u64>();
        Self { keys: vec![0; entries * key_size], values: vec![0; entries * value_words], value_words, batch }
    }

    /// Calls `each` with the value of every entry; returns how many there were.
    pub fn drain(&mut self, fd: BorrowedFd<'_>, mut each: impl FnMut(&[u64])) -> io::Result<usize> {
        let (mut token, mut started, mut total) = ([0_u64; 2], false, 0);
        loop {
            let place = token.as_mut_ptr() as u64;
            let mut attr = BatchAttr {
                in_batch: if started { place } else { 0 },
                out_batch: place,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: self.batch,
                map_fd: fd.as_raw_fd().cast_unsigned(),
                ..BatchAttr::default()
            };
            // SAFETY: the attribute names buffers that hold `count` keys and values, and a token as long as a
            // key.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_MAP_LOOKUP_AND_DELETE_BATCH,
                    &raw mut attr,
                    size_of::<BatchAttr>(),
                )
            };
            let error = io::Error::last_os_error();
            let ended = result != 0 && error.raw_os_error() == Some(libc::ENOENT);
            if result != 0 && !ended {
                return Err(error);
            }
            let count = attr.count as usize;
            self.values.chunks_exact(self.value_words).take(count).for_each(&mut each);
            total += count;
            if ended {
                return Ok(total);
            }
            started = true;
        }
    }
}
