//! The blocks of a pcapng file: sections, interfaces, packets. Every other block is skipped.
//!
//! Format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>.

use std::ops::Range;

use pcap_parser::{
    InterfaceDescriptionBlock, OptionCode,
    pcapng::{parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le},
};
use sensor_common::parse::Link;

use super::{LATEST, Located, MAX_BLOCK, MAX_FRAME, absurd_length, link_of};
use crate::clock::Timestamp;

/// Type and both lengths: the smallest block.
pub(super) const MIN_BLOCK: usize = 12;
/// Most interfaces of one section.
const MAX_INTERFACES: usize = 65_536;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const TOO_SHORT: &str = "its block is too short for what it holds";

/// What is in force in the section that is being read.
#[derive(Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

/// An interface that the frames of a section refer to.
struct Interface {
    link_type: u32,
    /// Bytes kept of each frame.
    snap_length: u32,
    clock: InterfaceClock,
}

/// Why a block cannot be used.
pub(super) enum BlockError {
    Damaged(String),
    LinkType(u32),
}

impl Section {
    /// Whether a file that begins with `data` is pcapng.
    pub(super) fn begins(data: &[u8]) -> bool {
        data.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    /// Length of the block that begins with `head`; a section header opens its section.
    pub(super) fn enter(&mut self, head: &[u8; MIN_BLOCK]) -> Result<usize, BlockError> {
        if Self::begins(head) {
            self.interfaces.clear();
            self.big_endian = match BYTE_ORDER_MAGIC {
                magic if head.ends_with(&magic.to_le_bytes()) => false,
                magic if head.ends_with(&magic.to_be_bytes()) => true,
                _ => return Err(damaged("its section header has no byte-order magic")),
            };
        }
        match self.word(head, 4)? as usize {
            length @ MIN_BLOCK..=MAX_BLOCK => Ok(length),
            length => Err(BlockError::Damaged(format!("its block claims a length of {length} bytes"))),
        }
    }

    /// Takes a whole block; yields the frame in it, if it holds one.
    pub(super) fn read(&mut self, block: &[u8], last_time: Timestamp) -> Result<Option<Located>, BlockError> {
        let end = block.len() - size_of::<u32>();
        if self.word(block, end)? as usize != block.len() {
            return Err(damaged("its block gives different lengths at its start and its end"));
        }
        let located = match self.word(block, 0)? {
            INTERFACE_DESCRIPTION => return self.add_interface(block).map(|()| None),
            ENHANCED_PACKET => self.enhanced_packet(block, end)?,
            SIMPLE_PACKET => self.simple_packet(block, end, last_time)?,
            OBSOLETE_PACKET => self.obsolete_packet(block, end)?,
            _ => return Ok(None),
        };
        Ok(Some(located))
    }

    fn add_interface(&mut self, block: &[u8]) -> Result<(), BlockError> {
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(damaged("its section describes too many interfaces"));
        }
        let parsed = if self.big_endian {
            parse_interfacedescriptionblock_be(block)
        } else {
            parse_interfacedescriptionblock_le(block)
        };
        let Ok((_, description)) = parsed else {
            return Err(damaged("its interface description cannot be read"));
        };
        self.interfaces.push(Interface::of(&description, self.big_endian));
        Ok(())
    }

    fn enhanced_packet(&self, block: &[u8], end: usize) -> Result<Located, BlockError> {
        let interface = self.interface(self.word(block, 8)?)?;
        let captured = self.word(block, 20)?;
        Ok(Located {
            time: interface.clock.time(self.units(block, 12)?),
            link: interface.link()?,
            bytes: bytes(28, captured, end)?,
            wire_len: self.word(block, 24)? as usize,
        })
    }

    /// The packet block of the first drafts, which old captures have.
    fn obsolete_packet(&self, block: &[u8], end: usize) -> Result<Located, BlockError> {
        // Two 16-bit fields share this word: the interface comes first.
        let word = self.word(block, 8)?;
        let interface = self.interface(if self.big_endian { word >> 16 } else { word & 0xffff })?;
        let captured = self.word(block, 20)?;
        Ok(Located {
            time: interface.clock.time(self.units(block, 12)?),
            link: interface.link()?,
            bytes: bytes(28, captured, end)?,
            wire_len: self.word(block, 24)? as usize,
        })
    }

    /// A packet without time and interface: it came after the one before it, on the first interface.
    fn simple_packet(&self, block: &[u8], end: usize, time: Timestamp) -> Result<Located, BlockError> {
        let interface = self.interface(0)?;
        let wire_len = self.word(block, 8)?;
        let captured = wire_len.min(interface.snap_length);
        Ok(Located {
            time,
            link: interface.link()?,
            bytes: bytes(12, captured, end)?,
            wire_len: wire_len as usize,
        })
    }

    fn interface(&self, index: u32) -> Result<&Interface, BlockError> {
        self.interfaces.get(index as usize).ok_or_else(|| {
            BlockError::Damaged(format!("it belongs to interface {index}, which nothing describes"))
        })
    }

    fn units(&self, block: &[u8], offset: usize) -> Result<u64, BlockError> {
        Ok(u64::from(self.word(block, offset)?) << 32 | u64::from(self.word(block, offset + 4)?))
    }

    fn word(&self, block: &[u8], offset: usize) -> Result<u32, BlockError> {
        let bytes = block.get(offset..).and_then(<[u8]>::first_chunk).ok_or_else(|| damaged(TOO_SHORT))?;
        Ok(if self.big_endian { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) })
    }
}

/// Where the captured bytes of a packet lie in its block, of which packet data may use `..end`.
fn bytes(start: usize, captured: u32, end: usize) -> Result<Range<usize>, BlockError> {
    let captured = captured as usize;
    if captured > MAX_FRAME {
        return Err(BlockError::Damaged(absurd_length(captured)));
    }
    match start + captured {
        data_end if data_end <= end => Ok(start..data_end),
        _ => Err(BlockError::Damaged(format!(
            "it claims {captured} captured bytes, more than its block holds"
        ))),
    }
}

fn damaged(problem: &str) -> BlockError {
    BlockError::Damaged(problem.to_owned())
}

impl Interface {
    fn of(description: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        Self {
            link_type: description.linktype.0.cast_unsigned() & 0xffff,
            snap_length: if description.snaplen == 0 { u32::MAX } else { description.snaplen },
            clock: InterfaceClock::of(description, big_endian),
        }
    }

    fn link(&self) -> Result<Link, BlockError> {
        link_of(self.link_type).ok_or(BlockError::LinkType(self.link_type))
    }
}

/// How an interface counts time.
struct InterfaceClock {
    resolution: Resolution,
    /// Nanoseconds to add.
    offset: i128,
}

/// From units to nanoseconds.
enum Resolution {
    Multiply(u64),
    Divide(u64),
    /// Units are 2 to the power of minus this.
    Binary(u32),
    /// Units so small that 64 bits of them are less than a nanosecond, near enough.
    Nothing,
}

impl InterfaceClock {
    fn of(description: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        // pcap-parser reads the offset in little-endian order, whatever the section's.
        let offset = description
            .options
            .iter()
            .find(|option| option.code == OptionCode::IfTsoffset)
            .and_then(|option| option.value().first_chunk::<8>())
            .map_or(
                0,
                |bytes| if big_endian { i64::from_be_bytes(*bytes) } else { i64::from_le_bytes(*bytes) },
            );
        Self {
            resolution: Resolution::of(description.if_tsresol),
            offset: i128::from(offset) * 1_000_000_000,
        }
    }

    fn time(&self, units: u64) -> Timestamp {
        let nanoseconds = match self.resolution {
            Resolution::Multiply(factor) => i128::from(units) * i128::from(factor),
            Resolution::Divide(divisor) => i128::from(units / divisor),
            Resolution::Binary(exponent) => (i128::from(units) * 1_000_000_000) >> exponent,
            Resolution::Nothing => 0,
        };
        let clamped = (nanoseconds + self.offset).clamp(0, i128::from(LATEST.0));
        Timestamp(u64::try_from(clamped).unwrap_or(LATEST.0))
    }
}

impl Resolution {
    /// From `if_tsresol`: the high bit chooses powers of two over powers of ten.
    fn of(if_tsresol: u8) -> Self {
        let exponent = u32::from(if_tsresol & 0x7f);
        match (if_tsresol & 0x80 != 0, exponent) {
            (true, _) => Self::Binary(exponent),
            (false, 0..=9) => Self::Multiply(10_u64.pow(9 - exponent)),
            (false, 10..=28) => Self::Divide(10_u64.pow(exponent - 9)),
            (false, _) => Self::Nothing,
        }
    }
}
