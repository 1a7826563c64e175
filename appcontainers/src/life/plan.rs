//! What a monitor needs to know of its container's life.

use appcontainers_wire::ProcessSpec;

use super::{HealthCheck, HealthProbe, Restart, Script};
use crate::{process::Command, record::ContainerRecord};

/// What a monitor needs to know of its container's life, ready for the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifePlan {
    /// What happens when the container ends unasked.
    pub restart: Restart,
    /// How its health is looked at.
    pub health: Option<CheckPlan>,
    start: Option<ProcessSpec>,
    fail: Option<ProcessSpec>,
    stop: Option<ProcessSpec>,
}

/// A health check, with the command as the agent takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPlan {
    /// The check.
    pub check: HealthCheck,
    /// Its command, if it has one.
    pub command: Option<ProcessSpec>,
}

impl LifePlan {
    /// The plan of a container.
    pub fn of(record: &ContainerRecord) -> Self {
        let life = &record.settings.life;
        let spec = |line: &str| Command::from(line).complete(&record.config, false);
        let script = |script: Script| life.on.get(script).map(spec);
        let health = life.health.as_ref().map(|check| CheckPlan {
            check: check.clone(),
            command: match &check.probe {
                HealthProbe::Command { line } => Some(spec(line)),
                HealthProbe::Tcp { .. } | HealthProbe::Http { .. } => None,
            },
        });
        let [start, fail, stop] = [Script::Start, Script::Fail, Script::Stop].map(script);
        Self { restart: life.restart, health, start, fail, stop }
    }

    /// What to run at a turn of its life; `failure` is why, where that is a failure.
    pub fn script(&self, script: Script, failure: Option<&str>) -> Option<ProcessSpec> {
        let spec = match script {
            Script::Start => &self.start,
            Script::Fail => &self.fail,
            Script::Stop => &self.stop,
        };
        let mut spec = spec.clone()?;
        spec.env.extend(failure.map(|why| format!("APPC_FAILURE={}", why.replace('\0', ""))));
        Some(spec)
    }
}
