//! `appc link`

use appcontainers::{ContainerName, Hostname};

use super::values::NameAndPort;
use crate::context::Context;

/// Make a container reach another one under a service's name
///
/// In CONSUMER, SERVICE is a host name of PROVIDER, and CONSUMER may connect to it at the port. Linking a service to another
/// provider, or giving the provider another address, needs no restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc link web db postgres-1:5432    in web, db:5432 is postgres-1
  appc link web db postgres-2:5432    from now on it is postgres-2
  appc link web sql warehouse         at the port that warehouse's image names for 'sql'")]
pub(crate) struct Args {
    /// The container that uses the service
    consumer: ContainerName,
    /// The name by which it knows the service
    service: Hostname,
    /// The container that offers it, and where
    #[arg(value_name = "PROVIDER[:PORT[/udp]]")]
    provider: NameAndPort,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self { consumer, service, provider } = self;
        Ok(context.container(Some(&consumer))?.link(&service, &provider.name, provider.port)?)
    }
}
