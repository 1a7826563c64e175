//! `appc restore`

use std::time::Duration;

use appcontainers::{ContainerName, SnapshotName};

use super::values;
use crate::{context::Context, progress::Bars};

/// Make a container what it was when a snapshot was made
///
/// What was written in it, how its program is run and what it was given beyond its image are what they were then. Its name, address, MAC,
/// ids, network rules, secrets and log stay, and so do all its snapshots. A running container is stopped before and started afterwards.
#[derive(Debug, clap::Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  appc restore web before-upgrade
  appc snapshots web              the snapshots there are"
)]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// The snapshot
    snapshot: SnapshotName,
    /// Wait so long between TERM and KILL
    #[arg(short, long, alias = "time", value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let container = context.container(self.name.as_ref())?;
        Ok(container.restore(&self.snapshot, self.timeout, &Bars::default())?)
    }
}
