//! The kernel side's log: one line for every frame that was ignored or lost, when somebody asks for it with
//! `RUST_LOG=sensor_bpf=debug`. Otherwise the verifier removes it from the program.

use aya::Ebpf;
use aya_log::EbpfLogger;

/// Target of the records, the name of the program's crate.
const TARGET: &str = "sensor_bpf";

/// Reads the ring buffer that the program logs to. What does not fit there between two drains is dropped: the
/// counters are what counts.
pub struct KernelLog(EbpfLogger<ToTracing>);

impl KernelLog {
    /// The level to load the program with: 0 for none.
    pub fn level() -> u8 {
        const DEBUG: u8 = 4;
        if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) { DEBUG } else { 0 }
    }

    /// The log of a program loaded with `level`.
    pub fn of(ebpf: &mut Ebpf, level: u8) -> Option<Self> {
        if level == 0 {
            return None;
        }
        let logger = EbpfLogger::init_with_logger(ebpf, ToTracing);
        let reader = logger.inspect_err(|error| tracing::warn!("no log from the kernel: {error}"));
        reader.ok().map(Self)
    }

    /// Hands on what was logged since the last call.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::debug!(target: TARGET, "{}", record.args());
    }

    fn flush(&self) {}
}
