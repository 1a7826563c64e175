//! What is run in a container at the turns of its life.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{InvalidLife, check_command};

/// A turn of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Its start.
    Start,
    /// Its failure.
    Fail,
    /// Its stop.
    Stop,
}

impl Script {
    /// As in its option: `on-start`, for example; the name of its process, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Script::Start => "on-start",
            Script::Fail => "on-fail",
            Script::Stop => "on-stop",
        }
    }

    /// How long it may take; then it is killed.
    pub fn limit(self) -> Duration {
        match self {
            Script::Start => Duration::from_secs(60),
            Script::Fail => Duration::from_secs(30),
            Script::Stop => Duration::from_secs(10),
        }
    }
}

/// Lines for the container's `/bin/sh -c`, run in the container as its user, with its environment. What they print is in its log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripts {
    /// Run at each start, before the startup commands begin. The start fails if it does, or takes longer than a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Run when the container has become unhealthy, or a startup command has failed, with the reason in `APPC_FAILURE`; after an end
    /// that nobody asked for, at the next start, before anything else. At the least once for a failure. It has 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<String>,
    /// Run when the container is asked to stop, before its processes get TERM. It has as long as the stop waits, 10 seconds at the
    /// most; a stop without waiting does not run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
}

impl Scripts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The one for this turn.
    pub fn get(&self, script: Script) -> Option<&str> {
        match script {
            Script::Start => self.start.as_deref(),
            Script::Fail => self.fail.as_deref(),
            Script::Stop => self.stop.as_deref(),
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidLife> {
        for script in [Script::Start, Script::Fail, Script::Stop] {
            if let Some(line) = self.get(script) {
                check_command(script.as_str(), line)?;
            }
        }
        Ok(())
    }
}
