//! What can be wrong with a capture file.

use std::io;

/// Why a capture could not be opened or read further.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened.
    #[error("cannot open {file}")]
    Open {
        /// Path as given.
        file: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read {file} at byte {offset}")]
    Read {
        /// Path as given.
        file: String,
        /// Bytes before the failure.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{file} is empty: there is no capture in it")]
    Empty {
        /// Path as given.
        file: String,
    },
    /// It has to be decompressed.
    #[error("{file} is compressed: decompress it first, as in `{tool} -dc FILE | flow-sensor replay -`")]
    Compressed {
        /// Path as given.
        file: String,
        /// The command that decompresses it.
        tool: &'static str,
    },
    /// It is something else.
    #[error("{file} is neither pcap nor pcapng: it begins with the bytes {beginning}")]
    NotACapture {
        /// Path as given.
        file: String,
        /// Its first bytes in hexadecimal.
        beginning: String,
    },
    /// Its frames begin with a header that is not read.
    #[error(
        "{file} has link type {link_type}, which is not read: capture Ethernet (1), Linux cooked (113, 276) or raw IP (101)"
    )]
    LinkType {
        /// Path as given.
        file: String,
        /// Number in the registry of link types.
        link_type: u32,
    },
    /// It ends before the first frame could begin.
    #[error("{file} ends inside its file header: there is no frame in it")]
    TruncatedHeader {
        /// Path as given.
        file: String,
    },
    /// It ends in the middle of a record.
    #[error(
        "{file} ends inside frame {frame}, which begins at byte {offset}: the frames before it were used, the capture was cut off"
    )]
    Truncated {
        /// Path as given.
        file: String,
        /// Where the incomplete record begins.
        offset: u64,
        /// Number of the incomplete frame, from 1.
        frame: u64,
    },
    /// A record contradicts itself, so that what follows cannot be found.
    #[error("{file} is damaged at byte {offset}, frame {frame}: {problem}; the frames before it were used")]
    Damaged {
        /// Path as given.
        file: String,
        /// Where the damaged record begins.
        offset: u64,
        /// Number of the frame that could not be read, from 1.
        frame: u64,
        /// What is wrong.
        problem: String,
    },
}

/// First bytes of compressed files and what decompresses them.
const COMPRESSED: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
];

impl FileError {
    /// The error of a file whose first bytes are no capture's.
    pub(super) fn of_beginning(file: &str, data: &[u8]) -> Self {
        let file = file.to_owned();
        if data.is_empty() {
            return Self::Empty { file };
        }
        if let Some((_, tool)) = COMPRESSED.iter().find(|(magic, _)| data.starts_with(magic)) {
            return Self::Compressed { file, tool };
        }
        let beginning = data.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        Self::NotACapture { file, beginning }
    }
}
