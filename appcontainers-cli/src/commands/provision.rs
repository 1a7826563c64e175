//! `appc provision`

use appcontainers::{ContainerName, Hostname, ImageName, Init, NetworkMode, ProvisionOptions, network::policy::Egress};

use super::{env_args::EnvArgs, file_args::FileArgs, settings_args::SettingsArgs, values};
use crate::context::Context;

/// Make a container from a base and print its name
///
/// The container gets a name, an address, a MAC and a range of ids of its own and keeps them until 'appc rm'. It
/// becomes this session's current container: the commands that follow mean it. On a fresh host this sets everything
/// up first and builds the base, without network.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc provision
  appc provision --name web --base debian-12 --autostart
  appc provision --file app.conf.tera:/etc/app/app.conf:0640:root:www --env-file app.env --secret db
  name=$(appc provision)              the name alone is on standard output")]
pub(crate) struct Args {
    /// Start from this base [default: busybox]
    #[arg(long)]
    base: Option<ImageName>,
    /// Name the container [default: a name that is free]
    #[arg(long)]
    name: Option<ContainerName>,
    /// Give it this host name [default: its name]
    #[arg(long)]
    hostname: Option<Hostname>,
    /// Run without a user namespace: root in the container is root on this host
    #[arg(long)]
    privileged: bool,
    /// Start it when the host boots (see 'appc autostart')
    #[arg(long)]
    autostart: bool,
    /// Its process 1: the agent, or the base's own /sbin/init, with the agent beside it
    #[arg(long, value_name = "app|system", default_value = "app", value_parser = values::init)]
    init: Init,
    /// Where it may connect to outside
    #[arg(long, value_name = "all|none|CIDR,…", default_value = "all", value_parser = values::egress)]
    egress: Egress,
    /// Connect it to the host by an interface of its own, or as a port of the bridge; the rules are the same
    #[arg(long, value_name = "routed|bridge", default_value = "routed", value_parser = values::network_mode)]
    network: NetworkMode,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    env: EnvArgs,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self { base, name, hostname, privileged, autostart, init, egress, network, settings, files, env } = self;
        let (settings, files, env) = (settings.into_settings()?, files.into_files(), env.collect()?);
        let options = ProvisionOptions {
            base,
            name,
            hostname,
            privileged,
            autostart,
            init,
            egress,
            network,
            settings,
            files,
            env,
        };
        context.announce(&context.service.provision_with(&options)?)
    }
}
