//! What the benchmarks' driver in the kernel and the benchmark agree on.

/// A flow as it is written into a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameFlow {
    /// Source and destination, as in the frame.
    pub addresses: u64,
    /// Source and destination port, as in the frame.
    pub ports: u32,
    /// Explicit padding to the 8-byte granularity of array maps.
    pub reserved: u32,
}

/// Where a CPU is in the list of flows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The next flow.
    pub position: u32,
    /// How many there are; after the last comes the first.
    pub flows: u32,
}

const _: () = assert!(size_of::<FrameFlow>() == 16 && size_of::<Cursor>() == 8);
