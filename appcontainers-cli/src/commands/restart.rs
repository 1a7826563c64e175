//! `appc restart`

use std::time::Duration;

use appcontainers::ContainerName;

use super::values;
use crate::context::Context;

/// Stop a container if it runs, and start it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  appc restart web --timeout 3")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Wait so long between TERM and KILL
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.restart(self.timeout)?)
    }
}
