//! `appc start`

use appcontainers::ContainerName;

use super::outcomes;
use crate::context::Context;

/// Start a container and its startup commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc start
  appc start web
  appc start --autostart    what the host's boot does")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Start all containers that are marked with 'appc autostart', and remove what is left of an earlier boot
    #[arg(long, conflicts_with = "name")]
    autostart: bool,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.autostart {
            return outcomes::report("start", context.service.start_all_marked()?);
        }
        Ok(context.container(self.name.as_ref())?.start()?)
    }
}
