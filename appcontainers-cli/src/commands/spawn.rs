//! `appc spawn`

use appcontainers::{ProcessName, RestartPolicy, SpawnOptions};
use clap::ValueEnum;
use serde::Serialize;

use super::command_args::ProgramArgs;
use crate::context::Context;

/// Start a process in the background of a container that runs
///
/// Prints the process's number. Its output goes to the container's log ('appc logs', 'appc attach'), its input is
/// empty. It ends with the container.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "appc spawn [OPTIONS] [--] CMD [ARG]...",
    after_help = "\
Examples:
  appc spawn -- ./worker --queue mail
  appc spawn --name web --restart always -- ./app --port 80
  appc attach $(appc spawn -- make)

Exit codes: 0 once it runs, 127 not found, 126 not executable, 125 appc itself failed."
)]
pub(crate) struct Args {
    /// A name for the process, beside its number
    #[arg(long, value_name = "NAME")]
    name: Option<ProcessName>,
    /// When to start it again after its end: with a growing pause, and under a new number
    #[arg(long, value_name = "WHEN", default_value = "no")]
    restart: Restart,
    #[command(flatten)]
    program: ProgramArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Restart {
    No,
    OnFailure,
    Always,
}

impl From<Restart> for RestartPolicy {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::No => RestartPolicy::No,
            Restart::OnFailure => RestartPolicy::OnFailure,
            Restart::Always => RestartPolicy::Always,
        }
    }
}

#[derive(Serialize)]
struct Spawned {
    process: u32,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        self.program.check("spawn");
        let container = context.container(None)?;
        let options = SpawnOptions { name: self.name, restart: self.restart.into() };
        let command = self.program.into_command()?;
        let process = container.spawn(command, options)?;
        context.print(&Spawned { process: process.0 }, |spawned| format!("{}\n", spawned.process))
    }
}
