//! `appc clone`

use appcontainers::{CloneOptions, ContainerName, SnapshotName};

use crate::{context::Context, progress::Bars};

/// Make another container with the same image, configuration and files, and print its name
///
/// The clone has a name, an address, a MAC and ids of its own, and its name as its host name. What the container was given beyond its image
/// goes along (volumes are shared), and so does where it may connect to outside. No other network rule does, no published port, and
/// no start at the host's boot. What a program has made for itself, as host keys or a machine-id, is the same in both.
#[derive(Debug, clap::Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  appc clone web trial
  appc clone web trial --snapshot before-upgrade
  appc clone trial        of this session's current container"
)]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// The clone's name
    new_name: ContainerName,
    /// As the container was in this snapshot, instead of as it is now
    #[arg(long)]
    snapshot: Option<SnapshotName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let container = context.container(self.name.as_ref())?;
        let options = CloneOptions { snapshot: self.snapshot };
        context.print_name(&container.clone_as(&self.new_name, &options, &Bars::default())?)
    }
}
