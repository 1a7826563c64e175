//! Who a process is that the kernel has ended: its pid inside, while it is still there to be asked, and whether it is one of ours.

use std::fs;

use appcontainers::{
    process::ProcessRecord,
    runtime::{StartRecord, processes},
};

/// A flag of a process that is on its way out (`PF_EXITING` in linux/sched.h).
const EXITING: u64 = 4;

/// The kernel's names of programs have so many bytes at most (`TASK_COMM_LEN` less the end).
const NAME_BYTES: usize = 15;

/// Who was killed, as far as that is known.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) kills: u64,
    /// The kernel's name of its program.
    pub(super) name: Option<String>,
    /// Its pid inside.
    pub(super) pid: Option<u32>,
}

/// The pid inside of the container's process with this name that is on its way out, if there is just one.
pub(super) fn pid_inside(start: &StartRecord, name: &str) -> Option<u32> {
    let mut found = processes(start).into_iter().filter_map(|pid| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).ok();
        let is_victim =
            is_leaving(&read("stat")?, name) || (has_name(&read("stat")?, name) && is_killed(&read("status")?));
        is_victim.then(|| innermost_pid(&read("status")?)).flatten()
    });
    found.next().filter(|_| found.next().is_none())
}

/// Whether a process of ours may have this name: its program's, as it was asked for.
pub(super) fn is_called(record: &ProcessRecord, name: &str) -> bool {
    let program = record.spec.argv.first().map(|word| word.rsplit('/').next().unwrap_or(word));
    program.is_some_and(|program| program.bytes().take(NAME_BYTES).eq(name.bytes()))
}

/// Out of `/proc/PID/stat`, in which the name stands in parentheses and may hold anything.
fn has_name(stat: &str, name: &str) -> bool {
    let behind = stat.split_once('(').map(|(_, rest)| rest);
    behind.and_then(|rest| rest.rsplit_once(')')).is_some_and(|(found, _)| found == name)
}

fn is_leaving(stat: &str, name: &str) -> bool {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
    let is_dead = matches!(fields.first(), Some(&("Z" | "X")));
    let flags: u64 = fields.get(6).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    has_name(stat, name) && (is_dead || flags & EXITING != 0)
}

/// Whether a KILL waits for it, out of `/proc/PID/status`.
fn is_killed(status: &str) -> bool {
    let waits = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    waits.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok()).any(|set| set & (1 << 8) != 0)
}

/// The last of its pids, that of the innermost namespace.
fn innermost_pid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_on_its_way_out_is_known_by_its_flags_or_its_signal() {
        let stat = |name: &str, state: &str, flags: u64| format!("7 ({name}) {state} 1 7 7 0 -1 {flags} 0 0");
        assert!(is_leaving(&stat("tail", "R", 4_194_564), "tail"));
        assert!(is_leaving(&stat("a) R 1", "Z", 0), "a) R 1"));
        assert!(!is_leaving(&stat("tail", "R", 4_194_560), "tail") && !is_leaving(&stat("tail", "Z", 4), "head"));
        let status = "Name:\ttail\nNSpid:\t700\t70\t7\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n";
        assert!(is_killed(status) && !is_killed(&status.replace("0100", "0200")));
        assert_eq!(innermost_pid(status), Some(7));
        assert_eq!(innermost_pid("Name: x"), None);
    }
}
