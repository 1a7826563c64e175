//! `appc completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{cli::Cli, stdio};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc completions bash > /etc/bash_completion.d/appc
  appc completions zsh  > /usr/local/share/zsh/site-functions/_appc
  appc completions fish > ~/.config/fish/completions/appc.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "appc", &mut script);
        stdio::print(&String::from_utf8(script)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "appc", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("load-archive"), "{shell}");
        }
    }
}
