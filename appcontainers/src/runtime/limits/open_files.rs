//! How many files processes may have open: a limit of each process (setrlimit(2)), which only the host's root raises again.

use std::fs;

use appcontainers_wire::{Resource, ResourceLimit};
use rustix::{
    io::Errno,
    process::{Pid, Rlimit, getrlimit, prlimit},
};

use super::{LimitError, lxc::default_nofile};
use crate::runtime::{StartRecord, cgroup, start::payload_cgroup};

/// The most that this host gives: no more than this process may have, or than the kernel gives anyone.
pub(in crate::runtime) fn most() -> u64 {
    let own = getrlimit(rustix::process::Resource::Nofile).maximum;
    let kernels = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    own.into_iter().chain(kernels).min().unwrap_or(u64::MAX)
}

/// What a command of a container with this limit is started with; a limit of its own can only be lower.
pub fn of_command(limit: Option<u64>) -> Option<ResourceLimit> {
    limit.map(|limit| ResourceLimit { resource: Resource::Nofile, soft: Some(limit), hard: Some(limit) })
}

/// The container's agent.
fn agent(start: &StartRecord) -> Option<Pid> {
    start.agent.or(start.init)?.pid()
}

/// Gives an agent that an init of the container's has started its own limit again, which is not the init's.
pub fn free_agent(start: &StartRecord, limit: Option<u64>) -> Result<(), LimitError> {
    let (soft, hard) = default_nofile(most());
    agent(start).map_or(Ok(()), |pid| set_one(pid, soft, hard.max(limit.unwrap_or(0))).map(drop))
}

/// Limits all processes of a running container but its agent, which keeps room for what it does for them; none: as without a
/// limit. What is open stays open.
pub(super) fn set(start: &StartRecord, limit: Option<u64>) -> Result<(), LimitError> {
    let agent = agent(start);
    let (soft, hard) = limit.map_or_else(|| default_nofile(most()), |limit| (limit, limit));
    let others = cgroup::processes(&payload_cgroup(start)).into_iter().filter(|pid| Some(*pid) != agent);
    let wanted = others.map(|pid| (pid, soft, hard));
    // The agent's hard limit is the most that its commands can be given.
    let (own_soft, own_hard) = default_nofile(most());
    let of_agent = agent.map(|pid| (pid, own_soft, own_hard.max(hard)));
    let mut is_done = true;
    for (pid, soft, hard) in of_agent.into_iter().chain(wanted) {
        is_done &= set_one(pid, soft, hard)?;
    }
    if !is_done {
        tracing::warn!(
            "processes that run keep their lower limit of open files: root of this host may not raise it (CAP_SYS_RESOURCE)"
        );
    }
    Ok(())
}

/// Sets one process's limits; whether all of that was possible.
fn set_one(pid: Pid, soft: u64, hard: u64) -> Result<bool, LimitError> {
    let set = |soft, hard| {
        let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
        prlimit(Some(pid), rustix::process::Resource::Nofile, limit)
    };
    let done = match set(soft, hard) {
        // Where the host's root is somebody's who has not CAP_SYS_RESOURCE: what a process has it keeps, and can't get more.
        Err(Errno::PERM) => match of_process(pid) {
            Some(most) => set(soft.min(most), hard.min(most)).map(|_| false),
            None => return Ok(true),
        },
        done => done.map(|_| true),
    };
    match done {
        // It has ended meanwhile.
        Err(Errno::SRCH) => Ok(true),
        done => done.map_err(|errno| LimitError::Process { pid: pid.as_raw_nonzero().get(), source: errno.into() }),
    }
}

fn of_process(pid: Pid) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).ok()?)
}

/// The limit that the container's processes have, the agent left out: the highest. Where there is no other process, what the
/// agent gives the next one.
pub(super) fn get(start: &StartRecord, asked: Option<u64>) -> Option<u64> {
    let agent = agent(start);
    let others = cgroup::processes(&payload_cgroup(start)).into_iter().filter(|pid| Some(*pid) != agent);
    others.filter_map(of_process).max().or_else(|| {
        let most = of_process(agent?)?;
        Some(asked.map_or(most, |asked| asked.min(most)))
    })
}

/// The hard limit out of `/proc/PID/limits`.
fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().nth(1)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_is_the_second_number() {
        let text = "Max processes   1  2  processes \nMax open files            1024                 524288               files     \n";
        assert_eq!(parse(text), Some(524_288));
        assert_eq!(parse(""), None);
    }
}
