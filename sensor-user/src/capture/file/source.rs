//! A buffer over a reader, from which whole records are taken.

use std::io::{self, ErrorKind, Read};

/// Size of the buffer at first: small captures cost no more.
const FIRST: usize = 8 * 1024;
/// Size up to which it grows with what there is to read. Large enough for system calls not to matter, small
/// enough to stay in the second-level cache together with the flows that are counted. Only a larger block
/// makes it grow beyond.
pub(super) const FULL: usize = 256 * 1024;

/// Bytes of a stream in the order of the stream, any number of them at once.
pub(super) struct Source {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Place in the stream of the first byte of the buffer.
    base: u64,
}

impl Source {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, buffer: vec![0; FIRST], start: 0, end: 0, base: 0 }
    }

    /// What is buffered and not consumed.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Place in the stream of the first byte that is not consumed.
    #[inline]
    pub(super) const fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Drops the first `length` buffered bytes.
    #[inline]
    pub(super) fn consume(&mut self, length: usize) {
        self.start = self.end.min(self.start + length);
    }

    /// Reads until `length` bytes are buffered or the stream ends; returns the number buffered.
    #[inline]
    pub(super) fn require(&mut self, length: usize) -> io::Result<usize> {
        if self.end - self.start < length {
            self.refill(length)?;
        }
        Ok(self.end - self.start)
    }

    #[cold]
    fn refill(&mut self, length: usize) -> io::Result<()> {
        self.make_room(length);
        while self.end < length {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves what is buffered to the front of a buffer of at least `length` bytes, and of more if the reader
    /// could fill the one that there was.
    fn make_room(&mut self, length: usize) {
        let size = self.buffer.len();
        let wanted = if self.end == size { length.max(FULL.min(size * 2)) } else { length };
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if size < wanted {
            self.buffer.resize(wanted, 0);
        }
    }
}
