//! Limits as LXC's configuration has them (`lxc.cgroup.*` for version 1, `lxc.cgroup2.*` for version 2, of which LXC takes those that the
//! host has): they hold before the container's first instruction. Pure.

use super::{Disk, disk, group::CPU_PERIOD_US};
use crate::{limits::Limits, runtime::lxc_config::DEFAULT_PIDS_LIMIT};

/// The soft and the hard limit of open files, where the host may give that: systemd's.
const NOFILE: (u64, u64) = (1024, 524_288);

/// Keys without `lxc.`, and their values, in the order in which they have to be set.
pub(in crate::runtime) fn settings(limits: &Limits, disk: Option<Disk>) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    let pids = limits.pids.unwrap_or(DEFAULT_PIDS_LIMIT.into()).to_string();
    settings.extend([("cgroup.pids.max", pids.clone()), ("cgroup2.pids.max", pids)]);
    if let Some(memory) = limits.memory {
        let bytes = memory.bytes().to_string();
        settings.extend([("cgroup.memory.limit_in_bytes", bytes.clone()), ("cgroup2.memory.max", bytes)]);
    }
    if let Some(cpus) = limits.cpus {
        let quota = u64::from(cpus.thousandths()) * CPU_PERIOD_US / 1000;
        settings.push(("cgroup.cpu.cfs_period_us", CPU_PERIOD_US.to_string()));
        settings.push(("cgroup.cpu.cfs_quota_us", quota.to_string()));
        settings.push(("cgroup2.cpu.max", format!("{quota} {CPU_PERIOD_US}")));
    }
    if let Some(cpuset) = &limits.cpuset {
        settings.extend(["cgroup.cpuset.cpus", "cgroup2.cpuset.cpus"].map(|key| (key, cpuset.to_string())));
    }
    let rates = [
        (true, "cgroup.blkio.throttle.read_bps_device", limits.io.read),
        (false, "cgroup.blkio.throttle.write_bps_device", limits.io.write),
    ];
    for (is_read, key, rate) in rates {
        if let (Some(disk), Some(rate)) = (disk, rate) {
            let bytes = rate.bytes();
            settings.push((key, format!("{disk} {bytes}")));
            settings.push(("cgroup2.io.max", format!("{disk} {}={bytes}", disk::word_of_version_2(is_read))));
        }
    }
    settings
}

/// The soft and the hard limit of open files of the container's process 1. The agent keeps its own, and gives its commands the
/// container's; an init of the container's has the container's at once. A hard limit above `most`, the host's, would fail the start,
/// and so would a soft one above the hard one.
pub(in crate::runtime) fn nofile(limits: &Limits, is_agent: bool, most: u64) -> (u64, u64) {
    match limits.nofile {
        Some(asked) if !is_agent => (asked.min(most), asked.min(most)),
        asked => {
            let hard = asked.unwrap_or(0).max(NOFILE.1).min(most);
            (hard.min(NOFILE.0), hard)
        }
    }
}

/// What a process has that is not limited.
pub(super) fn default_nofile(most: u64) -> (u64, u64) {
    nofile(&Limits::default(), true, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(words: &str) -> Limits {
        let mut limits = Limits::default();
        words.split_whitespace().for_each(|word| limits.apply(&word.parse().unwrap()));
        limits
    }

    #[test]
    fn without_limits_only_processes_are_limited() {
        let expected = [("cgroup.pids.max", "4096".to_owned()), ("cgroup2.pids.max", "4096".to_owned())];
        assert_eq!(settings(&Limits::default(), None), expected);
    }

    #[test]
    fn each_limit_is_said_for_both_versions() {
        let disk = Disk::of(&std::env::current_dir().unwrap()).ok();
        let all = limits("memory=64M cpus=1.5 cpuset=0 pids=99 io.read=1M io.write=2M");
        let settings: Vec<_> =
            settings(&all, disk).into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
        for line in [
            "cgroup.pids.max = 99",
            "cgroup.memory.limit_in_bytes = 67108864",
            "cgroup2.memory.max = 67108864",
            "cgroup.cpu.cfs_quota_us = 150000",
            "cgroup2.cpu.max = 150000 100000",
            "cgroup.cpuset.cpus = 0",
            "cgroup2.cpuset.cpus = 0",
        ] {
            assert!(settings.iter().any(|found| found == line), "no {line:?} in {settings:?}");
        }
        if let Some(disk) = disk {
            assert!(settings.contains(&format!("cgroup.blkio.throttle.read_bps_device = {disk} 1048576")));
            assert!(settings.contains(&format!("cgroup2.io.max = {disk} wbps=2097152")));
        }
    }

    #[test]
    fn open_files_are_limited_as_the_host_may() {
        let default = Limits::default();
        assert_eq!(
            [u64::MAX, 20_000, 512].map(|most| nofile(&default, true, most)),
            [(1024, 524_288), (1024, 20_000), (512, 512)]
        );
        let (few, many) = (limits("nofile=64"), limits("nofile=1000000"));
        assert_eq!((nofile(&few, true, u64::MAX), nofile(&few, false, u64::MAX)), ((1024, 524_288), (64, 64)));
        assert_eq!(nofile(&many, true, u64::MAX), (1024, 1_000_000));
    }
}
