//! `appc stop`

use std::time::Duration;

use appcontainers::ContainerName;

use super::values;
use crate::context::Context;

/// Stop a container: its processes get TERM, and KILL after the timeout
///
/// An ephemeral container is removed when it stops.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc stop
  appc stop web --timeout 0    at once")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Wait so long between TERM and KILL
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.stop(self.timeout)?)
    }
}
