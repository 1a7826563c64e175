//! What a container may use of the host: memory, processors, processes, disks, network, open files. Pure.
//!
//! As text a limit is `KEY=VALUE`; sizes are bytes, or have a `K`, `M`, `G` or `T` behind them (1024 each). Which files of the kernel
//! a limit is, and what is set how, is [`crate::runtime`]'s.

mod change;
mod cpus;
mod size;

pub use change::{BadLimit, Key, LimitChange};
pub use cpus::{CpuSet, Cpus};
pub use size::Size;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The least memory that a container may have: with less, its agent can't be started.
pub const LEAST_MEMORY: Size = Size(6 * 1024 * 1024);

/// The least number of bytes a second for a disk or the network.
pub const LEAST_RATE: Size = Size(1024);

/// The least number of processes and threads: the agent, the command, and what starts it.
pub const LEAST_PIDS: u64 = 8;

/// The least number of open files of a process.
pub const LEAST_NOFILE: u64 = 16;

/// The limits of a container. What is absent is not limited, but processes ([`crate::runtime::DEFAULT_PIDS_LIMIT`]) and open files
/// (1,024, and 524,288 for those who ask).
///
/// # Examples
///
/// ```
/// use appcontainers::limits::{LimitChange, Limits};
///
/// let mut limits = Limits::default();
/// for word in ["memory=512M", "cpus=1.5", "io.read=10M"] {
///     limits.apply(&word.parse::<LimitChange>()?);
/// }
/// assert_eq!(limits.to_string(), "memory=512M cpus=1.5 io.read=10M");
/// assert_eq!(limits.memory.unwrap().bytes(), 512 << 20);
/// # Ok::<(), appcontainers::limits::BadLimit>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Time on processors, in processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// On which processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<CpuSet>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// The disk that holds the state directory.
    #[serde(skip_serializing_if = "is_default")]
    pub io: IoLimits,
    /// The container's interface.
    #[serde(skip_serializing_if = "is_default")]
    pub net: NetLimits,
    /// Open files of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
}

/// Bytes a second from and to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IoLimits {
    /// Read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Size>,
    /// Written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Size>,
}

/// Bytes a second through the container's interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetLimits {
    /// What it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Size>,
    /// What it receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Size>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_default(&self) -> bool {
        is_default(self)
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: &LimitChange) {
        match change.clone() {
            LimitChange::Memory(value) => self.memory = value,
            LimitChange::Cpus(value) => self.cpus = value,
            LimitChange::Cpuset(value) => self.cpuset = value,
            LimitChange::Pids(value) => self.pids = value,
            LimitChange::IoRead(value) => self.io.read = value,
            LimitChange::IoWrite(value) => self.io.write = value,
            LimitChange::NetEgress(value) => self.net.egress = value,
            LimitChange::NetIngress(value) => self.net.ingress = value,
            LimitChange::Nofile(value) => self.nofile = value,
        }
    }

    /// What is said of one key here.
    pub fn get(&self, key: Key) -> LimitChange {
        match key {
            Key::Memory => LimitChange::Memory(self.memory),
            Key::Cpus => LimitChange::Cpus(self.cpus),
            Key::Cpuset => LimitChange::Cpuset(self.cpuset.clone()),
            Key::Pids => LimitChange::Pids(self.pids),
            Key::IoRead => LimitChange::IoRead(self.io.read),
            Key::IoWrite => LimitChange::IoWrite(self.io.write),
            Key::NetEgress => LimitChange::NetEgress(self.net.egress),
            Key::NetIngress => LimitChange::NetIngress(self.net.ingress),
            Key::Nofile => LimitChange::Nofile(self.nofile),
        }
    }

    /// What is limited here.
    pub fn set(&self) -> impl Iterator<Item = LimitChange> {
        Key::ALL.into_iter().map(|key| self.get(key)).filter(|limit| !limit.is_removal())
    }

    /// What has to be changed to come from here to `other`.
    pub fn changes_to(&self, other: &Self) -> impl Iterator<Item = LimitChange> {
        Key::ALL
            .into_iter()
            .map(|key| (self.get(key), other.get(key)))
            .filter(|(old, new)| old != new)
            .map(|(_, new)| new)
    }

    /// Whether all values make sense, on any host.
    pub fn check(&self) -> Result<(), BadLimit> {
        self.set().try_for_each(|limit| limit.check())
    }
}

impl fmt::Display for Limits {
    /// The words that `appc set` takes, with spaces between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, limit) in self.set().enumerate() {
            write!(f, "{}{limit}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(words: &str) -> Limits {
        let mut limits = Limits::default();
        words.split_whitespace().for_each(|word| limits.apply(&word.parse().unwrap()));
        limits
    }

    const ALL: &str = "memory=512M cpus=1.5 cpuset=0-1,3 pids=200 io.read=10M io.write=1000001 net.egress=1M net.ingress=2M \
                       nofile=4096";

    #[test]
    fn limits_are_written_as_they_are_read() {
        assert_eq!(limits(ALL).to_string(), ALL);
        let json = serde_json::to_string(&limits(ALL)).unwrap();
        assert!(
            json.starts_with(r#"{"memory":536870912,"cpus":1.5,"cpuset":"0-1,3","pids":200,"io":{"read":10485760"#)
        );
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits(ALL));
        assert_eq!(serde_json::to_string(&Limits::default()).unwrap(), "{}");
    }

    #[test]
    fn a_file_may_say_sizes_in_words() {
        let text = "memory = \"512M\"\ncpus = 2\ncpuset = 0\nio.read = \"10M\"\nnet = { egress = 4096 }";
        let read: Limits = toml::from_str(text).unwrap();
        assert_eq!(read, limits("memory=512M cpus=2 cpuset=0 io.read=10M net.egress=4K"));
        for bad in ["memory = -1", "memory = \"much\"", "cpus = 0", "swap = 1", "io = { iops = 1 }", "cpuset = \"\""] {
            assert!(toml::from_str::<Limits>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_is_what_differs() {
        let (old, new) = (limits("memory=512M pids=200"), limits("pids=300 cpus=1"));
        let words: Vec<_> = old.changes_to(&new).map(|change| change.to_string()).collect();
        assert_eq!(words, ["memory=none", "cpus=1", "pids=300"]);
        assert_eq!(old.changes_to(&old).count(), 0);
    }
}
