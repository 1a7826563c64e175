//! `appc unmount`

use appcontainers::{ContainerName, MountPath};

use crate::context::Context;

/// Take a mounted file, directory or volume out of a container, also while it runs
///
/// What a process in there has open stays open to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc unmount web /var/www")]
pub(crate) struct Args {
    /// The container
    name: ContainerName,
    /// Where it is mounted
    path: MountPath,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.name))?.unmount(&self.path)?)
    }
}
