//! `appc rm`

use appcontainers::ContainerName;

use crate::context::Context;

/// Remove a container: its files, its output and its reservation
///
/// It has to be named: no session's current container is ever removed by accident.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc rm web
  appc rm -f web    stop it first if it runs; also one that can't be read")]
pub(crate) struct Args {
    /// Stop the container first if it runs
    #[arg(short, long)]
    force: bool,
    /// The container
    name: ContainerName,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.name))?.remove(self.force)?)
    }
}
