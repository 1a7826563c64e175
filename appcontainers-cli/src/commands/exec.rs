//! `appc exec`

use super::command_args::CommandArgs;
use crate::context::Context;

/// Run a command in a container that runs
///
/// Its standard output and standard error come apart and as they are written; signals go to it; its exit code is
/// appc's. The container and what else runs in it go on as before.
///
/// With -t the command has a terminal of its own, whose size follows this one's. Signals then go to what runs in its
/// foreground, and all but INT and QUIT to the command, too. What keeps its terminal when the command has ended goes on.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "appc exec [OPTIONS] [--] CMD [ARG]...",
    after_help = "\
Examples:
  appc exec -- ps
  appc exec -it -- top                             on this terminal
  appc exec -i -- tar x -C /srv < files.tar
  appc exec --rlimit nofile=1024:4096 -- ./app

Exit codes: the command's own, 128+N where signal N ended it, 127 not found, 126 not executable,
125 where appc itself failed."
)]
pub(crate) struct Args {
    /// Pass standard input on; without it the command has none
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    pub(super) command: CommandArgs,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        self.command.check("exec");
        let container = context.container(None)?;
        let (command, streams) = self.command.into_command(self.interactive)?;
        Ok(container.exec_with(command, streams)?.shell_code())
    }
}
