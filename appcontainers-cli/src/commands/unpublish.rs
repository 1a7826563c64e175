//! `appc unpublish`

use std::net::IpAddr;

use appcontainers::{ContainerName, network::policy::PortRange};

use crate::context::Context;

/// Give ports of this host back
///
/// Connections through them end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc unpublish 8080 web
  appc unpublish 8000-8010 web         as it was published")]
pub(crate) struct Args {
    /// The host's port, or ports in a row, as they were published
    #[arg(value_name = "HOST_PORT[-LAST][/udp]")]
    host: PortRange,
    /// The container
    name: ContainerName,
    /// What was published at this address alone [default: at any]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.name))?.unpublish(&self.host, self.address)?)
    }
}
