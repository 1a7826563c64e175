//! What is due at a time: to hang up a process that nobody wants any more, to kill it if it did not go, to start one again
//! that has ended.

use std::time::{Duration, Instant};

use appcontainers::process::Role;
use appcontainers_wire::{ProcessId, agent::ToAgent};

use super::{RESTART_PAUSE, Request, SIGKILL};
use crate::monitor::{Monitor, Phase};

/// Between HUP and KILL for a command whose client is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// A process that has run for so long did not fail at once: the pause is short again.
const RESTART_CALM: Duration = Duration::from_secs(10);

const SIGHUP: u8 = 1;

impl Monitor {
    pub(in crate::monitor) fn tick_processes(&mut self, now: Instant) -> anyhow::Result<()> {
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let (mut hang_up, mut kill, mut restart) = (Vec::new(), Vec::new(), Vec::new());
        for (id, process) in &mut self.processes {
            for (at, due) in [
                (&mut process.hang_up_at, &mut hang_up),
                (&mut process.kill_at, &mut kill),
                (&mut process.restart_at, &mut restart),
            ] {
                if is_due(at) {
                    due.push(*id);
                }
            }
        }
        for process in hang_up {
            self.orphaned(process)?;
        }
        for process in kill {
            self.agent.send(&ToAgent::Signal { process, signal: SIGKILL }, &[])?;
        }
        for process in restart {
            self.restart(process)?;
        }
        Ok(())
    }

    /// A foreground command's client is gone.
    pub(in crate::monitor) fn orphaned(&mut self, process: ProcessId) -> anyhow::Result<()> {
        self.log.release(process);
        let Some(state) = self.processes.get_mut(&process) else { return Ok(()) };
        state.client = None;
        if !state.ended && matches!(state.role, Role::Foreground | Role::FileOperation) {
            state.kill_at = Some(Instant::now() + ORPHAN_GRACE);
            self.agent.send(&ToAgent::Signal { process, signal: SIGHUP }, &[])?;
        }
        // Nobody will pass on what was sent to it.
        self.pass_direct_on(process, u64::MAX)
    }

    pub(super) fn plan_restart(&mut self, process: ProcessId) {
        let table = self.journal.table();
        let awaits = table.get(process).is_some_and(|record| table.awaits_restart(record));
        if let Some(state) = self.processes.get_mut(&process).filter(|_| awaits) {
            if state.started.elapsed() >= RESTART_CALM {
                state.restart_pause = RESTART_PAUSE.0;
            }
            state.restart_at = Some(Instant::now() + state.restart_pause);
        }
    }

    fn restart(&mut self, ended: ProcessId) -> anyhow::Result<()> {
        if matches!(self.phase, Phase::Stopping(_)) {
            return Ok(());
        }
        let pause = self.processes.get(&ended).map_or(RESTART_PAUSE.0, |state| state.restart_pause);
        let Some(record) = self.journal.table().get(ended).cloned() else { return Ok(()) };
        let request = Request {
            name: record.name,
            restart: record.restart,
            instead_of: Some(ended),
            ..Request::new(record.role, None, record.spec)
        };
        let (process, _) = self.spawn(request)?;
        if let Some(state) = self.processes.get_mut(&process) {
            state.restart_pause = (2 * pause).min(RESTART_PAUSE.1);
        }
        Ok(())
    }
}
