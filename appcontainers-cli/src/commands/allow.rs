//! `appc allow`

use appcontainers::container::Source;

use super::values::NameAndPort;
use crate::context::Context;

/// Let a container, or those outside with certain addresses, connect to a container
///
/// From one container to another nothing goes through unless it is allowed, and neither from outside. It takes effect at
/// once, also for containers that run, and stays until 'appc deny', or until one of the two is removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc allow web db:5432              web may connect to port 5432 of db
  appc allow web dns:53/udp           to a UDP port
  appc allow web db                   to every port, and ping
  appc allow 192.0.2.0/24 web:80      hosts outside that have a route to containers")]
pub(crate) struct Args {
    /// Who may connect: a container, or an address or network outside
    #[arg(value_name = "FROM")]
    from: Source,
    /// The container, with a port or for all ports
    #[arg(value_name = "TO[:PORT[/udp]]")]
    to: NameAndPort,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.to.name))?.allow(&self.from, self.to.port)?)
    }
}
