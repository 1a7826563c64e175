//! `appc load-archive`

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use anyhow::bail;
use appcontainers::ArchiveSource;

use crate::{context::Context, progress::Bars};

/// Unpack an archive into a container, running or stopped
///
/// The whole archive is checked first: one that is truncated, corrupt or would reach outside the container changes
/// nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc load-archive app.tar.gz
  appc load-archive app.tar.zst --into /srv/app
  tar c ./app | appc -c web load-archive -")]
pub(crate) struct Args {
    /// A .tar, .tar.gz, .tar.zst or .tar.xz; '-' is standard input
    #[arg(value_name = "FILE|-")]
    archive: PathBuf,
    /// Unpack below this directory of the container [default: its user's home directory]
    #[arg(long, value_name = "DIR")]
    into: Option<String>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let source =
            if self.archive.as_os_str() == "-" { ArchiveSource::Stdin } else { ArchiveSource::File(self.archive) };
        if matches!(source, ArchiveSource::Stdin) && io::stdin().is_terminal() {
            bail!("an archive is expected on standard input, which is a terminal: tar c DIR | appc load-archive -");
        }
        let container = context.container(None)?;
        Ok(container.load_archive_with(&source, self.into.as_deref(), &Bars::default())?)
    }
}
