//! What the kernel says that a running container is limited to.

use super::{disk, group::Group, network, open_files};
use crate::{
    Paths,
    limits::{Cpus, IoLimits, Limits, NetLimits, Size},
    runtime::{StartRecord, start::payload_cgroup},
};

/// Without a limit version 1 has the greatest number of whole pages, which are 64 KiB at most.
const LEAST_UNLIMITED: u64 = i64::MAX as u64 - 0xffff;

/// The limits in force. What can't be read is left out. `asked` says for which ones programs have to be started to know, and what
/// the next process will get.
pub(crate) fn read(paths: &Paths, start: &StartRecord, asked: &Limits) -> Limits {
    let group = Group::of(&payload_cgroup(start));
    let interface = start.host_interface.as_deref();
    let rate = |is_asked: bool, read: fn(&str) -> Result<Option<u64>, super::LimitError>| {
        let interface = interface.filter(|_| is_asked)?;
        let found = read(interface).inspect_err(|error| tracing::warn!(%error, "a limit of the network can't be read"));
        size(found.ok().flatten())
    };
    Limits {
        memory: size(memory(&group)),
        cpus: cpus(&group),
        // Version 2 says in a file of its own what is in force where nothing was asked for.
        cpuset: ["cpuset.cpus.effective", "cpuset.cpus"].iter().find_map(|file| group.read(file)?.parse().ok()),
        pids: group.number("pids.max"),
        io: io(paths, &group),
        net: NetLimits {
            egress: rate(asked.net.egress.is_some(), network::egress),
            ingress: rate(asked.net.ingress.is_some(), network::ingress),
        },
        nofile: open_files::get(start, asked.nofile),
    }
}

fn size(bytes: Option<u64>) -> Option<Size> {
    bytes.and_then(|bytes| Size::new(bytes).ok())
}

fn memory(group: &Group) -> Option<u64> {
    group
        .number("memory.max")
        .or_else(|| group.number("memory.limit_in_bytes"))
        .filter(|bytes| *bytes < LEAST_UNLIMITED)
}

fn cpus(group: &Group) -> Option<Cpus> {
    let (quota, period) = match group.read("cpu.max") {
        Some(text) => text.split_once(' ').map(|(quota, period)| (quota.to_owned(), period.to_owned()))?,
        None => (group.read("cpu.cfs_quota_us")?, group.read("cpu.cfs_period_us")?),
    };
    // `max` or -1 is no limit.
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok().filter(|period| *period != 0)?);
    Cpus::from_thousandths(u32::try_from(quota.checked_mul(1000)? / period).ok()?).ok()
}

fn io(paths: &Paths, group: &Group) -> IoLimits {
    let Ok(disk) = disk::Disk::of(&disk::existing(paths.root())) else { return IoLimits::default() };
    let find = |is_read: bool| match group.read("io.max") {
        Some(text) => disk::find_in_version_2(&text, disk, is_read),
        None => disk::find_in_version_1(&group.read(disk::file_of_version_1(is_read))?, disk),
    };
    IoLimits { read: size(find(true)), write: size(find(false)) }
}
