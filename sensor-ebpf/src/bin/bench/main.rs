//! What the sensor's program is measured against, and the driver that runs either on distinct frames.
//!
//! `driver` takes the next flow of a list, writes it into the frame and hands the frame to the program under
//! test by a tail call. `BPF_PROG_TEST_RUN` repeats it. What the driver itself costs is what `empty` costs
//! under it.
//!
//! Not part of the sensor: built with the feature `bench` only.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod baselines;
#[cfg(target_arch = "bpf")]
mod driver;
#[cfg(target_arch = "bpf")]
#[expect(dead_code, reason = "the baselines read frames in one buffer only")]
#[path = "../../frame.rs"]
mod frame;

/// On the host the crate is only checked, as a part of the workspace.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The kernel rejects a program that could come here: there is no loop without bound.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers in use ask for a GPL-compatible program.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
