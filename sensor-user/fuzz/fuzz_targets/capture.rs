//! Any bytes as a capture file: its frames are handed out, or an error says where they end; what is read
//! does not depend on the sizes of the pieces in which the file arrives.
//!
//! Start it with the files in `seeds/capture`. The first byte is the size of the pieces.
#![no_main]

use std::io::{self, Cursor, Read};

use libfuzzer_sys::fuzz_target;
use sensor_user::{capture::file::CaptureFile, error_chain};

fuzz_target!(|data: &[u8]| {
    let Some((&piece, file)) = data.split_first() else { return };
    let size = 1 + usize::from(piece);
    let pieces = Pieces { rest: Cursor::new(file.to_vec()), size };
    assert_eq!(read(Cursor::new(file.to_vec())), read(pieces), "in pieces of {size}");
});

/// All that is read of a file: its frames and how it ended.
fn read(reader: impl Read + Send + 'static) -> (Vec<String>, String) {
    let mut frames = Vec::new();
    let mut file = match CaptureFile::from_reader("fuzz", reader) {
        Ok(file) => file,
        Err(error) => return (frames, error_chain(&error)),
    };
    loop {
        match file.next_frame() {
            Ok(Some(frame)) => {
                assert!(frame.frame.bytes.len() <= frame.frame.wire_len, "{frame:?}");
                frames.push(format!("{frame:?}"));
            }
            Ok(None) => return (frames, String::new()),
            Err(error) => return (frames, error_chain(&error)),
        }
    }
}

/// A file that arrives in pieces, as from a pipe.
struct Pieces {
    rest: Cursor<Vec<u8>>,
    size: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(buffer.len());
        self.rest.read(&mut buffer[..size])
    }
}
