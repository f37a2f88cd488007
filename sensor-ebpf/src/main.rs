//! The XDP program: parse, account, one verdict for every frame.
//!
//! Three entry points share it: `sensor` and, for jumbo frames in several buffers, `sensor_frags` run on
//! a mirror port; `inspect` runs on single frames through `BPF_PROG_TEST_RUN` and reports what the parser
//! said, so that the kernel's instance of it can be compared with others.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
// Inline assembly, for what must be hidden from the compiler; aya-ebpf asks for it too.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod account;
#[cfg(target_arch = "bpf")]
mod elsewhere;
#[cfg(target_arch = "bpf")]
mod entry;
#[cfg(target_arch = "bpf")]
mod fragments;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod maps;

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
