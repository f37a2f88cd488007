//! Capture files: pcap and pcapng in, frames with their time and link layer out.
//!
//! A file is read through one buffer, so a pipe or standard input is as good as a file and nothing is
//! mapped that another process could cut short. Frames borrow from the buffer: none is copied.
//!
//! The record formats are `pcap-parser`'s to read. Framing is done here, because an error has to name
//! the record, and because a block that nobody needs is skipped without being understood.

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

use pcap_parser::{
    LegacyPcapBlock, PcapError, PcapHeader,
    nom::{Err as ParseError, IResult},
    pcap::{parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header},
};
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

type RecordParser = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// A pcap file as its header describes it.
struct Pcap {
    parse: RecordParser,
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
    fn next_record(&mut self, pcap: &Pcap) -> Result<Option<Located>, FileError> {
        self.source.consume(std::mem::take(&mut self.current));
        let buffered = self.fill(pcap.header_len)?;
        if buffered == 0 {
            return Ok(None);
        }
        if buffered < pcap.header_len {
            return Err(self.truncated());
        }
        // Judged by what it says itself, never by how much of it is buffered.
        let captured = pcap.captured(self.source.data());
        if captured > MAX_FRAME {
            return Err(self.damaged(absurd_length(captured)));
        }
        let length = pcap.header_len + captured;
        if self.fill(length)? < length {
            return Err(self.truncated());
        }
        let Ok((_, record)) = (pcap.parse)(&self.source.data()[..length]) else {
            return Err(self.damaged("its record header cannot be read".to_owned()));
        };
        self.current = length;
        Ok(Some(pcap.locate(&record, length)))
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
        let big_endian = header.is_bigendian();
        let (parse, header_len): (RecordParser, _) = match (header.is_modified_format(), big_endian) {
            (true, _) => (parse_pcap_frame_modified, 24),
            (false, true) => (parse_pcap_frame_be, 16),
            (false, false) => (parse_pcap_frame, 16),
        };
        Ok(Self {
            parse,
            header_len,
            big_endian,
            nanoseconds_per_unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
            link,
        })
    }

    /// Bytes of a frame that were captured, as the header of its record says.
    fn captured(&self, header: &[u8]) -> usize {
        let field = [header[8], header[9], header[10], header[11]];
        let captured = if self.big_endian { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) };
        captured as usize
    }

    fn locate(&self, record: &LegacyPcapBlock<'_>, length: usize) -> Located {
        let fraction = u64::from(record.ts_usec) * self.nanoseconds_per_unit;
        Located {
            time: Timestamp::from_secs(record.ts_sec.into()).plus(std::time::Duration::from_nanos(fraction)),
            link: self.link,
            bytes: length - record.data.len()..length,
            wire_len: record.origlen as usize,
        }
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
