//! What processes take of the host's memory.

use std::fs;

use rustix::process::Pid;

/// The most memory that a process has had, in KiB; none if it is gone.
pub fn peak_kib(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}
