//! A sender at full speed that knows exactly which frames went out.
//!
//! Frames are handed to the driver directly, past any queue that could drop them unseen
//! (`PACKET_QDISC_BYPASS`), so what the kernel accepts is on the cable: veth refuses a frame for which the
//! other end has no room (`ENOBUFS`), and the sender offers it again. Order is kept.
//!
//! The only file of this crate with `unsafe`: two socket calls that no safe wrapper offers.

use std::{
    ffi::c_int,
    io,
    io::IoSlice,
    mem,
    os::fd::{AsRawFd, OwnedFd},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, sendmmsg, socket},
    unistd::Pid,
};

/// `AF_PACKET` in the width that addresses have.
const PACKET_FAMILY: libc::sa_family_t = 17;
const _: () = assert!(PACKET_FAMILY as c_int == libc::AF_PACKET);

/// Frames offered to the kernel per system call.
const BATCH: usize = 64;

/// An `AF_PACKET` socket that sends on one interface and receives nothing.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

/// What became of the frames offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames that the kernel put on the cable.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Times that the cable had no room and a frame was offered again.
    pub refused: u64,
}

impl Sender {
    /// Opens `interface` of the namespace that the calling thread is in.
    pub fn open(interface: &str) -> Result<Self> {
        let index = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
        // Protocol 0: nothing is received.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .context("cannot open a packet socket")?;
        bind_to(&socket, index.cast_signed()).with_context(|| format!("cannot bind to {interface}"))?;
        bypass_queueing(&socket).context("PACKET_QDISC_BYPASS")?;
        Ok(Self { socket })
    }

    /// Sends each frame once, in order. While the cable is full it yields the CPU to whoever empties it.
    pub fn send<F: AsRef<[u8]>>(&self, frames: &[F]) -> Result<Sent> {
        let mut sent = Sent::default();
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let mut rest = frames;
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(BATCH)];
            match self.offer(&mut headers, batch)? {
                0 => {
                    sent.refused += 1;
                    thread::yield_now();
                }
                accepted => {
                    sent.frames += accepted as u64;
                    sent.bytes +=
                        batch[..accepted].iter().map(|frame| frame.as_ref().len() as u64).sum::<u64>();
                    rest = &rest[accepted..];
                }
            }
        }
        Ok(sent)
    }

    /// How many of `batch`, from its beginning, the kernel accepted.
    fn offer<F: AsRef<[u8]>>(&self, headers: &mut MultiHeaders<()>, batch: &[F]) -> Result<usize> {
        let slices: Vec<_> = batch.iter().map(|frame| [IoSlice::new(frame.as_ref())]).collect();
        let addresses = vec![None; batch.len()];
        match sendmmsg(self.socket.as_raw_fd(), headers, &slices, addresses, [], MsgFlags::empty()) {
            Ok(accepted) => Ok(accepted.count()),
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error).context("sendmmsg"),
        }
    }
}

impl Sent {
    /// Adds another sender's count.
    pub fn add(&mut self, other: Self) {
        let Self { frames, bytes, refused } = other;
        self.frames += frames;
        self.bytes += bytes;
        self.refused += refused;
    }
}

/// Keeps the calling thread on one CPU.
pub fn pin_to_cpu(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

fn bind_to(socket: &OwnedFd, index: c_int) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: PACKET_FAMILY,
        sll_protocol: 0,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(mem::size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `address`, which outlives the call and is only read.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bypass_queueing(socket: &OwnedFd) -> io::Result<()> {
    let yes: c_int = 1;
    let length = libc::socklen_t::try_from(mem::size_of_val(&yes)).map_err(io::Error::other)?;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
    // SAFETY: the pointer and the length describe `yes`, which outlives the call and is only read.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const yes).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fails unless this machine has `wanted` CPUs.
pub fn require_cpus(wanted: usize) -> Result<()> {
    let here = thread::available_parallelism().context("cannot count CPUs")?.get();
    ensure!(here >= wanted, "{wanted} CPUs are needed, this machine has {here}");
    Ok(())
}
