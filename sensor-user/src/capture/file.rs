//! Capture files: pcap and pcapng in, frames with their time and link layer out.
//!
//! A file is read through one buffer, so a pipe or standard input is as good as a file and nothing is
//! mapped that another process could cut short. Frames borrow from the buffer: none is copied.
//!
//! File headers and interface descriptions are `pcap-parser`'s to read. Framing is done here, because an
//! error has to name the record, and because a block that nobody needs is skipped without being understood.

#[cfg(test)]
pub(crate) mod builder;
mod error;
mod pcapng;
mod source;
#[cfg(test)]
mod tests;

pub use error::FileError;

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::Path,
};

use pcap_parser::{PcapHeader, nom::Err as ParseError, pcap::parse_pcap_header};
use sensor_common::{frame::CapturedFrame, parse::Link};

use self::{
    pcapng::{BlockError, Section},
    source::Source,
};
use crate::clock::Timestamp;

/// Most bytes of one frame; `MAXIMUM_SNAPLEN` of libpcap. A record that claims more is damaged.
const MAX_FRAME: usize = 262_144;
/// Most bytes of one pcapng block; the largest that Wireshark's and tcpdump's readers take.
const MAX_BLOCK: usize = 16 * 1024 * 1024;
/// Bytes of the fields that every record of a pcap file begins with.
const RECORD_HEADER: usize = 16;
/// The latest time a frame can have: 2262, where nanoseconds leave 63 bits.
const LATEST: Timestamp = Timestamp(i64::MAX.cast_unsigned());
/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

/// One frame of a capture.
#[derive(Clone, Copy, Debug)]
pub struct TimedFrame<'a> {
    /// When it was captured, as the file says: it may lie before the time of the frame before it.
    pub time: Timestamp,
    /// What it starts with.
    pub link: Link,
    /// Its bytes and its length on the wire.
    pub frame: CapturedFrame<'a>,
}

/// A capture file that is being read.
pub struct CaptureFile {
    size: Option<u64>,
    format: Format,
    records: Records,
}

/// The records of a file, of whatever format.
struct Records {
    name: String,
    source: Source,
    /// Bytes at the start of the buffer that the record that was read last takes.
    current: usize,
    frames: u64,
    last_time: Timestamp,
}

enum Format {
    Pcap(Pcap),
    PcapNg(Section),
}

/// A pcap file as its header describes it.
struct Pcap {
    /// Bytes of a record before its frame.
    header_len: usize,
    big_endian: bool,
    nanoseconds_per_unit: u64,
    link: Link,
}

/// A frame inside the record at the start of the buffer.
struct Located {
    time: Timestamp,
    link: Link,
    bytes: Range<usize>,
    wire_len: usize,
}

impl CaptureFile {
    /// Opens a file, or standard input where the path is `-`, and reads the file header.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        if Self::is_standard_input(path) {
            return Self::new("standard input".to_owned(), None, Box::new(io::stdin()));
        }
        let name = path.display().to_string();
        let open_error = |source| FileError::Open { file: name.clone(), source };
        let file = File::open(path).map_err(open_error)?;
        let metadata = file.metadata().map_err(open_error)?;
        let size = metadata.is_file().then_some(metadata.len());
        Self::new(name, size, Box::new(file))
    }

    /// Whether `path` means standard input.
    #[must_use]
    pub fn is_standard_input(path: &Path) -> bool {
        path.as_os_str() == STANDARD_INPUT
    }

    /// Reads from `reader`; `name` is what errors call it.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Result<Self, FileError> {
        Self::new(name.to_owned(), None, Box::new(reader))
    }

    fn new(name: String, size: Option<u64>, reader: Box<dyn Read + Send>) -> Result<Self, FileError> {
        let mut source = Source::new(reader);
        let header = PcapHeader::new().size();
        source.require(header).map_err(|source| FileError::Read { file: name.clone(), offset: 0, source })?;
        let (format, current) = if Section::begins(source.data()) {
            (Format::PcapNg(Section::default()), 0)
        } else {
            (Format::Pcap(Pcap::of(source.data(), &name)?), header)
        };
        let records = Records { name, source, current, frames: 0, last_time: Timestamp::default() };
        Ok(Self { size, format, records })
    }

    /// What errors call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.records.name
    }

    /// Its size in bytes, where it is known beforehand.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.records.source.offset()
    }

    /// Frames read so far.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.records.frames
    }

    /// The next frame; none at the end of the file. After an error there is no next frame to ask for.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<TimedFrame<'_>>, FileError> {
        let records = &mut self.records;
        let located = match &mut self.format {
            Format::Pcap(pcap) => records.next_record(pcap)?,
            Format::PcapNg(section) => records.next_packet(section)?,
        };
        let Some(Located { time, link, bytes, wire_len }) = located else {
            return Ok(None);
        };
        records.frames += 1;
        records.last_time = time;
        let bytes = &records.source.data()[bytes];
        // Some writers leave the original length at 0; a frame was never shorter than what is left of it.
        let frame = CapturedFrame { bytes, wire_len: wire_len.max(bytes.len()) };
        Ok(Some(TimedFrame { time, link, frame }))
    }
}

impl Records {
    #[inline]
    fn next_record(&mut self, pcap: &Pcap) -> Result<Option<Located>, FileError> {
        self.source.consume(std::mem::take(&mut self.current));
        let data = self.source.data();
        if let Some(header) = data.first_chunk() {
            let (length, located) = pcap.record(header);
            if length <= data.len() && located.bytes.len() <= MAX_FRAME {
                self.current = length;
                return Ok(Some(located));
            }
        }
        self.unbuffered_record(pcap)
    }

    /// The next record where it is not buffered as a whole, or damaged.
    #[cold]
    fn unbuffered_record(&mut self, pcap: &Pcap) -> Result<Option<Located>, FileError> {
        if self.fill(pcap.header_len)? == 0 {
            return Ok(None);
        }
        // Judged by what it says itself, never by how much of it is buffered.
        let header = self.source.data().get(..pcap.header_len).and_then(<[u8]>::first_chunk);
        let Some((length, located)) = header.map(|header| pcap.record(header)) else {
            return Err(self.truncated());
        };
        let captured = located.bytes.len();
        if captured > MAX_FRAME {
            return Err(self.damaged(absurd_length(captured)));
        }
        if self.fill(length)? < length {
            return Err(self.truncated());
        }
        self.current = length;
        Ok(Some(located))
    }

    fn next_packet(&mut self, section: &mut Section) -> Result<Option<Located>, FileError> {
        loop {
            self.source.consume(std::mem::take(&mut self.current));
            if self.fill(pcapng::MIN_BLOCK)? == 0 {
                return Ok(None);
            }
            let Some(head) = self.source.data().first_chunk() else { return Err(self.truncated()) };
            let length = section.enter(head).map_err(|error| self.block_error(error))?;
            if self.fill(length)? < length {
                return Err(self.truncated());
            }
            self.current = length;
            let located = section.read(&self.source.data()[..length], self.last_time);
            if let Some(located) = located.map_err(|error| self.block_error(error))? {
                return Ok(Some(located));
            }
        }
    }

    /// Buffers at least `length` bytes unless the file ends before; returns what there is.
    fn fill(&mut self, length: usize) -> Result<usize, FileError> {
        let offset = self.source.offset();
        self.source.require(length).map_err(|source| FileError::Read {
            file: self.name.clone(),
            offset,
            source,
        })
    }

    fn truncated(&self) -> FileError {
        let offset = self.source.offset();
        FileError::Truncated { file: self.name.clone(), offset, frame: self.frames + 1 }
    }

    fn damaged(&self, problem: String) -> FileError {
        let offset = self.source.offset();
        FileError::Damaged { file: self.name.clone(), offset, frame: self.frames + 1, problem }
    }

    fn block_error(&self, error: BlockError) -> FileError {
        match error {
            BlockError::Damaged(problem) => self.damaged(problem),
            BlockError::LinkType(link_type) => FileError::LinkType { file: self.name.clone(), link_type },
        }
    }
}

fn absurd_length(captured: usize) -> String {
    format!("it claims {captured} captured bytes, more than any capture keeps")
}

impl Pcap {
    fn of(data: &[u8], name: &str) -> Result<Self, FileError> {
        let header = match parse_pcap_header(data) {
            Ok((_, header)) => header,
            Err(ParseError::Incomplete(_)) if data.len() >= size_of::<u32>() => {
                return Err(FileError::TruncatedHeader { file: name.to_owned() });
            }
            Err(_) => return Err(FileError::of_beginning(name, data)),
        };
        // The high bits of the field tell the length of the frame check sequence.
        let link_type = header.network.0.cast_unsigned() & 0xffff;
        let link =
            link_of(link_type).ok_or_else(|| FileError::LinkType { file: name.to_owned(), link_type })?;
        Ok(Self {
            // The format of patched versions of libpcap has more fields behind the common ones.
            header_len: if header.is_modified_format() { RECORD_HEADER + 8 } else { RECORD_HEADER },
            big_endian: header.is_bigendian(),
            nanoseconds_per_unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
            link,
        })
    }

    /// The record that begins with `header`, whose length includes it.
    #[inline]
    fn record(&self, header: &[u8; RECORD_HEADER]) -> (usize, Located) {
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let [seconds, fraction, captured, original] = [word(0), word(4), word(8), word(12)];
        let length = self.header_len + captured as usize;
        // Both fields at their largest are less than 2^63 nanoseconds.
        let time = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.nanoseconds_per_unit;
        let located = Located {
            time: Timestamp(time),
            link: self.link,
            bytes: self.header_len..length,
            wire_len: original as usize,
        };
        (length, located)
    }
}

/// The link layer of a pcap link type; none for one that is not read.
///
/// Numbers are those of the registry at <https://www.tcpdump.org/linktypes.html>; 12 and 14 are what
/// some systems write for raw IP instead of 101.
const fn link_of(link_type: u32) -> Option<Link> {
    match link_type {
        1 => Some(Link::Ethernet),
        113 => Some(Link::LinuxSll),
        276 => Some(Link::LinuxSll2),
        12 | 14 | 101 | 228 | 229 => Some(Link::RawIp),
        _ => None,
    }
}
