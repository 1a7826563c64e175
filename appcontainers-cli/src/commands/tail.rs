//! `appc tail`

use std::{io, os::fd::AsFd as _};

use anyhow::Context as _;
use appcontainers::TailOptions;

use crate::context::Context;

/// Show the end of a file in a container, and what is appended to it
///
/// With -f it goes on until the container stops or you end it, and follows the name: a log that is rotated is read to
/// its end, then the new one from its beginning.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc tail /var/log/app.log
  appc tail -f -n 0 /var/log/app.log         only what comes from now on
  appc tail -n 100 app/data/ledger.txt")]
pub(crate) struct Args {
    /// Go on with what is appended
    #[arg(short, long)]
    follow: bool,
    /// How many lines from the end
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: u64,
    /// A file of the container; relative paths start from where its commands do
    #[arg(value_name = "PATH")]
    path: String,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let stdout = io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?;
        let options = TailOptions { lines: self.lines, follow: self.follow };
        Ok(context.container(None)?.tail(&self.path, options, stdout.into())?)
    }
}
