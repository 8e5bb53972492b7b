//! What the kernel tells about a process: resident memory and CPU time, and the descriptor limit of this one.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::error::LoadError;

/// Resident memory of a process in KiB, from `/proc/<pid>/status`.
///
/// # Errors
///
/// `Io` when there is no such process, `Check` when the file has no `VmRSS`.
pub fn resident_kib(pid: u32) -> Result<u64, LoadError> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(LoadError::io("read /proc status"))?;
    parse_resident_kib(&status).ok_or_else(|| LoadError::Check(format!("no VmRSS for process {pid}")))
}

fn parse_resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// CPU time a process has used so far, seconds, user and system together; steps of 10 ms.
///
/// # Errors
///
/// `Io` when there is no such process, `Check` when the file is not as documented in proc(5).
pub fn cpu_seconds(pid: u32) -> Result<f64, LoadError> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(LoadError::io("read /proc stat"))?;
    let ticks = parse_cpu_ticks(&stat).ok_or_else(|| LoadError::Check(format!("unusable stat of {pid}")))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15; the name in field 2 may hold blanks and brackets, so counting starts after its last bracket.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU time this process has used so far, seconds, all threads.
#[must_use]
pub fn own_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Raises the soft limit of open files to the hard one and checks that `sockets` fit.
///
/// # Errors
///
/// `Usage` when they do not.
pub fn reserve_descriptors(sockets: usize) -> Result<(), LoadError> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Failure leaves the soft limit as it was, which the check below then uses.
    let _ = setrlimit(Resource::Nofile, limit);
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = sockets as u64 + 32;
    if needed > available {
        return Err(LoadError::Usage(format!("{sockets} connections need more than {available} open files")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_stat_are_read() {
        assert_eq!(parse_resident_kib("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234));
        assert_eq!(parse_resident_kib("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 111 222 0 0";
        assert_eq!(parse_cpu_ticks(stat), Some(333));
        assert_eq!(parse_cpu_ticks(""), None);
    }

    #[test]
    fn this_process_is_measured() {
        assert!(resident_kib(std::process::id()).is_ok_and(|kib| kib > 0));
        assert!(cpu_seconds(std::process::id()).is_ok());
        assert!(own_cpu_seconds() > 0.0);
    }
}
