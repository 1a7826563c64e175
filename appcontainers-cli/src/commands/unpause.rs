//! `appc unpause`

use appcontainers::ContainerName;

use crate::context::Context;

/// Have paused containers go on
///
/// One that is not paused goes on anyway.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc unpause
  appc unpause web shop")]
pub(crate) struct Args {
    /// The containers [default: -c, APPC_CONTAINER, this session's current one]
    #[arg(value_name = "NAME")]
    names: Vec<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.names.is_empty() {
            return Ok(context.container(None)?.unpause()?);
        }
        let containers = self.names.iter().map(|name| context.container(Some(name))).collect::<Result<Vec<_>, _>>()?;
        containers.iter().try_for_each(|container| Ok(container.unpause()?))
    }
}
