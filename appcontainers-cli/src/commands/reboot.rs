//! `appc reboot`

use std::time::Duration;

use appcontainers::ContainerName;

use super::values;
use crate::context::Context;

/// Stop a container if it runs, and start it, with --fresh without what was written in it
///
/// Its name, address, MAC and ids stay, and so do its startup commands and its log.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc reboot
  appc reboot web --fresh    as it was when it was made")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Drop all that was written in it, between the stop and the start
    #[arg(long)]
    fresh: bool,
    /// Wait so long between TERM and KILL
    #[arg(short, long, alias = "time", value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.reboot(self.fresh, self.timeout)?)
    }
}
