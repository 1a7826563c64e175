//! `appc down`

use std::{path::PathBuf, time::Duration};

use appcontainers::AppFile;

use super::values;
use crate::{context::Context, stdio};

/// Stop an app file's container and remove it, with all that was written in it
///
/// The image, what builds remember and volumes stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc down
  appc down -f shop/appc.toml --timeout 30")]
pub(crate) struct Args {
    /// The app file
    #[arg(short, long, value_name = "FILE", default_value = "appc.toml")]
    file: PathBuf,
    /// KILL what has not ended after this
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let file = AppFile::read(&self.file)?;
        match context.service.down(&file, self.timeout)? {
            Some(name) => stdio::note(&format!("container {name}: removed")),
            None => stdio::note("nothing is up"),
        }
        Ok(())
    }
}
