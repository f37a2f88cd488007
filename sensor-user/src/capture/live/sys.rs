//! System calls that no dependency wraps. One of the two files of this crate with `unsafe`.
#![expect(unsafe_code, reason = "raw system calls, each wrapped here in a safe function")]

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Waits until every XDP program that was running when this was called has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` waits for an RCU grace period, and XDP programs run inside RCU read-side critical
/// sections (membarrier(2); kernel/sched/membarrier.c). Kernels with `nohz_full` CPUs refuse it; there this
/// thread visits every CPU instead: it can run on one only after the softirq that ran there is done.
pub fn wait_for_running_programs() -> io::Result<()> {
    // SAFETY: membarrier takes numbers only and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 {
        return Ok(());
    }
    visit_every_cpu()
}

fn visit_every_cpu() -> io::Result<()> {
    let this_thread = Pid::from_raw(0);
    let before = sched_getaffinity(this_thread)?;
    for cpu in 0..CpuSet::count() {
        let mut one = CpuSet::new();
        one.set(cpu)?;
        // A CPU that does not exist or is offline is refused, and runs no program either.
        if sched_setaffinity(this_thread, &one).is_ok() {
            std::thread::yield_now();
        }
    }
    sched_setaffinity(this_thread, &before)?;
    Ok(())
}

/// A hold on promiscuous mode: the kernel ends it when this is dropped or the process dies.
#[derive(Debug)]
pub struct Promiscuous {
    _socket: OwnedFd,
}

impl Promiscuous {
    /// Switches an interface to promiscuous mode by a packet socket that receives nothing (packet(7)).
    pub fn on(interface_index: u32) -> io::Result<Self> {
        /// `linux/if_packet.h`; libc has it in a wider type than the structure.
        const PACKET_MR_PROMISC: u16 = 1;
        const SIZE: libc::socklen_t = 16;
        const _: () = assert!(size_of::<libc::packet_mreq>() == SIZE as usize);
        // SAFETY: socket takes numbers only.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let request = libc::packet_mreq {
            mr_ifindex: index(interface_index)?,
            mr_type: PACKET_MR_PROMISC,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the option's value is the structure that packet(7) names, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                SIZE,
            )
        };
        if result == 0 { Ok(Self { _socket: socket }) } else { Err(io::Error::last_os_error()) }
    }
}

fn index(interface_index: u32) -> io::Result<i32> {
    i32::try_from(interface_index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Offloads that change frames before the program sees them (linux/ethtool.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The NIC takes the VLAN tag out of the frame.
    pub vlan_stripping: bool,
    /// The NIC merges TCP segments.
    pub large_receive: bool,
    /// The kernel merges TCP segments; matters where the program runs in generic mode.
    pub generic_receive: bool,
}

impl Offloads {
    /// Asks the driver of an interface; errors where it has no ethtool support.
    pub fn of(interface: &str) -> io::Result<Self> {
        const ETHTOOL_GFLAGS: u32 = 0x25;
        const ETHTOOL_GGRO: u32 = 0x2b;
        const ETH_FLAG_RXVLAN: u32 = 1 << 8;
        const ETH_FLAG_LRO: u32 = 1 << 15;
        // SAFETY: socket takes numbers only.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let flags = ethtool_value(&socket, interface, ETHTOOL_GFLAGS)?;
        let generic_receive = ethtool_value(&socket, interface, ETHTOOL_GGRO)? != 0;
        Ok(Self {
            vlan_stripping: flags & ETH_FLAG_RXVLAN != 0,
            large_receive: flags & ETH_FLAG_LRO != 0,
            generic_receive,
        })
    }
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

fn ethtool_value(socket: &OwnedFd, interface: &str, command: u32) -> io::Result<u32> {
    let mut value = EthtoolValue { command, data: 0 };
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names the interface and points to the value, both of which outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}

/// Fills `bytes` with random bytes from the kernel.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: the buffer is ours and its length is given.
    let result = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(result) == Ok(bytes.len()) { Ok(()) } else { Err(io::Error::last_os_error()) }
}
