//! `replay`: capture files through the pipeline, on the capture's own clock.

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufWriter, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    alert::{AlertKind, AlertState},
    capture::{
        file::{CaptureFile, FileError},
        replay::{Clamped, Replay},
    },
    cli::{OutputFormat, ReplayArgs},
    config::Config,
    flow::Drain,
    output::{ReplayOutput, Totals, json::JsonLines, table::TableReport},
    pipeline::{Pipeline, Report},
};

/// Frames between two moves of the progress bar.
const PROGRESS_FRAMES: u64 = 1 << 16;

/// Replays the files and prints the results on standard output.
///
/// A file that ends early or is damaged is an error, but only after everything before and behind the
/// damage was used and printed.
pub fn replay(args: &ReplayArgs, config: &Config) -> anyhow::Result<()> {
    let size = check_files(&args.files)?;
    let out = BufWriter::new(io::stdout().lock());
    let output: Box<dyn ReplayOutput> = match args.format {
        OutputFormat::Json => Box::new(JsonLines::new(out)),
        OutputFormat::Table => Box::new(TableReport::new(out)),
    };
    let progress = progress_bar(size);
    let mut session = Session::new(config, output);
    if let Some(host) = args.why {
        session.sink.pipeline.trace(host, args.kind.map(AlertKind::from));
    }
    let outcome = args.files.iter().try_fold(Vec::new(), |mut failures, file| {
        match CaptureFile::open(file) {
            Ok(file) => failures.extend(session.file(file, &progress)?),
            Err(error) => failures.push(error),
        }
        io::Result::Ok(failures)
    });
    progress.finish_and_clear();
    let failures = outcome?;
    session.finish()?;
    report_failures(failures)
}

/// Opens and closes every regular file, so that a wrong name is an error now and not in an hour.
/// Returns their size together; pipes are left alone.
fn check_files(files: &[PathBuf]) -> Result<u64, FileError> {
    let mut size = 0;
    for file in files {
        let is_pipe = std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
        if !is_pipe && !CaptureFile::is_standard_input(file) {
            size += CaptureFile::open(file)?.size().unwrap_or(0);
        }
    }
    Ok(size)
}

fn progress_bar(size: u64) -> ProgressBar {
    if size == 0 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}");
    bar.with_style(style.expect("the template must be valid"))
}

/// The last failure is the error; those before it are said in the log.
fn report_failures(mut failures: Vec<FileError>) -> anyhow::Result<()> {
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        tracing::error!("{:#}", anyhow::Error::from(failure));
    }
    Err(last.into())
}

/// A replay under way: one stream of frames, of however many files.
pub struct Session<'a> {
    replay: Replay,
    drain: Duration,
    sink: Sink<'a>,
}

/// What drains are fed to.
struct Sink<'a> {
    pipeline: Pipeline,
    output: Box<dyn ReplayOutput + 'a>,
    totals: Totals,
}

impl<'a> Session<'a> {
    /// A replay that has seen nothing, writing to `output`.
    #[must_use]
    pub fn new(config: &Config, output: Box<dyn ReplayOutput + 'a>) -> Self {
        let sink = Sink { pipeline: Pipeline::new(config), output, totals: Totals::default() };
        Self { replay: Replay::new(config), drain: config.drain, sink }
    }

    /// Takes all frames of a file; what stopped the reading before its end is the value.
    pub fn file(&mut self, mut file: CaptureFile, progress: &ProgressBar) -> io::Result<Option<FileError>> {
        let Self { replay, drain, sink } = self;
        let previous_end = replay.now();
        let begin = progress.position();
        let mut start = None;
        let failure = loop {
            match file.next_frame() {
                Ok(Some(frame)) => {
                    start.get_or_insert(frame.time);
                    replay.push(&frame, &mut |drain| sink.feed(drain))?;
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
            if file.frames().is_multiple_of(PROGRESS_FRAMES) {
                progress.set_position(begin + file.position());
            }
        };
        progress.set_position(begin + file.position());
        let clamped = replay.take_clamped();
        match (start, previous_end) {
            (Some(start), Some(end)) if start < end => tracing::warn!(
                "{} starts at {start}, before the end of the file before it ({end}): until then its frames count \
                 as of that end; give the files in the order of their time",
                file.name()
            ),
            // Less than a drain apart, order is lost anyway.
            _ if clamped.most >= *drain => warn_of_clamped(&file, clamped),
            _ => {}
        }
        Ok(failure)
    }

    /// Closes the interval under way and writes the totals.
    pub fn finish(mut self) -> io::Result<Totals> {
        let Self { replay, drain: _, sink } = &mut self;
        replay.finish(&mut |drain| sink.feed(drain))?;
        let report = sink.pipeline.finish();
        sink.take(&report)?;
        let of_all = sink.pipeline.diagnoses().iter().filter(|diagnosis| diagnosis.interface.is_none());
        for diagnosis in of_all {
            tracing::warn!("the capture does not show all ({}): {diagnosis}", diagnosis.problem.name());
        }
        sink.output.finish(&sink.totals)?;
        Ok(sink.totals)
    }
}

fn warn_of_clamped(file: &CaptureFile, Clamped { frames, most }: Clamped) {
    let (all, name) = (file.frames(), file.name());
    tracing::warn!(
        "{frames} of {all} frames of {name} have an earlier time than a frame before them, by up to {most:?}: \
         they count as of that frame's time"
    );
}

impl Sink<'_> {
    fn feed(&mut self, drain: &Drain) -> io::Result<()> {
        for frames in &drain.frames {
            self.totals.frames.add(frames);
        }
        let report = self.pipeline.feed(drain);
        self.take(&report)
    }

    fn take(&mut self, report: &Report) -> io::Result<()> {
        let begun = report.alerts.iter().filter(|alert| alert.finding.state == AlertState::Firing);
        self.totals.alerts += begun.count() as u64;
        self.totals.intervals += report.intervals.len() as u64;
        self.output.report(report)
    }
}
