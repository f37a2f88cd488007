//! This process as /proc shows it: CPU time, memory, file descriptors.
//!
//! The collector of the `prometheus` crate counts CPU time in whole seconds only.

use std::{fs, io, time::Duration};

use nix::unistd::{SysconfVar, sysconf};

/// What /proc says of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// User and system time used.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Address space in bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// When it was started, since the UNIX epoch.
    pub start: Duration,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many it may open; none where unlimited.
    pub max_fds: Option<u64>,
}

/// Why /proc was of no use.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not look as documented in proc(5).
    #[error("{path} does not look as proc(5) says")]
    Format {
        /// Which.
        path: &'static str,
    },
}

const STAT: &str = "/proc/self/stat";
const SYSTEM_STAT: &str = "/proc/stat";
const LIMITS: &str = "/proc/self/limits";
const FDS: &str = "/proc/self/fd";

impl ProcessStatus {
    /// As of now.
    pub fn read() -> Result<Self, ProcessError> {
        let ticks = system_value(SysconfVar::CLK_TCK).unwrap_or(100);
        let page = system_value(SysconfVar::PAGE_SIZE).unwrap_or(4096);
        let stat = parse_stat(&read(STAT)?).ok_or(ProcessError::Format { path: STAT })?;
        let boot = boot_time(&read(SYSTEM_STAT)?).ok_or(ProcessError::Format { path: SYSTEM_STAT })?;
        let fds = fs::read_dir(FDS).map_err(|source| ProcessError::Read { path: FDS, source })?;
        let in_time = |count: u64| Duration::from_secs_f64(count as f64 / ticks as f64);
        Ok(Self {
            cpu: in_time(stat.cpu_ticks),
            resident_bytes: stat.resident_pages * page,
            virtual_bytes: stat.virtual_bytes,
            threads: stat.threads,
            start: Duration::from_secs(boot) + in_time(stat.start_ticks),
            // Listing the directory is itself an open descriptor.
            open_fds: (fds.count() as u64).saturating_sub(1),
            max_fds: max_open_files(&read(LIMITS)?),
        })
    }
}

/// Numbers in /proc/self/stat, in the units used there.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn read(path: &'static str) -> Result<String, ProcessError> {
    // The name of the process may be any bytes.
    let bytes = fs::read(path).map_err(|source| ProcessError::Read { path, source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn system_value(name: SysconfVar) -> Option<u64> {
    sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok())
}

/// Fields by their number in proc(5). The second is the name in parentheses, which may itself contain
/// blanks and parentheses, so counting begins after the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn max_open_files(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_blanks_and_parentheses() {
        let text = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 1234 1048576 300 1844";
        let stat = Stat {
            cpu_ticks: 300,
            threads: 7,
            start_ticks: 1234,
            virtual_bytes: 1_048_576,
            resident_pages: 300,
        };
        assert_eq!(parse_stat(text), Some(stat));
        assert_eq!(parse_stat("42 (cut off"), None);
    }

    #[test]
    fn an_unlimited_number_of_files_is_no_number() {
        assert_eq!(max_open_files("Max open files            1024         4096         files\n"), Some(1024));
        assert_eq!(max_open_files("Max open files            unlimited    unlimited    files\n"), None);
    }

    #[test]
    fn this_process_has_memory_threads_files_and_a_start() {
        let status = ProcessStatus::read().unwrap();
        assert!(
            status.resident_bytes > 100_000 && status.virtual_bytes > status.resident_bytes,
            "{status:?}"
        );
        assert!(status.threads >= 1 && status.open_fds >= 3, "{status:?}");
        let fifty_years = Duration::from_hours(50 * 365 * 24);
        assert!(status.start > fifty_years, "{status:?}");
    }
}
