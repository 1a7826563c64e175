//! What is run in the container at the turns of its life, one after the other, and what follows where that, the startup commands or
//! the container's health fail.
//!
//! ```text
//! start: [on-fail, of an end before] -> on-start -> the startup commands -> ready
//! failure: on-fail -> (if it is to end) stop
//! stop: on-stop -> TERM
//! ```

use std::time::{Duration, Instant};

use anyhow::bail;
use appcontainers::{
    ProcessName,
    life::{Ending, HealthReport, LifePlan, Script, note_ending},
    process::{End, Role},
};
use appcontainers_wire::{ExitStatus, ProcessId, agent::ToAgent};

use super::{LAST_OUT_GRACE, Monitor, Phase, processes::Request};

const SIGKILL: u8 = 9;

/// Why a container is ended unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Unhealthy,
    Startup,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub(super) enum Step {
    Script(Script, Option<String>),
    Startup,
    Stop,
    ShutDown(Duration),
}

/// A script that runs.
#[derive(Debug)]
pub(super) struct RunningScript {
    process: ProcessId,
    script: Script,
    /// When it is killed.
    until: Option<Instant>,
}

impl Monitor {
    /// What is asked of the container's life; `failure` is of an end before, which its script for that has yet to hear of, and
    /// `report` what a monitor before this one has found.
    pub fn set_life(
        &mut self,
        plan: LifePlan,
        failure: Option<String>,
        report: Option<HealthReport>,
    ) -> anyhow::Result<()> {
        let health = plan.health.clone();
        self.plan = plan;
        if self.phase == Phase::Starting && !self.steps.is_empty() {
            self.steps.push_front(Step::Script(Script::Start, None));
            if let Some(why) = failure {
                self.steps.push_front(Step::Script(Script::Fail, Some(why)));
            }
        }
        self.set_health(health, report)
    }

    /// When the script that runs is killed.
    pub(super) fn script_deadline(&self) -> Option<Instant> {
        self.script.as_ref().and_then(|script| script.until)
    }

    pub(super) fn tick_script(&mut self, now: Instant) -> anyhow::Result<()> {
        if let Some(script) = &mut self.script
            && script.until.take_if(|until| *until <= now).is_some()
        {
            tracing::warn!("{} takes too long; killing it", script.script.as_str());
            let process = script.process;
            return self.agent.send(&ToAgent::Signal { process, signal: SIGKILL }, &[]);
        }
        Ok(())
    }

    /// Goes on with what is to be done, as far as nothing has to be waited for.
    pub(super) fn go_on(&mut self) -> anyhow::Result<()> {
        while self.script.is_none()
            && let Some(step) = self.steps.pop_front()
        {
            match step {
                Step::Script(script, failure) => {
                    let Some(spec) = self.plan.script(script, failure.as_deref()) else { continue };
                    let name = ProcessName::try_from(script.as_str().to_owned()).ok();
                    let (process, _) = self.spawn(Request { name, ..Request::new(Role::Script, None, spec) })?;
                    let until = Some(Instant::now() + script.limit());
                    self.script = Some(RunningScript { process, script, until });
                }
                Step::Startup => {
                    for spec in std::mem::take(&mut self.startup) {
                        self.spawn(Request::new(Role::Startup, None, spec))?;
                    }
                }
                Step::Stop => self.stop(LAST_OUT_GRACE)?,
                Step::ShutDown(grace) => {
                    let until = Instant::now() + grace + super::STOP_MARGIN;
                    self.phase = Phase::Stopping(until);
                    self.shut_down_by(until)?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is something to be done before the container is asked to end.
    pub(super) fn is_about_to_shut_down(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::ShutDown(_)))
    }

    /// Whether the start has come to its end.
    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Starting || (self.steps.is_empty() && self.script.is_none())
    }

    /// A process has ended; what that means for the container's life.
    pub(super) fn life_after(&mut self, process: ProcessId, end: &End) -> anyhow::Result<()> {
        if self.script.as_ref().is_some_and(|script| script.process == process) {
            let script = self.script.take().map(|script| script.script);
            if script == Some(Script::Start) && !went_well(end) {
                let why = format!("on-start {}", described(end));
                if self.phase == Phase::Starting {
                    bail!("{why}");
                }
                self.run_fail_script(&why)?;
            }
            return self.go_on();
        }
        let is_startup = self.journal.table().get(process).is_some_and(|record| record.role == Role::Startup);
        if !is_startup || went_well(end) || self.phase != Phase::Ready {
            return Ok(());
        }
        let why = format!("startup command {process} {}", described(end));
        let of_start = self.journal.table().records().filter(|record| {
            record.role == Role::Startup && self.first_of_start.is_some_and(|first| record.id >= first)
        });
        let have_all_failed =
            { of_start }.all(|record| record.ended.as_ref().is_some_and(|ended| !went_well(&ended.end)));
        match have_all_failed && !self.plan.restart.is_no() {
            true => self.end_for(Trouble::Startup, why),
            false => self.run_fail_script(&why),
        }
    }

    /// Has the script for failures run, behind what is under way.
    pub(super) fn run_fail_script(&mut self, why: &str) -> anyhow::Result<()> {
        self.steps.push_back(Step::Script(Script::Fail, Some(why.to_owned())));
        self.go_on()
    }

    /// Ends the container, which can't go on so, behind its script for that.
    pub(super) fn end_for(&mut self, trouble: Trouble, why: String) -> anyhow::Result<()> {
        if self.phase != Phase::Ready || self.is_ending {
            return Ok(());
        }
        self.is_ending = true;
        self.announcer.fail(&why);
        let ending = match trouble {
            Trouble::Unhealthy => Ending::Unhealthy { why: why.clone() },
            Trouble::Startup => Ending::Failed { why: why.clone() },
        };
        if let Err(error) = note_ending(self.announcer.paths(), self.announcer.container(), ending) {
            tracing::warn!("{:#}", anyhow::Error::new(error));
        }
        self.steps.push_back(Step::Script(Script::Fail, Some(why)));
        self.steps.push_back(Step::Stop);
        self.go_on()
    }

    /// Puts the script for a stop before that; whether there is one.
    pub(super) fn stop_by_script(&mut self, grace: Duration) -> anyhow::Result<bool> {
        if self.phase != Phase::Ready || self.until_last_out || grace.is_zero() {
            return Ok(false);
        }
        if self.plan.script(Script::Stop, None).is_none() {
            return Ok(false);
        }
        let limit = grace.min(Script::Stop.limit());
        // What is under way has had its time.
        if let Some(process) = self.script.as_mut().map(|script| script.process) {
            self.agent.send(&ToAgent::Signal { process, signal: SIGKILL }, &[])?;
        }
        self.steps.clear();
        self.steps.push_back(Step::Script(Script::Stop, None));
        self.steps.push_back(Step::ShutDown(grace));
        self.phase = Phase::Stopping(Instant::now() + limit + grace + super::STOP_MARGIN);
        self.go_on()?;
        if let Some(script) = self.script.as_mut().filter(|script| script.script == Script::Stop) {
            script.until = Some(Instant::now() + limit);
        }
        Ok(true)
    }
}

fn went_well(end: &End) -> bool {
    *end == End::Exited(ExitStatus::Code(0))
}

fn described(end: &End) -> String {
    match end {
        End::Exited(ExitStatus::Code(code)) => format!("ended with code {code}"),
        End::Exited(ExitStatus::Signal(signal)) => format!("was ended by signal {signal}"),
        End::NotStarted(failure) => format!("was not started: {}", crate::agent::quoted(&failure.to_string())),
        End::Lost => "was lost".to_owned(),
    }
}
