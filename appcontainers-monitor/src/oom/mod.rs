//! That the kernel has ended processes of the container because there was no memory left: told as soon as the kernel says so, with the
//! process where it can be known. Nothing is done until then.
//!
//! ```text
//! the kernel's notice, or a process's end -> has the count risen? -> the kernel's log: who -> still there? which pid inside
//!                                                                                          -> one of ours that ends so? -> event
//! ```

mod kernel_log;
mod notice;
mod victim;

use std::{
    collections::VecDeque,
    os::fd::RawFd,
    time::{Duration, Instant},
};

use appcontainers::runtime::{StartRecord, cgroup_path, oom_kills};
use appcontainers_wire::{ExitStatus, ProcessId};
use serde_json::{Map, Value};

use self::{
    kernel_log::KernelLog,
    notice::Notice,
    victim::{Victim, is_called, pid_inside},
};
use crate::monitor::Monitor;

/// After a notice of version 1, which comes before the kill: when to look at the count.
const LOOKS: [Duration; 4] =
    [Duration::from_millis(2), Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2)];

/// How long the end of one of ours is waited for that the kernel may have meant.
const PATIENCE: Duration = Duration::from_secs(1);

/// The signal that ends who has no memory.
const KILLED: ExitStatus = ExitStatus::Signal(9);

/// How many ends are remembered.
const MOST_ENDS: usize = 16;

/// Watches one start of a container.
#[derive(Debug)]
pub(crate) struct OomWatch {
    notice: Option<Notice>,
    log: Option<KernelLog>,
    /// How many kills were told.
    told: u64,
    /// When to look, the next first.
    looks: VecDeque<Instant>,
    /// Who was killed, and is told when it is known who that is, or then.
    held: Vec<(Victim, Instant)>,
    /// Processes of ours that were killed of late.
    killed: VecDeque<(ProcessId, Instant)>,
}

impl OomWatch {
    /// Watches from now on; so many kills are known.
    pub(crate) fn new(start: &StartRecord, told: u64) -> Self {
        let notice =
            Notice::of(start).inspect_err(|error| tracing::warn!(%error, "kills for want of memory are told late"));
        let log = KernelLog::open().inspect_err(|error| tracing::warn!(%error, "who has no memory is not told"));
        let (looks, held, killed) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { notice: notice.ok().flatten(), log: log.ok(), told, looks, held, killed }
    }

    /// What to poll for reading.
    pub(crate) fn raw_fd(&self) -> Option<RawFd> {
        self.notice.as_ref().map(Notice::raw_fd)
    }

    /// When to look, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.looks.front().copied().into_iter().chain(self.held.iter().map(|(_, until)| *until)).min()
    }

    /// Looks whether somebody was killed, and tells it.
    pub(crate) fn look(&mut self, monitor: &mut Monitor, start: &StartRecord, init_ended: bool, has_notice: bool) {
        let (now, ends) = (Instant::now(), monitor.take_ends());
        let mut is_due = init_ended || !ends.is_empty();
        if let (true, Some(notice)) = (has_notice, &self.notice) {
            is_due |= notice.take();
            if notice.comes_before_the_kill() {
                self.looks = LOOKS.map(|after| now + after).into();
            }
        }
        while self.looks.front().is_some_and(|at| *at <= now) {
            is_due = true;
            self.looks.pop_front();
        }
        self.killed.extend(ends.iter().filter(|(_, status)| *status == KILLED).map(|(id, _)| (*id, now)));
        while self.killed.len() > MOST_ENDS || self.killed.front().is_some_and(|(_, at)| now - *at > PATIENCE) {
            self.killed.pop_front();
        }
        if is_due {
            self.take_kills(start, now);
        }
        if !self.held.is_empty() {
            self.tell(monitor, now, init_ended);
        }
    }

    /// Takes note of those that were killed since the last look.
    fn take_kills(&mut self, start: &StartRecord, now: Instant) {
        let kills = oom_kills(start);
        let new = kills.saturating_sub(self.told);
        if new == 0 {
            return;
        }
        self.told = kills;
        self.looks.clear();
        let mut names = self.log.as_mut().map(|log| log.victims(&cgroup_path(start))).unwrap_or_default();
        // What was said of kills that are told is not said of these.
        let old = names.len().saturating_sub(new as usize);
        names.drain(..old);
        let unnamed = new - names.len() as u64;
        for name in names {
            let pid = pid_inside(start, &name);
            self.held.push((Victim { kills: 1, name: Some(name), pid }, now + PATIENCE));
        }
        if unnamed > 0 {
            self.held.push((Victim { kills: unnamed, name: None, pid: None }, now));
        }
    }

    /// Tells of those of whom all is known, and of those for whom it was waited long enough.
    fn tell(&mut self, monitor: &mut Monitor, now: Instant, all: bool) {
        for (mut victim, until) in std::mem::take(&mut self.held) {
            let table = monitor.table();
            let of_pid = victim.pid.and_then(|pid| table.records().filter(|record| record.pid == Some(pid)).last());
            let ended = self.killed.iter().position(|(id, _)| {
                table.get(*id).is_some_and(|record| {
                    let is_same = of_pid.is_some_and(|found| found.id == *id);
                    is_same
                        || (victim.pid.is_none() && victim.name.as_deref().is_some_and(|name| is_called(record, name)))
                })
            });
            let process = ended.and_then(|at| self.killed.remove(at)).and_then(|(id, _)| table.get(id)).or(of_pid);
            if process.is_none() && victim.name.is_some() && victim.pid.is_none() && now < until && !all {
                self.held.push((victim, until));
                continue;
            }
            victim.pid = victim.pid.or(process.and_then(|record| record.pid));
            let process = process.map(|record| (record.id, record.name.clone()));
            monitor.announcer.out_of_memory(process, details(&victim));
        }
    }
}

fn details(victim: &Victim) -> Map<String, Value> {
    let mut details = Map::from_iter([("kills".to_owned(), victim.kills.into())]);
    details.extend(victim.name.iter().map(|name| ("command".to_owned(), name.as_str().into())));
    details.extend(victim.pid.map(|pid| ("pid".to_owned(), pid.into())));
    details
}
