//! How a container's health is looked at, and what was found.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{InvalidLife, check_command, millis};
use crate::{
    ContainerName, HttpPath, Paths,
    state::{Durability, StateError, Versioned, read, write},
};

/// Times of a check are within these.
const TIMES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(24 * 3600));

/// How a container's health is looked at, by its monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: HealthProbe,
    /// Between the beginnings of two tries.
    #[serde(rename = "interval_ms", with = "millis")]
    pub interval: Duration,
    /// How long a try may take.
    #[serde(rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
    /// After so many failures in a row it is unhealthy.
    pub retries: u32,
    /// Failures within this time after the start don't count.
    #[serde(rename = "start_period_ms", with = "millis")]
    pub start_period: Duration,
    /// What happens when it becomes unhealthy.
    pub on_failure: OnUnhealthy,
}

/// What a health check tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum HealthProbe {
    /// Runs a line of shell in the container; the code 0 is health. What it prints is not in the container's log.
    Command {
        /// For the container's `/bin/sh -c`.
        line: String,
    },
    /// Connects to a TCP port of the container's from the host.
    Tcp {
        /// The port.
        port: NonZeroU16,
    },
    /// Asks for a path over HTTP, from the host; an answer of 2xx or 3xx is health.
    Http {
        /// The port.
        port: NonZeroU16,
        /// The path.
        path: HttpPath,
    },
}

/// What happens when a container becomes unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnhealthy {
    /// It is said, and nothing else.
    #[default]
    None,
    /// It is stopped and started again, whatever its restart policy is, with that one's pauses and limit.
    Restart,
    /// It is stopped.
    Stop,
}

/// How healthy a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No try has gone well yet, and not enough have failed.
    Starting,
    /// The last tries went well.
    Healthy,
    /// The last tries have failed.
    Unhealthy,
}

impl HealthStatus {
    /// As listings say it.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

impl HealthCheck {
    /// A check every 30 seconds.
    pub fn new(probe: HealthProbe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            retries: 3,
            start_period: Duration::from_secs(10),
            on_failure: OnUnhealthy::None,
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidLife> {
        if let HealthProbe::Command { line } = &self.probe {
            check_command("the command of the health check", line)?;
        }
        for (what, time) in [("the interval", self.interval), ("the timeout", self.timeout)] {
            if time < TIMES.0 || time > TIMES.1 {
                return Err(InvalidLife::Time { what });
            }
        }
        if self.start_period > TIMES.1 {
            return Err(InvalidLife::Time { what: "the start period" });
        }
        if self.retries == 0 { Err(InvalidLife::Retries) } else { Ok(()) }
    }
}

/// What was found of a running container's health. Written by its monitor when the status changes and when a try fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// How healthy it is.
    pub status: HealthStatus,
    /// Since when.
    pub since: Timestamp,
    /// How many tries have failed in a row.
    pub failures: u32,
    /// Why the last try that failed did, with the last 4 KiB of what its command printed.
    #[serde(default)]
    pub said: Option<String>,
}

impl Versioned for HealthReport {
    const KIND: &'static str = "report of a container's health";
    const VERSION: u32 = 1;
}

impl HealthReport {
    /// Of a container of which nothing is known yet.
    pub fn starting() -> Self {
        Self { status: HealthStatus::Starting, since: Timestamp::now(), failures: 0, said: None }
    }

    fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container_run(name).join("health.json")
    }

    /// What the monitor wrote last; none if it has not written yet, or the container does not run.
    pub fn load(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, StateError> {
        read(&Self::path(paths, name))
    }

    /// Removes it: nobody looks at the container's health any more.
    pub fn remove(paths: &Paths, name: &ContainerName) -> Result<(), StateError> {
        let path = Self::path(paths, name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(StateError::Write { path, source }),
            _ => Ok(()),
        }
    }

    /// Writes it.
    pub fn store(&self, paths: &Paths, name: &ContainerName) -> Result<(), StateError> {
        write(&Self::path(paths, name), self, Durability::Volatile)
    }
}
