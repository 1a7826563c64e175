//! `appc put`

use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use appcontainers::{PutOptions, PutSource};

use crate::{context::Context, progress::Bars};

/// Copy files from the host into a container, running or stopped
///
/// As 'cp -a' does: into DEST if that is a directory of the container, otherwise DEST is what SRC becomes. Modes, owners
/// (as numbers), times, links, extended attributes and holes are kept. What is mounted below SRC is left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc put app.conf /etc/app/                /etc/app/app.conf
  appc put ./site /srv/www                   /srv/www/site if /srv/www is there, else /srv/www
  appc put ./site/. /srv/www                 what is in site
  appc put --owner app:app key.pem /home/app
  tar c ./site | appc put - /srv")]
pub(crate) struct Args {
    /// A file or directory of the host; '-' is a tar on standard input, plain or compressed
    #[arg(value_name = "SRC|-")]
    source: PathBuf,
    /// Where it goes in the container; relative paths start from where its commands do
    #[arg(value_name = "DEST")]
    dest: String,
    /// Give everything to this user of the container [default: owners are kept, as numbers]
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<String>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let source = if self.source.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                bail!("a tar is expected on standard input, which is a terminal: tar c DIR | appc put - {}", self.dest);
            }
            PutSource::Tar(io::stdin().as_fd().try_clone_to_owned().context("cannot read standard input")?.into())
        } else {
            PutSource::Path(self.source)
        };
        let options = PutOptions { owner: self.owner };
        Ok(context.container(None)?.put(source, &self.dest, &options, &Bars::default())?)
    }
}
