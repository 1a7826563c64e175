//! `appc stop`

use std::time::Duration;

use appcontainers::ContainerName;

use super::{outcomes, values};
use crate::context::Context;

/// Stop a container: its processes get TERM, and KILL after the timeout
///
/// An ephemeral container is removed when it stops.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc stop
  appc stop web --timeout 0    at once
  appc stop --all              every container that runs")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Stop all containers that run
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Wait so long between TERM and KILL
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.all {
            return outcomes::report("stop", context.service.stop_all(self.timeout)?);
        }
        Ok(context.container(self.name.as_ref())?.stop(self.timeout)?)
    }
}
