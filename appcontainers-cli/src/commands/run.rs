//! `appc run`

use appcontainers::{BootFile, Container, ImageSource, LoadOptions, NetworkMode, Settings, network::policy::Egress};
use clap::{
    builder::{OsStringValueParser, TypedValueParser as _},
    error::ErrorKind,
};

use super::{
    command_args::{CommandArgs, usage},
    file_args::FileArgs,
    settings_args::SettingsArgs,
    values,
};
use crate::{context::Context, progress::Bars, stdio};

/// Run a command in a container
///
/// Its standard output and standard error come apart and as they are written; standard input and signals go to it;
/// its exit code is appc's. A container that is stopped is started first and stopped afterwards.
///
/// A command may be nearly 1 MiB long with its environment, each word of it 128 KiB.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "appc run [OPTIONS] [--] CMD [ARG]...",
    after_help = "\
Examples:
  appc run -- ./app --port 80
  appc run sh -c 'echo $HOME'                      no '--' needed: options end at the first word
  appc run -e LANG=C -w /srv -u app -- make
  appc run -t -- sh                                on this terminal
  appc run --rm --image app.aimg -- ./app          load the image, run, remove the container

Exit codes: the command's own, 128+N where signal N ended it, 127 not found, 126 not executable,
125 where appc itself failed."
)]
pub(crate) struct Args {
    /// Remove the container afterwards, with all that was written in it
    #[arg(long)]
    rm: bool,
    /// Run in a new container of this image: a file (app.aimg) or a name from the store
    #[arg(long, value_name = "FILE.aimg|NAME", value_parser = OsStringValueParser::new().try_map(values::image_source))]
    image: Option<ImageSource>,
    /// With --image: without a user namespace; root in the new container is root on this host
    #[arg(long, requires = "image")]
    privileged: bool,
    /// With --image: where the new container may connect to outside [default: all]
    #[arg(long, requires = "image", value_name = "all|none|CIDR,…", value_parser = values::egress)]
    egress: Option<Egress>,
    /// With --image: connect the new container to the host by an interface of its own, or as a port of the bridge
    #[arg(long, requires = "image", value_name = "routed|bridge", value_parser = values::network_mode)]
    network: Option<NetworkMode>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    files: FileArgs,
    /// Standard input is always passed on: this is for those who are used to typing -it
    #[arg(short, long, hide = true)]
    interactive: bool,
    #[command(flatten)]
    command: CommandArgs,
}

impl Args {
    pub(super) fn execute(mut self, context: &Context) -> anyhow::Result<u8> {
        self.check(context)?;
        let image = self.image.take();
        let settings = std::mem::take(&mut self.settings).into_settings()?;
        if image.is_none() && !(settings.is_default() && self.files.is_empty()) {
            let message = "what a new container is given needs one: use it with --image";
            usage("run", ErrorKind::MissingRequiredArgument, message);
        }
        let files = std::mem::take(&mut self.files).into_files();
        let container = self.container(image.as_ref(), settings, files, context)?;
        let remove = self.rm;
        let (command, streams) = self.command.into_command(true)?;
        let outcome = container.run_with(command, streams);
        if !remove {
            return Ok(outcome?.shell_code());
        }
        let removed = match image {
            // An ephemeral container went with its stop; it is there only if it was never started.
            Some(_) if outcome.is_ok() => Ok(()),
            _ => container.remove(true),
        };
        let status = outcome?;
        removed?;
        Ok(status.shell_code())
    }

    /// Wrong usage that clap can't see ends here, as all wrong usage does.
    fn check(&self, context: &Context) -> anyhow::Result<()> {
        self.command.check("run");
        if self.image.is_some() && context.is_flagged() {
            usage("run", ErrorKind::ArgumentConflict, "--image makes a container of its own: it can't be used with -c");
        }
        if self.rm && self.image.is_none() && context.named(None)?.is_none() {
            let message = "--rm removes the container with all its files: name it with -c NAME, or use --image";
            usage("run", ErrorKind::MissingRequiredArgument, message);
        }
        Ok(())
    }

    fn container(
        &self,
        image: Option<&ImageSource>,
        settings: Settings,
        files: Vec<BootFile>,
        context: &Context,
    ) -> anyhow::Result<Container> {
        let Some(image) = image else { return context.container(None) };
        let options = LoadOptions {
            ephemeral: self.rm,
            privileged: self.privileged,
            egress: self.egress.clone().unwrap_or_default(),
            network: self.network.unwrap_or_default(),
            settings,
            files,
            // Also for what is run in it later.
            env: self.command.environment()?,
            ..LoadOptions::default()
        };
        let container = context.service.load_image_with(image, &options, &Bars::default())?;
        if !self.rm {
            context.make_current(&container)?;
            stdio::note(&format!("container {} (now this session's current one)", container.name()));
        }
        Ok(container)
    }
}
