//! What an app file says of how its container's health is looked at.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Text, Time};
use crate::{
    HttpPath,
    life::{HealthCheck, HealthProbe, OnUnhealthy},
};

/// How the container's health is looked at: by a command, a port, or a path over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSection {
    /// A line of shell that is run in the container; the code 0 is health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A TCP port of the container that takes connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// A path that is answered at that port with 2xx or 3xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Text<HttpPath>>,
    /// Between two looks, as `500ms`, `30s`, `2m`; 30 seconds if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Text<Time>>,
    /// How long one may take; 5 seconds if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Text<Time>>,
    /// After so many failures in a row it is unhealthy; 3 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Failures within this time after its start don't count; 10 seconds if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Text<Time>>,
    /// What happens when it becomes unhealthy.
    pub on_failure: OnUnhealthy,
}

impl HealthSection {
    /// What is tried; none if that is not said.
    pub(super) fn probe(&self) -> Option<HealthProbe> {
        match (&self.command, self.port, &self.http) {
            (Some(line), None, None) => Some(HealthProbe::Command { line: line.clone() }),
            (None, Some(port), None) => Some(HealthProbe::Tcp { port }),
            (None, Some(port), Some(path)) => Some(HealthProbe::Http { port, path: path.value.clone() }),
            _ => None,
        }
    }

    /// The check; none if it is not said what is tried.
    pub fn check(&self) -> Option<HealthCheck> {
        let mut check = HealthCheck::new(self.probe()?);
        for (time, given) in [
            (&mut check.interval, &self.interval),
            (&mut check.timeout, &self.timeout),
            (&mut check.start_period, &self.start_period),
        ] {
            *time = given.as_ref().map_or(*time, |given| given.value.0);
        }
        check.retries = self.retries.unwrap_or(check.retries);
        check.on_failure = self.on_failure;
        Some(check)
    }
}
