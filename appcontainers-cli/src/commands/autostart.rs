//! `appc autostart`

use appcontainers::ContainerName;

use super::values;
use crate::context::Context;

/// Say whether a container is started when the host boots
///
/// The service appcontainers-autostart of the Debian package does that, with 'appc start --autostart'.
#[derive(Debug, clap::Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  appc autostart web on
  appc autostart off       this session's current container"
)]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Whether it is started
    #[arg(value_name = "on|off", action = clap::ArgAction::Set, value_parser = values::on_or_off)]
    autostart: bool,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.set_autostart(self.autostart)?)
    }
}
