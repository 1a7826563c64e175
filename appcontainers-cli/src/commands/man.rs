//! `appc man`

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::{cli::Cli, stdio};

/// Print the manual page, or write one for every command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc man | man -l -
  appc man run | man -l -
  appc man --output /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// Print the page of this command, as: run, or image inspect
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write appc.1, appc-run.1 and so on into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

impl Args {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        match self.output {
            Some(dir) => {
                let failed = || format!("cannot write manual pages into {}", dir.display());
                fs::create_dir_all(&dir).with_context(failed)?;
                clap_mangen::generate_to(Cli::command(), &dir).with_context(failed)
            }
            None => {
                let mut page = Vec::new();
                let command = find(&self.command)?;
                clap_mangen::Man::new(command).render(&mut page).context("cannot render the manual page")?;
                stdio::print(&String::from_utf8(page)?)
            }
        }
    }
}

/// The command that `words` name, with the global options and the name that its page has (`appc-image-inspect`).
fn find(words: &[String]) -> anyhow::Result<clap::Command> {
    let mut all = Cli::command();
    all.build();
    let mut found = &all;
    for word in words {
        found = found
            .find_subcommand(word)
            .with_context(|| format!("there is no command {}; 'appc --help' lists them", words.join(" ")))?;
    }
    Ok(found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_by_the_words_that_one_types() {
        let name = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            find(&words)
                .map(|command| command.get_display_name().unwrap_or("appc").to_owned())
                .map_err(|error| error.to_string())
        };
        assert_eq!(name(&[]).unwrap(), "appc");
        assert_eq!(name(&["run"]).unwrap(), "appc-run");
        assert_eq!(name(&["image", "inspect"]).unwrap(), "appc-image-inspect");
        assert_eq!(name(&["rn"]).unwrap_err(), "there is no command rn; 'appc --help' lists them");
    }
}
