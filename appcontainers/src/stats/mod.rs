//! What running containers use: processors, memory, processes, disks and network, from the kernel's own counters.
//!
//! A start has cgroups and an interface of its own, so what is counted is counted since the start. Where the host has no
//! counter (a missing cgroup controller), the value is absent; that is never an error.

mod cgroup_v1;
mod cgroup_v2;
mod meter;
mod network;
mod process_io;
mod rates;
mod sample;

pub use meter::{BadSortKey, Meter, SortBy, Usage};
pub(crate) use network::parse as interfaces;
pub use rates::Rates;
pub(crate) use sample::Sampler;

use jiff::Timestamp;
use serde::Serialize;

use crate::ContainerName;

/// What a running container uses, and has used since it was started.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, Service};
///
/// for stats in Service::open(Paths::from_env()?).stats(&[])? {
///     let memory = stats.memory.map_or(0, |memory| memory.working_set_bytes);
///     println!("{}: {} MiB, {:.1} % of a processor", stats.name, memory >> 20, stats.cpu.map_or(0.0, |cpu| cpu.percent));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The container.
    pub name: ContainerName,
    /// Tells this start from the container's others: with another one all counters begin anew.
    pub start: String,
    /// When it was looked at.
    pub time: Timestamp,
    /// Since the start, in nanoseconds.
    pub uptime_ns: u64,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes and threads.
    pub pids: Option<Pids>,
    /// Disks.
    pub io: Option<Io>,
    /// Its interface, as seen from inside.
    pub network: Option<Network>,
}

/// Use of processors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cpu {
    /// Time on all processors together, in nanoseconds.
    pub usage_ns: u64,
    /// Of one processor, on average since the start: above 100 where several were busy.
    pub percent: f64,
}

/// Use of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All that is charged to the container, cached files too.
    pub current_bytes: u64,
    /// The same without files that were not used of late: what the kernel can't take back without hurting.
    pub working_set_bytes: u64,
    /// The most that it may have; without a limit absent.
    pub limit_bytes: Option<u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are, the agent among them.
    pub current: u64,
    /// The most that there may be; without a limit absent.
    pub limit: Option<u64>,
}

/// What was read from disks and written to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Io {
    /// Read, in bytes.
    pub read_bytes: u64,
    /// Written, in bytes.
    pub written_bytes: u64,
    /// How often was read; absent where the kernel counts this for no cgroup.
    pub reads: Option<u64>,
    /// How often was written; absent where the kernel counts this for no cgroup.
    pub writes: Option<u64>,
}

/// What went through the container's interface: `rx` is what the container has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Received, in bytes.
    pub rx_bytes: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Packets for the container that were lost.
    pub rx_dropped: u64,
    /// Sent, in bytes.
    pub tx_bytes: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Packets of the container's that were lost.
    pub tx_dropped: u64,
}

/// Whether a device `MAJOR:MINOR` is a loop device: what goes through it goes through the disk below it once more.
fn is_loop_device(device: &str) -> bool {
    device.starts_with("7:")
}
