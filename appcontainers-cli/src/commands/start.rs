//! `appc start`

use std::time::Duration;

use appcontainers::ContainerName;

use super::{outcomes, values};
use crate::context::Context;

/// Start containers and their startup commands
///
/// Each is started after those that 'appc set --after' named, which have to be started with it, or to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc start
  appc start web
  appc start db web shop    each after those that it needs, some at once
  appc start web --wait healthy --timeout 30
  appc start --autostart    what the host's boot does")]
pub(crate) struct Args {
    /// The containers [default: -c, APPC_CONTAINER, this session's current one]
    #[arg(value_name = "NAME")]
    names: Vec<ContainerName>,
    /// Start all containers that are marked with 'appc autostart', or whose restart policy says so, and remove what is left of an
    /// earlier boot
    #[arg(long, conflicts_with = "names")]
    autostart: bool,
    /// Return when they are healthy
    #[arg(long, value_name = "healthy", value_parser = ["healthy"], conflicts_with = "autostart")]
    wait: Option<String>,
    /// Wait so long until one is healthy
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.autostart {
            return outcomes::report("start", context.service.start_all_marked()?);
        }
        let mut names = self.names;
        if names.len() < 2 {
            names = vec![context.container(names.first())?.name().clone()];
        }
        let mut outcomes = context.service.start_all(&names, self.timeout)?;
        if self.wait.is_some() {
            for outcome in &mut outcomes {
                if outcome.result.is_ok() {
                    outcome.result = context.service.container(&outcome.name)?.wait_healthy(self.timeout);
                }
            }
        }
        match (names.len(), outcomes.pop()) {
            // One failure is told as what it is.
            (1, Some(outcome)) => Ok(outcome.result?),
            (_, last) => {
                outcomes.extend(last);
                outcomes::report("start", outcomes)
            }
        }
    }
}
