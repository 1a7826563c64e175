//! `appc set`

use std::net::Ipv4Addr;

use appcontainers::{ContainerName, network::policy::Egress};
use clap::error::ErrorKind;

use super::{command_args::usage, life_args::LifeArgs, values};
use crate::context::Context;

/// Change a container, also while it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc set web --ip 10.213.0.99              links and rules follow
  appc set web --egress none                 it reaches nothing outside
  appc set web --egress 192.0.2.0/24,2001:db8::/32
  appc set web --restart on-failure:5 --health-http 8080/health --health-on-failure restart
  appc set web --after db:healthy --on-stop './app --drain'")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    life: LifeArgs,
}

#[derive(Debug, clap::Args)]
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
        if self.what.ip.is_none() && self.what.egress.is_none() && self.life.is_empty() {
            usage("set", ErrorKind::MissingRequiredArgument, "say what to change: 'appc set --help' lists it");
        }
        let container = context.container(self.name.as_ref())?;
        if let Some(ip) = self.what.ip {
            container.set_ip(ip)?;
        }
        if let Some(egress) = self.what.egress {
            container.set_egress(egress)?;
        }
        if !self.life.is_empty() {
            // What makes no sense is found out before anything is changed.
            self.life.clone().apply(&mut container.record()?.settings.life)?;
            let mut applied = Ok(());
            container.set_life(|life| applied = self.life.apply(life))?;
            applied?;
        }
        Ok(())
    }
}
