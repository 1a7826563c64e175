//! `appc inspect`

use appcontainers::ContainerName;

use crate::{context::Context, render, stdio};

/// Show all there is to know about a container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc inspect
  appc inspect web --json | jq -r .ip")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let details = context.container(self.name.as_ref())?.details()?;
        stdio::print(&if context.json { render::json(&details)? } else { render::fields(&details)? })
    }
}
