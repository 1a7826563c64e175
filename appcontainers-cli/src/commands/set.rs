//! `appc set`

use std::net::Ipv4Addr;

use appcontainers::{ContainerName, network::policy::Egress};

use super::values;
use crate::context::Context;

/// Change a container, also while it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc set web --ip 10.213.0.99              links and rules follow
  appc set web --egress none                 it reaches nothing outside
  appc set web --egress 192.0.2.0/24,2001:db8::/32")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct What {
    /// Give it this address of the containers' network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// Where it may connect to outside
    #[arg(long, value_name = "all|none|CIDR,…", value_parser = values::egress)]
    egress: Option<Egress>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let container = context.container(self.name.as_ref())?;
        if let Some(ip) = self.what.ip {
            container.set_ip(ip)?;
        }
        if let Some(egress) = self.what.egress {
            container.set_egress(egress)?;
        }
        Ok(())
    }
}
