//! The container's health: tries that are due, one at a time, and what they find.
//!
//! ```text
//! Starting --a try goes well--> Healthy <--a try goes well-- Unhealthy
//!     \                            \--as many failures in a row as retries--^
//!      \__ the same, when the start period is over __________________________/
//! ```
//! A try at a port is a socket in the event loop. A command is a process that nobody hears of but this file: it is not in the
//! journal of processes and its output not in the log. Its number is one that the journal never gives.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    time::{Duration, Instant},
};

use anyhow::ensure;
use appcontainers::{
    PortProbe,
    life::{CheckPlan, HealthProbe, HealthReport, HealthStatus, OnUnhealthy},
};
use appcontainers_wire::{
    ExitStatus, ProcessId, Stream,
    agent::{FromAgent, StreamOffset, ToAgent},
};
use jiff::Timestamp;

use super::{Monitor, Phase, life::Trouble};

/// Numbers of processes from here on are not the journal's.
pub(super) const OWN_PROCESSES: u32 = 1 << 31;

/// How much of what a command has printed is kept.
const SAID_BYTES: usize = 4096;

/// A command that prints more is killed, and has failed.
const MOST_PRINTED_BYTES: u64 = 1024 * 1024;

/// While the container stands still, it is looked so often whether it still does.
const FROZEN_LOOK: Duration = Duration::from_secs(1);

/// A command that was killed has so long to end, before that is one more failure.
const KILLED: Duration = Duration::from_secs(1);

/// Where a container has another address, its interface follows a moment later: so long, failures at it don't count,
const MOVING: Duration = Duration::from_secs(5);

/// and it is tried again after this.
const MOVING_LOOK: Duration = Duration::from_millis(50);

const SIGKILL: u8 = 9;

/// A container's health check, and how far it is.
#[derive(Debug)]
pub(super) struct Health {
    plan: CheckPlan,
    report: HealthReport,
    /// Failures before this don't count.
    counts_from: Instant,
    due: Instant,
    attempt: Option<Attempt>,
    /// The container's address, as far as it is known.
    address: Option<Ipv4Addr>,
    /// It got that while it ran: until then, it may not be there yet.
    moving_until: Option<Instant>,
}

/// A try that is under way.
#[derive(Debug)]
enum Attempt {
    Port { probe: PortProbe, until: Instant },
    Command { process: ProcessId, said: Vec<u8>, printed: u64, until: Instant, is_killed: bool },
}

/// Whether a process is a check's.
pub(super) fn is_own(process: ProcessId) -> bool {
    process.0 >= OWN_PROCESSES
}

impl Health {
    fn new(plan: CheckPlan, report: HealthReport, now: Instant) -> Self {
        let counts_from = now + plan.check.start_period;
        Self { plan, report, counts_from, due: now, attempt: None, address: None, moving_until: None }
    }

    /// Whether a failure at the container's port may come of its moving to another address; if so, it is tried again soon.
    fn may_be_moving(&mut self, now: Instant, address: impl Fn() -> Option<Ipv4Addr>) -> bool {
        let current = address();
        if self.address != current {
            (self.address, self.moving_until) = (current, Some(now + MOVING));
        }
        let is_moving = self.moving_until.is_some_and(|until| now < until);
        if is_moving {
            self.due = now + MOVING_LOOK;
        }
        is_moving
    }

    fn deadline(&self) -> Instant {
        match &self.attempt {
            Some(Attempt::Port { until, .. } | Attempt::Command { until, is_killed: false, .. }) => *until,
            Some(Attempt::Command { is_killed: true, .. }) | None => self.due,
        }
    }
}

impl Monitor {
    /// Begins to look after the container's health, or goes on with another check. `report` is what a monitor before this one found.
    pub(super) fn set_health(&mut self, plan: Option<CheckPlan>, report: Option<HealthReport>) -> anyhow::Result<()> {
        if self.health.as_ref().map(|health| &health.plan) == plan.as_ref() {
            return Ok(());
        }
        let before = self.health.take();
        if let Some(Health { attempt: Some(Attempt::Command { process, .. }), .. }) = &before {
            self.agent.send(&ToAgent::Signal { process: *process, signal: SIGKILL }, &[])?;
        }
        // What was found by the same try at other times holds.
        let is_same = |before: &Health| plan.as_ref().is_some_and(|plan| plan.check.probe == before.plan.check.probe);
        let kept = before.filter(is_same).map(|before| before.report);
        let report = report.or(kept).unwrap_or_else(HealthReport::starting);
        self.health = plan.map(|plan| Health::new(plan, report, Instant::now()));
        self.announcer.store_health(self.health.as_ref().map(|health| &health.report));
        Ok(())
    }

    /// When a try is due, or over.
    pub(crate) fn health_deadline(&self) -> Option<Instant> {
        self.health.as_ref().filter(|_| self.is_looked_after()).map(Health::deadline)
    }

    /// Whether it runs for itself: one that runs for a command ends with that.
    fn is_looked_after(&self) -> bool {
        self.phase == Phase::Ready && !self.until_last_out && !self.is_ending
    }

    /// The container is to run on from now on.
    pub(super) fn look_after_health(&mut self) {
        let now = Instant::now();
        if let Some(health) = &mut self.health {
            (health.due, health.counts_from) = (now, now + health.plan.check.start_period);
        }
    }

    /// The socket of a try at a port, and whether it waits to be written to.
    pub(crate) fn health_socket(&self) -> Option<(RawFd, bool)> {
        match &self.health.as_ref()?.attempt {
            Some(Attempt::Port { probe, .. }) => Some((probe.as_fd().as_raw_fd(), probe.is_connecting())),
            Some(Attempt::Command { .. }) | None => None,
        }
    }

    /// Does what is due. `is_frozen` says whether the container's processes stand still: then a try would tell nothing. `address`
    /// gives the container's address.
    pub(crate) fn tick_health(
        &mut self,
        now: Instant,
        socket_is_ready: bool,
        is_frozen: impl FnOnce() -> bool,
        address: impl Fn() -> Option<Ipv4Addr>,
    ) -> anyhow::Result<()> {
        if !self.is_looked_after() {
            return Ok(());
        }
        let Some(health) = &mut self.health else { return Ok(()) };
        if socket_is_ready
            && let Some(Attempt::Port { probe, .. }) = &mut health.attempt
            && let Some(found) = probe.advance()
        {
            health.attempt = None;
            if found.is_err() && health.may_be_moving(now, address) {
                return Ok(());
            }
            return self.found(found.map_err(|failure| chain(&failure)));
        }
        if now < health.deadline() {
            return Ok(());
        }
        if is_frozen() {
            let later = now + FROZEN_LOOK;
            match &mut health.attempt {
                Some(Attempt::Port { until, .. } | Attempt::Command { until, .. }) => *until = later,
                None => {}
            }
            health.due = health.due.max(later);
            return Ok(());
        }
        match &mut health.attempt {
            None => self.begin_attempt(now, address),
            Some(Attempt::Port { probe, .. }) => {
                let failure = probe.timed_out();
                health.attempt = None;
                if health.may_be_moving(now, address) {
                    return Ok(());
                }
                self.found(Err(failure.to_string()))
            }
            Some(Attempt::Command { process, is_killed: is_killed @ false, said, .. }) => {
                *is_killed = true;
                health.due = now + health.plan.check.interval.max(KILLED);
                let (process, why) = (*process, with_said("it took too long and was killed", said));
                self.agent.send(&ToAgent::Signal { process, signal: SIGKILL }, &[])?;
                self.found(Err(why))
            }
            Some(Attempt::Command { is_killed: true, .. }) => {
                health.due = now + health.plan.check.interval.max(KILLED);
                self.found(Err("the command of the try before was killed and has not ended yet".to_owned()))
            }
        }
    }

    fn begin_attempt(&mut self, now: Instant, address: impl Fn() -> Option<Ipv4Addr>) -> anyhow::Result<()> {
        let Some(health) = &mut self.health else { return Ok(()) };
        let check = &health.plan.check;
        health.due = now + check.interval;
        let until = now + check.timeout;
        let (port, path) = match &check.probe {
            HealthProbe::Command { .. } => {
                let Some(spec) = health.plan.command.clone() else { return Ok(()) };
                let process = ProcessId(self.next_own);
                self.next_own = self.next_own.checked_add(1).unwrap_or_else(|| {
                    self.own_from = OWN_PROCESSES;
                    OWN_PROCESSES
                });
                let said = Vec::new();
                health.attempt = Some(Attempt::Command { process, said, printed: 0, until, is_killed: false });
                return self.agent.send(&ToAgent::Spawn { process, spec }, &[]);
            }
            HealthProbe::Tcp { port } => (*port, None),
            HealthProbe::Http { port, path } => (*port, Some(path.clone())),
        };
        if health.address.is_none() {
            health.address = address();
        }
        let Some(ip) = health.address else { return self.found(Err("its address is not known".to_owned())) };
        match PortProbe::begin(SocketAddrV4::new(ip, port.get()), path) {
            Ok(Ok(probe)) => {
                health.attempt = Some(Attempt::Port { probe, until });
                Ok(())
            }
            Ok(Err(_)) if health.may_be_moving(now, address) => Ok(()),
            Ok(Err(failure)) => self.found(Err(chain(&failure))),
            Err(error) => self.found(Err(format!("cannot make a socket: {error}"))),
        }
    }

    /// What a try has found.
    fn found(&mut self, found: Result<(), String>) -> anyhow::Result<()> {
        let Some(health) = &mut self.health else { return Ok(()) };
        let (before, report, check) = (health.report.clone(), &mut health.report, &health.plan.check);
        match found {
            Ok(()) => (report.failures, report.status) = (0, HealthStatus::Healthy),
            Err(why) => {
                report.said = Some(why);
                let counts = report.status != HealthStatus::Starting || Instant::now() >= health.counts_from;
                report.failures = report.failures.saturating_add(u32::from(counts));
                if report.failures >= check.retries {
                    report.status = HealthStatus::Unhealthy;
                }
            }
        }
        if *report == before {
            return Ok(());
        }
        let (is_change, on_failure) = (report.status != before.status, check.on_failure);
        if is_change {
            report.since = Timestamp::now();
        }
        let report = report.clone();
        // First: who sees the report finds the event.
        if is_change {
            self.announcer.health(&report);
        }
        self.announcer.store_health(Some(&report));
        if !is_change {
            return Ok(());
        }
        let said = report.said.as_deref().unwrap_or("no reason is known");
        match (report.status, on_failure) {
            (HealthStatus::Starting | HealthStatus::Healthy, _) => Ok(()),
            (HealthStatus::Unhealthy, OnUnhealthy::None) => self.run_fail_script(&format!("unhealthy: {said}")),
            (HealthStatus::Unhealthy, OnUnhealthy::Restart | OnUnhealthy::Stop) => {
                self.end_for(Trouble::Unhealthy, format!("unhealthy: {said}"))
            }
        }
    }

    /// What the agent says of a process of a check's.
    pub(super) fn take_of_check(&mut self, message: &FromAgent, payload: &[u8]) -> anyhow::Result<()> {
        match message {
            FromAgent::Hello { .. } | FromAgent::StdinCredit { .. } => Ok(()),
            // One of a monitor that has died, whose end nobody waits for.
            FromAgent::Started { process, .. } if !self.is_attempt(*process) => {
                self.agent.send(&ToAgent::Signal { process: *process, signal: SIGKILL }, &[])
            }
            FromAgent::Started { .. } => Ok(()),
            FromAgent::Output { process, stream, offset, .. } => self.take_said(*process, *stream, *offset, payload),
            FromAgent::SpawnFailed { process, failure } => {
                self.check_ended(*process, Err(crate::agent::quoted(&failure.to_string()).to_string()))
            }
            FromAgent::Exited { process, status } => {
                let found = match status {
                    ExitStatus::Code(0) => Ok(()),
                    ExitStatus::Code(code) => Err(format!("its command ended with code {code}")),
                    ExitStatus::Signal(signal) => Err(format!("signal {signal} ended its command")),
                };
                self.check_ended(*process, found)
            }
        }
    }

    fn is_attempt(&self, process: ProcessId) -> bool {
        let attempt = self.health.as_ref().and_then(|health| health.attempt.as_ref());
        matches!(attempt, Some(Attempt::Command { process: own, .. }) if *own == process)
    }

    fn take_said(&mut self, process: ProcessId, stream: Stream, offset: u64, payload: &[u8]) -> anyhow::Result<()> {
        // Of what a monitor before this one had started, this one knows nothing.
        let is_possible = (self.own_from..self.next_own).contains(&process.0) || self.own_from == OWN_PROCESSES;
        ensure!(is_possible, "the agent sent output of process {process}, which was never started");
        let mut is_flood = false;
        if let Some(Health { attempt: Some(Attempt::Command { process: own, said, printed, is_killed, .. }), .. }) =
            &mut self.health
            && *own == process
        {
            *printed = printed.saturating_add(payload.len() as u64);
            said.extend_from_slice(&payload[payload.len().saturating_sub(SAID_BYTES)..]);
            said.drain(..said.len().saturating_sub(SAID_BYTES));
            is_flood = *printed > MOST_PRINTED_BYTES && !std::mem::replace(is_killed, true);
        }
        // Whatever it goes on printing is dropped here.
        let end = offset.saturating_add(payload.len() as u64);
        self.agent.send(&ToAgent::Ack(StreamOffset { process, stream, offset: end }), &[])?;
        if is_flood {
            if let Some(health) = &mut self.health {
                health.due = Instant::now() + health.plan.check.interval.max(KILLED);
            }
            self.agent.send(&ToAgent::Signal { process, signal: SIGKILL }, &[])?;
            self.found(Err(format!("its command printed more than {MOST_PRINTED_BYTES} bytes and was killed")))?;
        }
        Ok(())
    }

    fn check_ended(&mut self, process: ProcessId, found: Result<(), String>) -> anyhow::Result<()> {
        self.agent.send(&ToAgent::Noted { process }, &[])?;
        if !self.is_attempt(process) {
            return Ok(());
        }
        let attempt = self.health.as_mut().and_then(|health| health.attempt.take());
        match attempt {
            // That was told when it was killed.
            Some(Attempt::Command { is_killed: true, .. }) | Some(Attempt::Port { .. }) | None => Ok(()),
            Some(Attempt::Command { said, .. }) => self.found(found.map_err(|why| with_said(&why, &said))),
        }
    }

    /// Asks for the command of a try again, whose request may have been lost with a connection: to the agent, twice is once.
    pub(super) fn ask_check_again(&mut self) -> anyhow::Result<()> {
        if let Some(Health { plan, attempt: Some(Attempt::Command { process, is_killed: false, .. }), .. }) =
            &self.health
            && let Some(spec) = plan.command.clone()
        {
            let process = *process;
            return self.agent.send(&ToAgent::Spawn { process, spec }, &[]);
        }
        Ok(())
    }
}

/// What a command said last, as one line that can't speak to a terminal.
fn with_said(why: &str, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    match said.trim() {
        "" => why.to_owned(),
        said => format!("{why}: {said}"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// Where the numbers of a monitor's own processes begin: not where those of one before it did.
pub(super) fn first_own() -> u32 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // With room for those to come.
    OWN_PROCESSES | 1 | ((time.as_micros() as u32) & (OWN_PROCESSES / 2 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_said_follows_the_reason() {
        assert_eq!(with_said("code 1", b" \n"), "code 1");
        assert_eq!(with_said("code 1", b"no db\n"), "code 1: no db");
    }

    #[test]
    fn own_numbers_are_never_the_journals() {
        assert!(is_own(ProcessId(first_own())));
        assert!(!is_own(ProcessId(OWN_PROCESSES - 1)));
    }
}
