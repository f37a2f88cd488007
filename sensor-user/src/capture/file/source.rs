//! A buffer over a reader, from which whole records are taken.

use std::io::{self, ErrorKind, Read};

/// Initial size of the buffer; it grows to the largest block.
const BUFFER: usize = 1024 * 1024;

/// Bytes of a stream in the order of the stream, any number of them at once.
pub(super) struct Source {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl Source {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, buffer: vec![0; BUFFER], start: 0, end: 0, offset: 0 }
    }

    /// What is buffered and not consumed.
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Place in the stream of the first byte that is not consumed.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Drops the first `length` buffered bytes.
    pub(super) fn consume(&mut self, length: usize) {
        let length = length.min(self.end - self.start);
        self.start += length;
        self.offset += length as u64;
    }

    /// Reads until `length` bytes are buffered or the stream ends; returns the number buffered.
    pub(super) fn require(&mut self, length: usize) -> io::Result<usize> {
        if self.end - self.start < length {
            self.make_room(length);
            while self.end < length {
                match self.reader.read(&mut self.buffer[self.end..]) {
                    Ok(0) => break,
                    Ok(read) => self.end += read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.end - self.start)
    }

    /// Moves what is buffered to the front of a buffer of at least `length` bytes.
    fn make_room(&mut self, length: usize) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }
}
