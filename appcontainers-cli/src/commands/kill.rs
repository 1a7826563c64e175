//! `appc kill`

use appcontainers::process::ProcessRef;

use super::values;
use crate::context::Context;

/// Send a signal to a process and its group
///
/// A process that ends on INT, QUIT, KILL or TERM is not started again, whatever its restart policy is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc kill 3
  appc kill -s HUP web")]
pub(crate) struct Args {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIG", default_value = "TERM", value_parser = values::signal)]
    signal: u8,
    /// The processes, by number or name
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<ProcessRef>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let container = context.container(None)?;
        for process in &self.processes {
            container.kill(process, self.signal)?;
        }
        Ok(())
    }
}
