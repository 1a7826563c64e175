//! Processes' own counters of what they read and write, for hosts that count it for no cgroup: most with cgroups of
//! version 1, and those without the controller.
//!
//! A process that is waited for leaves its counts to its parent (`wait(2)`), in the end to the agent: so all that live
//! together have what all that ever lived have read and written.

use std::fs;

use rustix::process::Pid;

use super::Io;

/// What the processes `pids` and those they have waited for have read and written.
pub(super) fn of(pids: &[Pid]) -> Option<Io> {
    let texts = pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{}/io", pid.as_raw_nonzero())).ok());
    texts.filter_map(|text| parse(&text)).reduce(|one, other| Io {
        read_bytes: one.read_bytes + other.read_bytes,
        written_bytes: one.written_bytes + other.written_bytes,
        ..Io::default()
    })
}

/// `/proc/PID/io` (`proc_pid_io(5)`), less what did not come from a disk or go to one.
fn parse(text: &str) -> Option<Io> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(Io { read_bytes: field("read_bytes:")?, written_bytes: field("write_bytes:")?, ..Io::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_cache_gave_is_not_counted() {
        let text = "rchar: 16795148\nwchar: 16777410\nsyscr: 44\nsyscw: 23\nread_bytes: 184320\n\
                    write_bytes: 16797696\ncancelled_write_bytes: 0\n";
        let expected = Io { read_bytes: 184_320, written_bytes: 16_797_696, ..Io::default() };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_process_that_is_gone_counts_nothing() {
        let own = of(&[rustix::process::getpid()]).unwrap();
        let with_one_gone = of(&[rustix::process::getpid(), Pid::from_raw(i32::MAX).unwrap()]).unwrap();
        assert!(with_one_gone.read_bytes >= own.read_bytes);
        assert_eq!(of(&[]), None);
    }
}
