//! `appc setup`

use appcontainers::SetupOptions;
use ipnetwork::Ipv4Network;

use super::values;
use crate::{context::Context, stdio};

/// Prepare this host: directories, subordinate ids, skeletons, network
///
/// Says what it changed. Doing it twice is harmless, and it is rarely needed: the first provision or load-image sets
/// the host up by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc setup
  appc setup --subnet 10.99.0.0/16    addresses of containers come from this network
  appc setup --undo                   take everything back, while no containers exist")]
pub(crate) struct Args {
    /// Give containers addresses from this network [default: a free /16 of this host]
    #[arg(long, value_name = "CIDR", value_parser = values::network)]
    subnet: Option<Ipv4Network>,
    /// Take back what setup has changed; refused while containers exist
    #[arg(long, conflicts_with = "subnet")]
    undo: bool,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let changes = if self.undo {
            context.service.undo_setup()?
        } else {
            context.service.set_up(&SetupOptions { subnet: self.subnet })?
        };
        if changes.is_empty() {
            stdio::note(if self.undo { "nothing to undo" } else { "this host is set up already" });
        }
        context.print(&changes, |changes| changes.iter().map(|change| format!("{change}\n")).collect())
    }
}
