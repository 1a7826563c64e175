//! `appc publish`

use std::net::IpAddr;

use appcontainers::{
    ContainerName,
    network::policy::{PortRange, Publication},
};

use crate::context::Context;

/// Make ports of this host a container's
///
/// Who connects to the port at this host reaches the container, which sees the address of who connects. While the container
/// runs, no program of the host can have the port.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc publish 8080 web:80
  appc publish 53/udp dns:53
  appc publish 8000-8010 web:9000                8000 is 9000, 8010 is 9010
  appc publish 443 web:443 --address 192.0.2.1   at this address of the host alone")]
pub(crate) struct Args {
    /// The host's port, or ports in a row
    #[arg(value_name = "HOST_PORT[-LAST][/udp]")]
    host: PortRange,
    /// The container, and its port, the first, or as many
    #[arg(value_name = "NAME:PORT[-LAST]", value_parser = target)]
    target: (ContainerName, PortRange),
    /// At this address of the host [default: at all]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
}

fn target(text: &str) -> Result<(ContainerName, PortRange), String> {
    let (name, port) = text.split_once(':').ok_or("use NAME:PORT, as web:80")?;
    let name = name.parse().map_err(|error: appcontainers::InvalidName| error.to_string())?;
    if port.contains('/') {
        return Err("say /udp of the host's port: the container's is of the same protocol".to_owned());
    }
    Ok((name, port.parse().map_err(|error: appcontainers::network::policy::InvalidRange| error.to_string())?))
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self { host, target: (name, port), address } = self;
        Ok(context.container(Some(&name))?.publish(&Publication::new(address, host, port)?)?)
    }
}
