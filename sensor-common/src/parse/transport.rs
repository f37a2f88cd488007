//! Transports with ports: TCP, UDP, SCTP and UDP-Lite all begin with source and destination port.

use super::walk::Walk;
use crate::{
    frame::Frame,
    packet::{Marks, SCTP, TCP},
    reason::Ignored,
};

/// Bytes of a TCP header without options.
pub const TCP_MIN_LEN: usize = 20;
/// Bytes of a UDP header, and of UDP-Lite's.
pub const UDP_LEN: usize = 8;
const SCTP_LEN: usize = 12;

/// Where the header length and the flags of TCP are.
pub const TCP_LENGTH_AND_FLAGS: usize = 12;

/// Checks the header, and reads the flags of TCP.
#[inline(always)]
pub fn marks<F: Frame>(walk: &Walk<'_, F>, protocol: u8) -> Result<Marks, Ignored> {
    if protocol == TCP { tcp_marks(walk) } else { unflagged(walk, protocol) }
}

#[inline(always)]
fn tcp_marks<F: Frame>(walk: &Walk<'_, F>) -> Result<Marks, Ignored> {
    const AS_FAR_AS_FLAGS: usize = TCP_LENGTH_AND_FLAGS + 2;
    // What is cut may be too short for the flags; its ports count all the same.
    if walk.is_cut() && walk.lacks(AS_FAR_AS_FLAGS) {
        return Ok(Marks::OTHER);
    }
    let [.., length, flags] = walk.read::<AS_FAR_AS_FLAGS>()?;
    let header_len = tcp_header_len(length);
    if header_len < TCP_MIN_LEN {
        return Err(Ignored::Malformed);
    }
    all_there(walk, header_len)?;
    Ok(Marks::of_tcp(flags))
}

/// Length in bytes from the byte that has it in its high half, in units of 4 bytes.
#[inline(always)]
pub const fn tcp_header_len(byte: u8) -> usize {
    (byte >> 4) as usize * 4
}

#[inline(always)]
fn unflagged<F: Frame>(walk: &Walk<'_, F>, protocol: u8) -> Result<Marks, Ignored> {
    if protocol == SCTP {
        all_there(walk, SCTP_LEN)?;
    } else {
        all_there(walk, UDP_LEN)?;
    }
    Ok(Marks::OTHER)
}

/// Checks that a datagram carries the whole of a transport header, unless it is cut.
#[inline(always)]
fn all_there<F: Frame>(walk: &Walk<'_, F>, header_len: usize) -> Result<(), Ignored> {
    if walk.lacks(header_len) && !walk.is_cut() {
        return Err(Ignored::Truncated);
    }
    Ok(())
}
