//! `appc shell`

use appcontainers::Command;

use super::command_args::on_terminal;
use crate::context::Context;

/// Open a login shell in a container that runs
///
/// The shell is the one that the container's /etc/passwd names for the user, else /bin/sh. It has a terminal, whose size
/// follows this one's.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc shell
  appc -c web shell -u app

Exit codes: the shell's own, 128+N where signal N ended it, 125 where appc itself failed.")]
pub(crate) struct Args {
    /// Log in as this user, by name or number [default: the image's, else root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        let container = context.container(None)?;
        let (command, streams) = on_terminal(Command { user: self.user, ..Command::login_shell() }, true)?;
        Ok(container.exec_with(command, streams)?.shell_code())
    }
}
