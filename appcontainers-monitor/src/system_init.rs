//! A container whose init is its own, with the agent beside it: what a monitor does for such a one alone.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use anyhow::bail;
use appcontainers::runtime::{ProcessIdentity, StartRecord};
use appcontainers_sys::process::send_signal;
use rustix::process::Pid;

/// Why an init most likely ended at once.
pub(crate) const NO_INIT: &str = "; has the image an executable /sbin/init?";

/// How long a container may be without its agent: its init may be on its way out, and ends all others first.
const AGENT_GONE: Duration = Duration::from_secs(10);

/// What asks an init to end, by the end of its program's name: SIGRTMIN+3 systemd (systemd(1)), SIGUSR2 busybox. SIGPWR is what
/// others take for that (powerfail in inittab(5)).
const HALTING: [(&str, i32); 2] = [("systemd", 34 + 3), ("busybox", 12)];
const HALTING_OTHERS: i32 = 30;

/// The agent beside the init, and the init's end.
#[derive(Debug)]
pub(crate) struct SystemInit {
    agent: Option<OwnedFd>,
    agent_gone: Option<Instant>,
    is_halting: bool,
}

impl SystemInit {
    /// Of a start whose agent is yet to come, or is the one that the record has.
    pub(crate) fn new(start: &StartRecord) -> io::Result<Self> {
        let agent = start.agent.map_or(Ok(None), |agent| agent.open())?;
        Ok(Self { agent, agent_gone: None, is_halting: false })
    }

    /// Notes the agent's process once it is known; whether it is new to the record.
    pub(crate) fn meet(&mut self, agent: Option<Pid>, start: &mut StartRecord) -> io::Result<bool> {
        let Some(identity) = agent.filter(|_| start.agent.is_none()).and_then(ProcessIdentity::of) else {
            return Ok(false);
        };
        self.agent = identity.open()?;
        start.agent = Some(identity);
        Ok(true)
    }

    /// The agent's pidfd, to poll for its end.
    pub(crate) fn raw_fd(&self) -> Option<RawFd> {
        self.agent.as_ref().filter(|_| self.agent_gone.is_none()).map(AsRawFd::as_raw_fd)
    }

    /// The agent has ended.
    pub(crate) fn agent_ended(&mut self) {
        self.agent_gone.get_or_insert_with(Instant::now);
    }

    /// When to look again at a container without an agent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.agent_gone.filter(|_| !self.is_halting).map(|gone| gone + AGENT_GONE)
    }

    /// An error if the container goes on without its agent.
    pub(crate) fn check(&self, now: Instant) -> anyhow::Result<()> {
        match self.deadline() {
            Some(until) if until <= now => bail!("the container's agent has ended"),
            _ => Ok(()),
        }
    }

    /// Asks the init, once, to end the system.
    pub(crate) fn halt(&mut self, init: &OwnedFd, pid: i32) {
        if std::mem::replace(&mut self.is_halting, true) {
            return;
        }
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let program = program.to_string_lossy();
        let signal =
            HALTING.iter().find(|(name, _)| program.ends_with(name)).map_or(HALTING_OTHERS, |(_, signal)| *signal);
        if let Err(error) = send_signal(init, signal) {
            tracing::warn!(%error, "cannot ask the container's init to end");
        }
    }
}
