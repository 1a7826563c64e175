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
  appc man --output /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// Write appc.1, appc-run.1 and so on into this directory
    #[arg(long, value_name = "DIR")]
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
                clap_mangen::Man::new(Cli::command()).render(&mut page).context("cannot render the manual page")?;
                stdio::print(&String::from_utf8(page)?)
            }
        }
    }
}
