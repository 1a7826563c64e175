//! `appc mount`

use appcontainers::{ContainerName, Mount};

use super::mount_args::bind;
use crate::context::Context;

/// Mount a file or directory of this host into a container, also while it runs
///
/// It is there at each start from now on, until 'appc unmount'. Owners are as they are here: what belongs to root on this host
/// belongs to root in the container. Devices and set-user-id programs in it are none, and what is mounted below it on
/// this host is not shown. Links in SRC are followed now and never again; in PATH, none is followed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc mount web /srv/site:/var/www:ro
  appc mount web ./app.conf:/etc/app.conf
  appc unmount web /var/www")]
pub(crate) struct Args {
    /// The container
    name: ContainerName,
    /// What, and where in the container; with ':ro' nobody in there can write to it
    #[arg(value_name = "SRC:PATH[:ro]", value_parser = bind)]
    mount: Mount,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.name))?.mount(self.mount)?)
    }
}
