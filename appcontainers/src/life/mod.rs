//! What keeps a container alive, and what it does at the turns of its life: its restart policy, its health check, its scripts, and
//! what it is started after.
//!
//! [`Life`] is the configuration, a part of [`Settings`](crate::Settings). [`LifeState`] is what became of it: it lies beside the
//! configuration, and belongs to whoever holds the container's lock. A health check's findings belong to the monitor, which writes
//! them to the run directory ([`HealthReport`]). [`Hooks`] are callbacks of a program of its own on what happens.
//!
//! ```text
//! runs --asked to stop--> stopped
//!   \--ends unasked--> (policy) waits --back-off--> runs
//!                         |       \--asked to stop, to start, or removed--> as asked
//!                         \--policy says no, or often enough--> stopped
//! ```
//! Who waits is the process that LXC had run to clear up (`appc-monitor reap`), or the one that the next command starts instead
//! where that was killed.

mod after;
mod ending;
mod health;
mod hook_cursor;
mod hooks;
mod millis;
mod plan;
mod restart;
mod revive;
mod scripts;
mod state;

use serde::{Deserialize, Serialize};

pub use after::{Dependency, DependencyError, InvalidDependency};
pub(crate) use after::{find_cycle, order};
pub(crate) use ending::ended;
pub use ending::{Ending, note_ending};
pub use health::{HealthCheck, HealthProbe, HealthReport, HealthStatus, OnUnhealthy};
pub use hooks::{HookError, HookFailure, HookOutput, Hooks};
pub use plan::{CheckPlan, LifePlan};
pub use restart::{InvalidRestart, Restart};
pub(crate) use revive::{cancel, mend};
pub use revive::{enter_hosts_mounts, wait_and_restart};
pub use scripts::{Script, Scripts};
pub use state::{LastEnd, LifeState, NextRestart};

/// How long a command or a script of a container's life may be, in bytes.
const MAX_COMMAND_BYTES: usize = 64 * 1024;

/// What keeps a container alive, and what it does at the turns of its life.
///
/// # Examples
///
/// ```
/// use appcontainers::life::{HealthCheck, HealthProbe, Life};
///
/// let life = Life {
///     restart: "on-failure:5".parse()?,
///     health: Some(HealthCheck::new(HealthProbe::Tcp { port: 80.try_into()? })),
///     after: vec!["db:healthy".parse()?],
///     ..Life::default()
/// };
/// life.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// What happens when the container ends unasked.
    #[serde(default, skip_serializing_if = "Restart::is_no")]
    pub restart: Restart,
    /// How its health is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// What is run in it at the turns of its life.
    #[serde(default, skip_serializing_if = "Scripts::is_empty")]
    pub on: Scripts,
    /// What it is started after, where it is started with others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Dependency>,
}

/// What can't be asked of a container's life.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLife {
    /// A command that is none.
    #[error("{what} is empty, longer than {MAX_COMMAND_BYTES} bytes, or holds a control character")]
    Command {
        /// Which one.
        what: &'static str,
    },
    /// A time that is too short or too long.
    #[error("{what} of a health check is 10 milliseconds at the least, and a day at the most")]
    Time {
        /// Which one.
        what: &'static str,
    },
    /// No number of failures.
    #[error("a health check fails after one try at the least: retries are 1 or more")]
    Retries,
    /// The same container twice.
    #[error("it is to be started after {name} twice")]
    Twice {
        /// The container.
        name: crate::ContainerName,
    },
}

impl Life {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all of it can be done.
    pub fn check(&self) -> Result<(), InvalidLife> {
        self.on.check()?;
        if let Some(health) = &self.health {
            health.check()?;
        }
        for (at, one) in self.after.iter().enumerate() {
            if self.after[..at].iter().any(|other| other.name == one.name) {
                return Err(InvalidLife::Twice { name: one.name.clone() });
            }
        }
        Ok(())
    }

    /// Whether anything is to be kept of how the container ended.
    pub(crate) fn remembers_ends(&self) -> bool {
        let heals = self.health.as_ref().is_some_and(|health| health.on_failure != OnUnhealthy::None);
        self.restart != Restart::No || heals || self.on.fail.is_some()
    }
}

fn check_command(what: &'static str, line: &str) -> Result<(), InvalidLife> {
    let is_bad = |character: char| character.is_control() && !matches!(character, '\t' | '\n');
    match line.trim().is_empty() || line.len() > MAX_COMMAND_BYTES || line.chars().any(is_bad) {
        true => Err(InvalidLife::Command { what }),
        false => Ok(()),
    }
}
