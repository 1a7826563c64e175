//! Takes samples: asks the kernel.

use std::{collections::HashMap, fs, path::PathBuf};

use jiff::Timestamp;
use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

use super::{Cpu, Io, Memory, Network, Pids, Stats, cgroup_v1, cgroup_v2, network, process_io, rates::percent};
use crate::{
    ContainerName, Paths,
    runtime::{ProcessIdentity, StartRecord, Status, cgroup, payload_cgroup},
    state::StateError,
};

const NANOSECONDS: u64 = 1_000_000_000;

/// Takes samples of many containers at one time.
pub(crate) struct Sampler<'a> {
    paths: &'a Paths,
    interfaces: HashMap<String, Network>,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(paths: &'a Paths) -> Self {
        let interfaces = fs::read_to_string("/proc/net/dev").unwrap_or_default();
        Self { paths, interfaces: network::parse(&interfaces) }
    }

    /// What a container uses; nothing if it does not run, or ends meanwhile.
    pub(crate) fn sample(&self, name: &ContainerName) -> Result<Option<Stats>, StateError> {
        let start = StartRecord::load(self.paths, name)?.filter(|start| start.status() == Status::Running);
        let Some((start, init)) = start.and_then(|start| start.init.map(|init| (start, init))) else {
            return Ok(None);
        };
        let uptime_ns = uptime_ns(&init);
        let files = CgroupFiles::of(&payload_cgroup(&start));
        let stats = Stats {
            name: name.clone(),
            time: Timestamp::now(),
            uptime_ns,
            cpu: files.cpu(uptime_ns),
            memory: files.memory(),
            pids: files.pids(),
            io: files.io(),
            network: start.host_interface.and_then(|veth| self.interfaces.get(&veth).copied()),
            start: start.id,
        };
        // Counters of one that has ended are halves.
        Ok(init.is_alive().then_some(stats))
    }
}

/// How long ago the process was started.
fn uptime_ns(process: &ProcessIdentity) -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let now_ns = now.tv_sec as u64 * NANOSECONDS + now.tv_nsec as u64;
    let started_ns = u128::from(process.start_time) * u128::from(NANOSECONDS) / u128::from(clock_ticks_per_second());
    now_ns.saturating_sub(started_ns as u64)
}

/// A container's cgroup, which is a directory in each of the host's hierarchies. A file's name tells the version and
/// the controller, so it is the same file in whichever of them it is.
struct CgroupFiles {
    name: String,
    directories: Vec<PathBuf>,
}

impl CgroupFiles {
    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), directories: cgroup::directories(name) }
    }

    /// The first file of this name that `parse` understands.
    fn find<T>(&self, file: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut texts = self.directories.iter().filter_map(|directory| fs::read_to_string(directory.join(file)).ok());
        texts.find_map(|text| parse(&text))
    }

    fn cpu(&self, uptime_ns: u64) -> Option<Cpu> {
        let usage_ns = self.find(cgroup_v2::CPU, cgroup_v2::cpu_usage_ns);
        let usage_ns = usage_ns.or_else(|| self.find(cgroup_v1::CPU, cgroup_v1::number))?;
        Some(Cpu { usage_ns, percent: percent(usage_ns, uptime_ns).unwrap_or(0.0) })
    }

    fn memory(&self) -> Option<Memory> {
        let v2 = || {
            let current = self.find(cgroup_v2::MEMORY, cgroup_v1::number)?;
            let limit = self.find(cgroup_v2::MEMORY_LIMIT, cgroup_v2::limit);
            Some((current, limit, self.find("memory.stat", cgroup_v2::inactive_file)))
        };
        let v1 = || {
            let current = self.find(cgroup_v1::MEMORY, cgroup_v1::number)?;
            let limit = self.find(cgroup_v1::MEMORY_LIMIT, cgroup_v1::limit);
            Some((current, limit, self.find("memory.stat", cgroup_v1::inactive_file)))
        };
        let (current_bytes, limit, inactive_file) = v2().or_else(v1)?;
        let working_set_bytes = current_bytes.saturating_sub(inactive_file.unwrap_or(0));
        Some(Memory { current_bytes, working_set_bytes, limit_bytes: limit.flatten() })
    }

    /// Both versions have the same files.
    fn pids(&self) -> Option<Pids> {
        let current = self.find("pids.current", cgroup_v1::number)?;
        Some(Pids { current, limit: self.find("pids.max", cgroup_v2::limit).flatten() })
    }

    fn io(&self) -> Option<Io> {
        let v2 = self.find(cgroup_v2::IO, |text| Some(cgroup_v2::io(text)));
        v2.or_else(|| self.io_v1()).or_else(|| process_io::of(&cgroup::processes(&self.name)))
    }

    fn io_v1(&self) -> Option<Io> {
        let read = |file: &str| self.find(file, |text| Some(text.to_owned()));
        // Older kernels have only the files that leave out the cgroups below.
        ["_recursive", ""].into_iter().find_map(|scope| {
            let bytes = read(&format!("blkio.throttle.io_service_bytes{scope}"))?;
            cgroup_v1::io(&bytes, &read(&format!("blkio.throttle.io_serviced{scope}"))?)
        })
    }
}
