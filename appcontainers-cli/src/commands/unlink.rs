//! `appc unlink`

use appcontainers::{ContainerName, Hostname};

use crate::context::Context;

/// Take a link away
///
/// The name is gone in CONSUMER, and connections through the link end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  appc unlink web db")]
pub(crate) struct Args {
    /// The container that has the link
    consumer: ContainerName,
    /// The service's name in it
    service: Hostname,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.consumer))?.unlink(&self.service)?)
    }
}
