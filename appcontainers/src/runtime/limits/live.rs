//! Setting limits of a container that runs.

use std::{fs, os::unix::fs::chown, path::Path};

use super::{
    LimitError, disk,
    group::{CPU_PERIOD_US, Group, is_busy, write},
    host::disk_of,
    network, open_files,
};
use crate::{
    Paths,
    limits::{Key, LimitChange, Limits, Size},
    runtime::{StartRecord, lxc_config::DEFAULT_PIDS_LIMIT, start::payload_cgroup},
};

/// Changes a running container's limits from `old` to `new`, all of them or none.
pub(crate) fn change(paths: &Paths, start: &StartRecord, old: &Limits, new: &Limits) -> Result<(), LimitError> {
    let target = Target::of(paths, start, old, new)?;
    let changes: Vec<_> = old.changes_to(new).collect();
    for (index, limit) in changes.iter().enumerate() {
        let Err(error) = target.set(limit) else { continue };
        // The one that failed may be half done.
        for undone in changes[..=index].iter().rev().map(|change| old.get(change.key())) {
            if let Err(undo) = target.set(&undone) {
                tracing::warn!(%undo, "cannot take back a limit");
            }
        }
        return Err(error);
    }
    Ok(())
}

/// Sets all limits anew, also those that are there.
pub(crate) fn reassert(paths: &Paths, start: &StartRecord, limits: &Limits) -> Result<(), LimitError> {
    let target = Target::of(paths, start, limits, limits)?;
    Key::ALL.into_iter().try_for_each(|key| target.set(&limits.get(key)))
}

/// Sets what LXC can't set, in a container whose init has just begun.
pub fn complete_start(paths: &Paths, start: &StartRecord, limits: &Limits) -> Result<(), LimitError> {
    keep_groups_flat(start);
    let target = Target::of(paths, start, limits, limits)?;
    if limits.memory.is_some() {
        target.set(&LimitChange::Memory(limits.memory))?;
    }
    for key in [Key::NetEgress, Key::NetIngress] {
        let limit = limits.get(key);
        if !limit.is_removal() {
            target.set(&limit)?;
        }
    }
    Ok(())
}

/// Version 1 limits disks for the very cgroup that has the limit, and not for those below it: so the container may make none there.
fn keep_groups_flat(start: &StartRecord) {
    let group = Group::of(&payload_cgroup(start));
    if let Some(directory) = group.find(disk::file_of_version_1(true)).as_deref().and_then(Path::parent)
        && let Err(error) = chown(directory, Some(0), Some(0))
    {
        tracing::warn!(%error, "the container may make cgroups for disks of its own");
    }
}

/// A running container, and what its limits are set with.
struct Target<'a> {
    start: &'a StartRecord,
    group: Group,
    disk: Option<disk::Disk>,
}

impl<'a> Target<'a> {
    fn of(paths: &Paths, start: &'a StartRecord, old: &Limits, new: &Limits) -> Result<Self, LimitError> {
        let disk = match disk_of(paths, new)? {
            Some(disk) => Some(disk),
            None => disk_of(paths, old)?,
        };
        Ok(Self { start, group: Group::of(&payload_cgroup(start)), disk })
    }

    fn set(&self, limit: &LimitChange) -> Result<(), LimitError> {
        let interface = self.start.host_interface.as_deref();
        match limit {
            LimitChange::Memory(memory) => self.set_memory(limit, *memory),
            LimitChange::Cpus(cpus) => {
                let quota = cpus.map(|cpus| u64::from(cpus.thousandths()) * CPU_PERIOD_US / 1000);
                self.set_cpu_quota(limit, quota)
            }
            LimitChange::Cpuset(_) => self.set_cpuset(limit),
            LimitChange::Pids(pids) => self.set_pids(limit, pids.unwrap_or(DEFAULT_PIDS_LIMIT.into())),
            LimitChange::IoRead(rate) => self.set_io(limit, *rate, true),
            LimitChange::IoWrite(rate) => self.set_io(limit, *rate, false),
            LimitChange::NetEgress(rate) => interface.map_or(Ok(()), |interface| network::set_egress(interface, *rate)),
            LimitChange::NetIngress(rate) => {
                interface.map_or(Ok(()), |interface| network::set_ingress(interface, *rate))
            }
            LimitChange::Nofile(nofile) => open_files::set(self.start, *nofile),
        }
    }

    /// Memory and swap together may be so much: version 1 has a limit for the sum; in version 2 there is no swap then.
    fn set_memory(&self, limit: &LimitChange, memory: Option<Size>) -> Result<(), LimitError> {
        let Some(file) = self.group.first(limit, &["memory.max", "memory.limit_in_bytes"])? else { return Ok(()) };
        let bytes = memory.map(Size::bytes);
        let below_use = |used: u64| {
            let used = format!("{used} bytes that can't be taken back");
            LimitError::BelowUse { limit: limit.clone(), used }
        };
        if file.ends_with("memory.max") {
            if let Some(swap) = self.group.find("memory.swap.max") {
                write(limit, &swap, if bytes.is_some() { "0" } else { "max" })?;
            }
            if let Some(bytes) = bytes {
                // The kernel would end processes to get there.
                self.reclaim(bytes).map_err(below_use)?;
            }
            return write(limit, &file, &bytes.map_or("max".to_owned(), |bytes| bytes.to_string()));
        }
        let text = bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
        let sum = self.group.find("memory.memsw.limit_in_bytes");
        let is_higher =
            bytes.is_none_or(|bytes| self.group.number("memory.limit_in_bytes").is_some_and(|old| bytes >= old));
        // The sum is never below the memory alone.
        let files = if is_higher { [sum, Some(file)] } else { [Some(file), sum] };
        for file in files.into_iter().flatten() {
            write(limit, &file, &text).map_err(|error| match is_busy(&error) {
                true => below_use(self.group.number("memory.usage_in_bytes").unwrap_or(0)),
                false => error,
            })?;
        }
        Ok(())
    }

    /// Has the kernel take back what is above `bytes`; how much is left if that is more.
    fn reclaim(&self, bytes: u64) -> Result<(), u64> {
        let current = || self.group.number("memory.current").unwrap_or(0);
        for _ in 0..3 {
            let above = current().saturating_sub(bytes);
            if above == 0 {
                return Ok(());
            }
            // An error says that not all of it could be taken back. Kernels before 5.19 have no such file.
            if let Some(file) = self.group.find("memory.reclaim") {
                let _ = fs::write(file, above.to_string());
            }
        }
        match current() {
            left if left > bytes => Err(left),
            _ => Ok(()),
        }
    }

    fn set_cpu_quota(&self, limit: &LimitChange, quota: Option<u64>) -> Result<(), LimitError> {
        let Some(file) = self.group.first(limit, &["cpu.max", "cpu.cfs_quota_us"])? else { return Ok(()) };
        if file.ends_with("cpu.max") {
            let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
            return write(limit, &file, &format!("{quota} {CPU_PERIOD_US}"));
        }
        write(limit, &file.with_file_name("cpu.cfs_period_us"), &CPU_PERIOD_US.to_string())?;
        write(limit, &file, &quota.map_or("-1".to_owned(), |quota| quota.to_string()))
    }

    fn set_cpuset(&self, limit: &LimitChange) -> Result<(), LimitError> {
        let Some(file) = self.group.first(limit, &["cpuset.cpus"])? else { return Ok(()) };
        let value = match limit.value() {
            Some(set) => set,
            // Version 2 takes the parent's where there is nothing; in version 1 that would be none at all.
            None if file.with_file_name("cpuset.cpus.effective").exists() => String::new(),
            None => {
                let parent = file.parent().and_then(Path::parent).map(|parent| parent.join("cpuset.cpus"));
                let text = parent.and_then(|parent| fs::read_to_string(parent).ok()).unwrap_or_default();
                text.trim().to_owned()
            }
        };
        write(limit, &file, &value)
    }

    fn set_pids(&self, limit: &LimitChange, pids: u64) -> Result<(), LimitError> {
        let Some(file) = self.group.first(limit, &["pids.max"])? else { return Ok(()) };
        let current = self.group.number("pids.current").unwrap_or(0);
        if current > pids {
            // The kernel would take it, and nothing new could be started.
            let used = format!("{current} processes and threads");
            return Err(LimitError::BelowUse { limit: limit.clone(), used });
        }
        write(limit, &file, &pids.to_string())
    }

    fn set_io(&self, limit: &LimitChange, rate: Option<Size>, is_read: bool) -> Result<(), LimitError> {
        let Some(disk) = self.disk else { return Ok(()) };
        let Some(file) = self.group.first(limit, &["io.max", disk::file_of_version_1(is_read)])? else { return Ok(()) };
        if file.ends_with("io.max") {
            let rate = rate.map_or("max".to_owned(), |rate| rate.bytes().to_string());
            return write(limit, &file, &format!("{disk} {}={rate}", disk::word_of_version_2(is_read)));
        }
        write(limit, &file, &format!("{disk} {}", rate.map_or(0, Size::bytes)))
    }
}
