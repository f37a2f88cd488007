//! A file that lines are appended to, whole lines only, while others rotate it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// For its owner to write and its group to read: it names who talked to whom.
const MODE: u32 = 0o640;

/// Which file it is, whatever its name.
type Identity = (u64, u64);

/// The file, and how much of a line is in it.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<(File, Identity)>,
    /// Bytes of the current line that were written before an attempt failed.
    written: usize,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), open: Some(open(path)?), written: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the file; the next line opens it again.
    pub(super) fn forget(&mut self) {
        self.open = None;
        self.written = 0;
    }

    /// Appends `line`, which ends with a line feed. After a failure, call it again with the same line: what
    /// was written of it is not written twice.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(_, identity)| identity_at(&self.path) != Some(*identity)) {
            self.forget();
            self.open = Some(open(&self.path)?);
        }
        let Some((file, _)) = &mut self.open else { return Ok(()) };
        while self.written < line.len() {
            match file.write(&line[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, Identity)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && ends_within_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    Ok((file, (metadata.dev(), metadata.ino())))
}

/// Whether the last writer was stopped in the middle of a line.
fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn identity_at(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
