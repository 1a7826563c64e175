//! `appc load-image`

use appcontainers::{ContainerName, ImageSource, Init, LoadOptions, NetworkMode, network::policy::Egress};
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::{env_args::EnvArgs, file_args::FileArgs, settings_args::SettingsArgs, values};
use crate::{context::Context, progress::Bars};

/// Make a container from an image and print its name
///
/// A file is checked, every byte of it, and taken into the store under the name that it carries; from then on that
/// name loads it in an instant. The container becomes this session's current one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc load-image app.aimg
  appc load-image app --name app-2       from the store
  appc load-image app --secret tls:/etc/app/key.pem:0440:root:app
  appc load-image app.aimg --ephemeral   gone, with its files, when it stops")]
pub(crate) struct Args {
    /// A file (app.aimg, ./app), or the name of an image in the store
    #[arg(value_name = "FILE.aimg|NAME", value_parser = OsStringValueParser::new().try_map(values::image_source))]
    image: ImageSource,
    /// Remove the container, with its files, when it stops for the first time
    #[arg(long)]
    ephemeral: bool,
    /// Name the container [default: a name that is free]
    #[arg(long)]
    name: Option<ContainerName>,
    /// Run without a user namespace: root in the container is root on this host
    #[arg(long)]
    privileged: bool,
    /// Its process 1: the agent, or the image's own /sbin/init, with the agent beside it
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
        let Self { image, ephemeral, name, privileged, init, egress, network, settings, files, env } = self;
        let (settings, files, env) = (settings.into_settings()?, files.into_files(), env.collect()?);
        let options = LoadOptions { ephemeral, name, privileged, init, egress, network, settings, files, env };
        context.announce(&context.service.load_image_with(&image, &options, &Bars::default())?)
    }
}
