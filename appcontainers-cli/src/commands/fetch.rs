//! `appc fetch`

use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use appcontainers::{FetchDestination, FetchOptions};

use crate::{context::Context, progress::Bars};

/// Copy files from a container, running or stopped, to the host
///
/// As 'cp -a' does: into DEST if that is a directory of the host, otherwise DEST is what SRC becomes. Modes, owners (as
/// numbers), times, links, extended attributes and holes are kept. Nothing outside of DEST is touched, whatever is in
/// the container: links are copied and never followed, what grants rights on the host is dropped, device nodes are an
/// error ('appc fetch SRC -' has them). What is mounted below SRC and sockets are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc fetch /var/log/app.log .              ./app.log
  appc fetch /srv/www ./site                 ./site/www if ./site is there, else ./site
  appc fetch /srv/www/. ./site               what is in /srv/www
  appc fetch /srv/www - | tar t")]
pub(crate) struct Args {
    /// A file or directory of the container; relative paths start from where its commands do
    #[arg(value_name = "SRC")]
    source: String,
    /// Where it goes on the host; '-' writes a tar to standard output
    #[arg(value_name = "DEST|-")]
    dest: PathBuf,
    /// Keep set-user-ID and set-group-ID bits, file capabilities and trusted attributes on the host
    #[arg(long)]
    keep_privileges: bool,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let dest = if self.dest.as_os_str() == "-" {
            if io::stdout().is_terminal() {
                bail!("a tar would go to standard output, which is a terminal: appc fetch {} - > FILE", self.source);
            }
            let stdout = io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?;
            FetchDestination::Tar(stdout.into())
        } else {
            FetchDestination::Path(self.dest)
        };
        let options = FetchOptions { keep_privileges: self.keep_privileges };
        Ok(context.container(None)?.fetch(&self.source, dest, options, &Bars::default())?)
    }
}
