//! Where log lines go: to standard error, and while a table holds the terminal, to the table.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Lines kept while they are held; the oldest go first.
const KEPT: usize = 1000;

/// A writer for logs; clones write to the same place.
#[derive(Clone, Debug, Default)]
pub struct LogPane(Arc<Mutex<Pane>>);

#[derive(Debug, Default)]
struct Pane {
    held: bool,
    lines: VecDeque<String>,
    dropped: u64,
}

impl LogPane {
    /// Keeps lines from now on, if standard error is the terminal that a table is on.
    pub(super) fn hold(&self) {
        use std::io::IsTerminal as _;
        self.pane().held = cfg!(test) || io::stderr().is_terminal();
    }

    /// Writes what was kept to standard error, and everything after it as it comes.
    pub(super) fn release(&self) {
        let mut pane = self.pane();
        pane.held = false;
        // A log that cannot be written has nowhere to complain.
        let _ = pane.write_to(&mut io::stderr().lock());
    }

    /// The latest lines kept, oldest first.
    pub(super) fn latest(&self, count: usize) -> Vec<String> {
        let pane = self.pane();
        let skipped = pane.lines.len().saturating_sub(count);
        pane.lines.iter().skip(skipped).cloned().collect()
    }

    fn pane(&self) -> MutexGuard<'_, Pane> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pane {
    fn keep(&mut self, text: &str) {
        for line in text.lines() {
            if self.lines.len() >= KEPT {
                self.lines.pop_front();
                self.dropped += 1;
            }
            self.lines.push_back(line.to_owned());
        }
    }

    fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Self { held: _, lines, dropped } = self;
        if *dropped > 0 {
            writeln!(out, "({dropped} earlier log lines were not kept)")?;
        }
        *dropped = 0;
        for line in lines.drain(..) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// Takes one log event at a time.
#[derive(Debug)]
pub struct LogWriter(LogPane);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pane = self.0.pane();
        if pane.held {
            pane.keep(&String::from_utf8_lossy(bytes));
        } else {
            io::stderr().lock().write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogPane {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        LogWriter(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(pane: &LogPane, text: &str) {
        pane.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn held_lines_are_shown_latest_last_and_written_in_order() {
        let pane = LogPane::default();
        pane.hold();
        log(&pane, "one\n");
        log(&pane, "two\nthree\n");
        assert_eq!(pane.latest(2), ["two", "three"]);
        let mut out = Vec::new();
        pane.pane().write_to(&mut out).unwrap();
        assert_eq!(out, b"one\ntwo\nthree\n");
        assert!(pane.latest(2).is_empty());
    }

    #[test]
    fn a_flood_of_lines_costs_bounded_memory_and_is_counted() {
        let pane = LogPane::default();
        pane.hold();
        for number in 0..KEPT + 5 {
            log(&pane, &format!("{number}\n"));
        }
        let mut out = Vec::new();
        pane.pane().write_to(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("(5 earlier log lines were not kept)\n5\n"), "{}", &text[..60]);
        assert_eq!(text.lines().count(), KEPT + 1);
    }
}
