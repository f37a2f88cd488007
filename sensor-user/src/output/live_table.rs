//! The live view on standard output: on a terminal a table that is redrawn after every drain, elsewhere one
//! line per interval.
//!
//! The table lives on the terminal's alternate screen, so that what was there before is there again
//! afterwards. A frame is written in one piece over the one before, line by line, and only what follows the
//! end of a line is erased: nothing flickers. What is logged meanwhile goes to the [`LogPane`], whose last
//! lines are part of the table.
//!
//! The view has a thread of its own: a terminal that is stopped (Ctrl-S) or a pipe that nobody reads stops
//! the view and nothing else.

mod frame;
mod line;
pub mod log_pane;

use std::{
    io::{self, IsTerminal as _, Stdout, Write},
    time::Duration,
};

use console::Term;
use tokio::sync::oneshot;
use tracing::info;

use self::frame::Frame;
pub use self::log_pane::LogPane;
use super::{publish::Reader, snapshot::Snapshot, worker::Worker};
use crate::clock::Timestamp;

/// Enters the alternate screen, hides the cursor, and stops long lines from wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Undoes [`ENTER`].
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Begins and ends a frame that terminals that know how show in one piece; others ignore both.
const BEGIN_FRAME: &str = "\x1b[?2026h\x1b[H";
const END_FRAME: &str = "\x1b[0m\x1b[J\x1b[?2026l";
/// Ends a line of a frame.
const END_LINE: &str = "\x1b[0m\x1b[K\r\n";

/// Where a terminal does not tell.
const DEFAULT_SIZE: Size = Size { rows: 24, columns: 80 };

/// Extent of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub rows: usize,
    /// Width.
    pub columns: usize,
}

/// The live view on standard output.
#[derive(Debug)]
pub struct LiveView {
    stop: oneshot::Sender<()>,
    worker: Worker,
}

impl LiveView {
    /// Shows what `reader` brings from now on. While there is a table, `log` keeps what is logged.
    pub fn start(reader: Reader, log: LogPane) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (stop, stopped) = oneshot::channel();
        let worker = Worker::start("live-view", move || {
            if let Err(error) = runtime.block_on(follow(reader, log, stopped)) {
                info!(%error, "standard output is gone; the sensor goes on without it");
            }
        })?;
        Ok(Self { stop, worker })
    }

    /// Shows the latest once more and gives the terminal back, in at most `deadline`.
    pub fn stop(self, deadline: Duration) {
        let Self { stop, worker } = self;
        // The view may have ended by itself.
        let _ = stop.send(());
        worker.finish(deadline);
    }
}

/// Shows every snapshot until told to stop.
async fn follow(mut reader: Reader, log: LogPane, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let mut view = View::of_stdout(log)?;
    loop {
        view.show(reader.latest().snapshot())?;
        tokio::select! {
            more = reader.changed() => if !more { return Ok(()) },
            _ = &mut stopped => return view.show(reader.latest().snapshot()),
        }
    }
}

/// What standard output is good for.
enum View {
    Table(LiveTable<Stdout>),
    Lines(IntervalLines<Stdout>),
}

impl View {
    fn of_stdout(log: LogPane) -> io::Result<Self> {
        let out = io::stdout();
        if out.is_terminal() {
            let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            Ok(Self::Table(LiveTable::new(out, log, colours)?))
        } else {
            Ok(Self::Lines(IntervalLines::new(out)))
        }
    }

    fn show(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        match self {
            Self::Table(table) => table.show(snapshot, terminal_size()),
            Self::Lines(lines) => lines.show(snapshot),
        }
    }
}

fn terminal_size() -> Size {
    Term::stdout().size_checked().map_or(DEFAULT_SIZE, |(rows, columns)| Size {
        rows: usize::from(rows),
        columns: usize::from(columns),
    })
}

/// A table on the alternate screen of a terminal.
pub struct LiveTable<W: Write> {
    out: W,
    log: LogPane,
    colours: bool,
}

impl<W: Write> LiveTable<W> {
    /// Takes the screen; `log` keeps what is logged until it is given back.
    pub fn new(mut out: W, log: LogPane, colours: bool) -> io::Result<Self> {
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        log.hold();
        Ok(Self { out, log, colours })
    }

    /// Draws the sensor as it is now.
    pub fn show(&mut self, snapshot: &Snapshot, size: Size) -> io::Result<()> {
        let frame = Frame::of(snapshot, &self.log.latest(frame::LOG_LINES), size);
        let mut text = String::with_capacity(8192);
        text.push_str(BEGIN_FRAME);
        frame.write(&mut text, self.colours, END_LINE);
        text.push_str(END_FRAME);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Drop for LiveTable<W> {
    fn drop(&mut self) {
        // If the terminal is gone there is nobody to tell.
        let _ = self.out.write_all(LEAVE.as_bytes()).and_then(|()| self.out.flush());
        self.log.release();
    }
}

/// One line for every complete interval.
pub struct IntervalLines<W: Write> {
    out: W,
    shown: Option<Timestamp>,
}

impl<W: Write> IntervalLines<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, shown: None }
    }

    /// Writes a line if an interval was completed since the last call.
    pub fn show(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let Some(interval) = &snapshot.interval else { return Ok(()) };
        if self.shown == Some(interval.end) {
            return Ok(());
        }
        self.shown = Some(interval.end);
        writeln!(self.out, "{}", line::of(snapshot, interval))?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
