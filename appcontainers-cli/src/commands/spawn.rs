//! `appc spawn`

use appcontainers::{Command, ProcessName, RestartPolicy, SpawnOptions};
use clap::ValueEnum;
use serde::Serialize;

use super::values;
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
    /// Set a variable for the command
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::variable)]
    env: Vec<(String, String)>,
    /// Start the command in this directory [default: the image's, else the user's home]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, by name or number [default: the image's, else root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
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
        let container = context.container(None)?;
        let options = SpawnOptions { name: self.name, restart: self.restart.into() };
        let env = self.env.into_iter().collect();
        let command = Command { env, working_dir: self.workdir, user: self.user, ..Command::from(self.command) };
        let process = container.spawn(command, options)?;
        context.print(&Spawned { process: process.0 }, |spawned| format!("{}\n", spawned.process))
    }
}
