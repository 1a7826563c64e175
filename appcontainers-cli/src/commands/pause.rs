//! `appc pause`

use appcontainers::ContainerName;

use crate::context::Context;

/// Have all processes of containers stand still
///
/// A paused container keeps its memory, its address and what is connected to it. Commands in it, and what works on its
/// files, are refused until 'appc unpause'; 'appc stop' has it go on, and stops it. The pause is kept while the container is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc pause
  appc pause web shop")]
pub(crate) struct Args {
    /// The containers [default: -c, APPC_CONTAINER, this session's current one]
    #[arg(value_name = "NAME")]
    names: Vec<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.names.is_empty() {
            return Ok(context.container(None)?.pause()?);
        }
        let containers = self.names.iter().map(|name| context.container(Some(name))).collect::<Result<Vec<_>, _>>()?;
        containers.iter().try_for_each(|container| Ok(container.pause()?))
    }
}
