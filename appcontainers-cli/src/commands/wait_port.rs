//! `appc wait-port`

use std::time::Duration;

use appcontainers::HttpPath;

use super::values::{self, ContainerPort};
use crate::context::Context;

/// Wait until a container's port is ready
///
/// It is ready when it takes a TCP connection from this host or, with --http, when it answers a GET on that path with 2xx or 3xx.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc start web && appc wait-port web:80
  appc wait-port db:5432 --timeout 120
  appc wait-port web:8080 --http /health

Exit codes: 0 it is ready, 124 it was not ready in time, 1 anything else, as a container that does not
run, or ends meanwhile: that is said at once.")]
pub(crate) struct Args {
    /// The container and its port; without NAME: that, the container [default: -c, APPC_CONTAINER, this session's current one]
    #[arg(value_name = "[NAME:]PORT", value_parser = values::container_port)]
    port: ContainerPort,
    /// Ask for this path, and wait for an answer
    #[arg(long, value_name = "PATH")]
    http: Option<HttpPath>,
    /// Wait no longer than this
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let ContainerPort { name, port } = self.port;
        Ok(context.container(name.as_ref())?.wait_port(port, self.http.as_ref(), self.timeout)?)
    }
}
