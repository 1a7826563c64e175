//! `appc rename`

use appcontainers::ContainerName;

use crate::context::Context;

/// Rename a container; it keeps its address, its MAC and its files
#[derive(Debug, clap::Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  appc rename web shop
  appc rename shop       this session's current container"
)]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Its new name
    new_name: ContainerName,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.rename(self.new_name)?)
    }
}
