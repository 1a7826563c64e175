//! `appc wait`

use std::time::Duration;

use anyhow::bail;
use appcontainers::process::ProcessRef;

use super::{ends, values};
use crate::{context::Context, exit};

/// Wait until a process has ended, and exit as it did; or until a container is healthy
///
/// The end of one that has ended long ago is still known.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc wait 3 && echo 'it went well'
  appc wait --healthy web --timeout 30

Exit codes: the process's own, 128+N where signal N ended it, 127 and 126 where it was not started,
125 where that is not known or appc itself failed. With --healthy: 0 it is, 124
it was not in time, 1 anything else.")]
pub(crate) struct Args {
    /// Wait no longer than this
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    timeout: Option<Duration>,
    /// Wait until the container is healthy [default: for a minute at the most]
    #[arg(long)]
    healthy: bool,
    /// The process, by number or name; with --healthy the container [default: -c, APPC_CONTAINER, this session's current one]
    #[arg(value_name = "PROCESS", required_unless_present = "healthy")]
    which: Option<ProcessRef>,
}

/// How long it is waited for health unless the caller says otherwise.
const HEALTH_PATIENCE: Duration = Duration::from_secs(60);

impl Args {
    /// Whether it waits for a container, and no process.
    pub(super) fn is_for_health(&self) -> bool {
        self.healthy
    }

    pub(super) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        let process = match (self.healthy, self.which) {
            (false, Some(process)) => process,
            (_, name) => {
                let name = name.map(|name| name.to_string().parse()).transpose()?;
                let container = context.container(name.as_ref())?;
                container.wait_healthy(self.timeout.unwrap_or(HEALTH_PATIENCE))?;
                return Ok(exit::SUCCESS);
            }
        };
        let container = context.container(None)?;
        match container.wait(&process, self.timeout)? {
            Some(end) => ends::code(&container, &process, &end),
            None => bail!("process {process} has not ended; its container is {}", container.name()),
        }
    }
}
