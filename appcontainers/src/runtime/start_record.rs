//! `/run/.../NAME/start.json`: the start that a container is in, and whether it runs.
//!
//! The record is written before LXC is called and again when the init is known, so that whoever finds it
//! can end and remove what a dead command left. It goes away when the start's traces are gone.

use std::{fs, io, os::fd::OwnedFd, path::PathBuf, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

use super::boot;
use crate::{
    ContainerName, Paths,
    state::{Durability, StateError, Versioned, read, write},
};

/// The record's file in a container's run directory.
pub(super) const START_RECORD: &str = "start.json";

/// What a container was started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartMode {
    /// To run commands, with its network.
    Full,
    /// For an operation on its files, without network; it counts as stopped.
    Files,
    /// As that, on the writable layer that is to take the place of its present one.
    Renewal,
}

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Pid in the host's namespace.
    pub pid: i32,
    /// When it started, in clock ticks after boot (`proc_pid_stat(5)`, field 22).
    pub start_time: u64,
}

impl ProcessIdentity {
    /// The identity of a live process; `None` if there is none with this pid.
    pub fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_nonzero().get();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name is in parentheses and may hold anything.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let (state, start_time) = (*fields.first()?, fields.get(19)?.parse().ok()?);
        (!matches!(state, "Z" | "X")).then_some(Self { pid, start_time })
    }

    /// The parent of a live process; `None` if there is no such process, or none that can be seen here.
    pub fn parent_of(pid: Pid) -> Option<Pid> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Pid::from_raw(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?)
    }

    /// The calling process.
    pub fn own() -> Option<Self> {
        Self::of(getpid())
    }

    /// Whether it still lives.
    pub fn is_alive(&self) -> bool {
        self.pid().and_then(Self::of).as_ref() == Some(self)
    }

    /// Kills it if it lives.
    pub fn kill(&self) -> io::Result<()> {
        let Some(pidfd) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for its end, at most `timeout`; whether it has ended.
    pub fn wait_end(&self, timeout: Duration) -> io::Result<bool> {
        let Some(pidfd) = self.open()? else { return Ok(true) };
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(!self.is_alive()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A handle (pidfd) of it that can't come to mean another process; none if it has ended.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The pidfd is of the pid's present owner: look once more that it is the one.
            Ok(pidfd) => Ok(self.is_alive().then_some(pidfd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The pid, for system calls.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// One start of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// Tells this start from all others of this container.
    pub id: String,
    /// The boot of the host in which it was. The directory of this record should not survive one, but may.
    pub boot: String,
    /// What for.
    pub mode: StartMode,
    /// The monitor.
    pub monitor: ProcessIdentity,
    /// The container's init, once LXC has started it.
    pub init: Option<ProcessIdentity>,
    /// The agent, once it is known, where it is not the init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<ProcessIdentity>,
    /// Its cgroup in every hierarchy.
    pub cgroup: String,
    /// The host's end of its network.
    pub host_interface: Option<String>,
    /// Whether somebody asked for it to run longer than the commands that it was started for.
    #[serde(default)]
    pub kept: bool,
    /// Whether somebody has its processes stand still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl Versioned for StartRecord {
    const KIND: &'static str = "record of a start";
    const VERSION: u32 = 1;
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has no processes.
    Stopped,
    /// A monitor is starting it, or an operation on its files is under way.
    Busy,
    /// Its init lives.
    Running,
    /// Its init lives, and somebody has all its processes stand still. Only listings tell that from running.
    Paused,
    /// It ended, and what its start left on the host has to be removed: the next command does that.
    #[serde(rename = "stopped")]
    Ended,
}

impl Status {
    /// Whether a start can begin (after clean-up, where that is due).
    pub fn can_start(self) -> bool {
        match self {
            Status::Stopped | Status::Ended => true,
            Status::Busy | Status::Running | Status::Paused => false,
        }
    }

    /// The status as listings say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Stopped | Status::Ended => "stopped",
            Status::Busy => "busy",
            Status::Running => "running",
            Status::Paused => "paused",
        }
    }
}

impl StartRecord {
    fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container_run(name).join(START_RECORD)
    }

    /// The record of the start that the container is in, if it is in one.
    pub fn load(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, StateError> {
        read(&Self::path(paths, name))
    }

    /// Writes the record.
    pub fn store(&self, paths: &Paths, name: &ContainerName) -> Result<(), StateError> {
        write(&Self::path(paths, name), self, Durability::Volatile)
    }

    /// As [`StartRecord::status`], and whether it is paused.
    pub fn shown_status(&self) -> Status {
        match self.status() {
            Status::Running if self.paused => Status::Paused,
            status => status,
        }
    }

    /// Whether the container runs in this start; one that is paused does.
    pub fn status(&self) -> Status {
        if self.boot != boot::id() {
            return Status::Ended;
        }
        match (self.init, self.mode) {
            (Some(init), StartMode::Full) if init.is_alive() => Status::Running,
            (Some(init), StartMode::Files | StartMode::Renewal) if init.is_alive() => Status::Busy,
            (None, _) if self.monitor.is_alive() => Status::Busy,
            _ => Status::Ended,
        }
    }
}

/// As [`status`], and whether it is paused.
pub(crate) fn shown_status(paths: &Paths, name: &ContainerName) -> Result<Status, StateError> {
    Ok(StartRecord::load(paths, name)?.map_or(Status::Stopped, |record| record.shown_status()))
}

/// Whether a container runs, as its record says.
pub fn status(paths: &Paths, name: &ContainerName) -> Result<Status, StateError> {
    Ok(StartRecord::load(paths, name)?.map_or(Status::Stopped, |record| record.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_process_and_a_later_one_with_its_pid_are_not_alive() {
        let own = ProcessIdentity::own().unwrap();
        assert!(own.is_alive());
        assert!(!ProcessIdentity { start_time: own.start_time + 1, ..own }.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let identity = ProcessIdentity::of(pid);
        child.wait().unwrap();
        assert!(identity.is_none_or(|identity| !identity.is_alive()));
    }

    #[test]
    fn nothing_of_an_earlier_boot_lives_whatever_has_its_pid_now() {
        let own = ProcessIdentity::own().unwrap();
        let mut start = StartRecord {
            id: "1".to_owned(),
            boot: boot::id(),
            mode: StartMode::Full,
            monitor: own,
            init: Some(own),
            agent: None,
            cgroup: "a/b".to_owned(),
            host_interface: None,
            kept: true,
            paused: false,
        };
        assert_eq!(start.status(), Status::Running);
        start.boot = "another".to_owned();
        assert_eq!(start.status(), Status::Ended);
    }
}
