//! `appc start`

use appcontainers::ContainerName;

use crate::context::Context;

/// Start a container and its startup commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc start
  appc start web")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.start()?)
    }
}
