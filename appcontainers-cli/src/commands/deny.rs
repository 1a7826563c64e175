//! `appc deny`

use appcontainers::container::Source;

use super::values::NameAndPort;
use crate::context::Context;

/// Take back what 'appc allow' gave
///
/// Connections that are open end at once, unless something else allows them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc deny web db:5432
  appc deny web db                    all that web was allowed of db
  appc deny 192.0.2.0/24 web")]
pub(crate) struct Args {
    /// Who may connect no more: a container, or a network as it was allowed
    #[arg(value_name = "FROM")]
    from: Source,
    /// The container, with a port, or all that was allowed of it
    #[arg(value_name = "TO[:PORT[/udp]]")]
    to: NameAndPort,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(Some(&self.to.name))?.deny(&self.from, self.to.port)?)
    }
}
