//! `appc run`

use appcontainers::{Command, Container, ImageSource, LoadOptions, RunStreams};
use clap::{
    CommandFactory as _,
    builder::{OsStringValueParser, TypedValueParser as _},
    error::ErrorKind,
};

use super::values;
use crate::{cli::Cli, context::Context, progress::Bars, signals, stdio};

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
    /// Set a variable for the command
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::variable)]
    env: Vec<(String, String)>,
    /// Start the command in this directory [default: the image's, else the user's home]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, by name or number [default: the image's, else root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Args {
    pub(super) fn execute(mut self, context: &Context) -> anyhow::Result<u8> {
        self.check(context)?;
        let image = self.image.take();
        let container = self.container(image.as_ref(), context)?;
        let remove = self.rm;
        let streams = RunStreams { signals: Some(signals::forwarded()?), ..RunStreams::inherit()? };
        let outcome = container.run_with(self.into_command(), streams);
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
        if self.command.is_empty() {
            usage(ErrorKind::MissingRequiredArgument, "no command to run; type it behind '--': appc run -- ls -l");
        }
        if self.image.is_some() && context.is_flagged() {
            usage(ErrorKind::ArgumentConflict, "--image makes a container of its own: it can't be used with -c");
        }
        if self.rm && self.image.is_none() && context.named(None)?.is_none() {
            let message = "--rm removes the container with all its files: name it with -c NAME, or use --image";
            usage(ErrorKind::MissingRequiredArgument, message);
        }
        Ok(())
    }

    fn container(&self, image: Option<&ImageSource>, context: &Context) -> anyhow::Result<Container> {
        let Some(image) = image else { return context.container(None) };
        let options = LoadOptions { ephemeral: self.rm, name: None };
        let container = context.service.load_image_with(image, &options, &Bars::default())?;
        if !self.rm {
            context.make_current(&container)?;
            stdio::note(&format!("container {} (now this session's current one)", container.name()));
        }
        Ok(container)
    }

    fn into_command(self) -> Command {
        Command { argv: self.command, env: self.env.into_iter().collect(), working_dir: self.workdir, user: self.user }
    }
}

/// Ends the program as clap does for what it finds wrong itself: message, usage, exit code 2.
fn usage(kind: ErrorKind, message: &str) -> ! {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut("run") {
        Some(run) => run.error(kind, message).exit(),
        None => cli.error(kind, message).exit(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands;

    fn run(line: &[&str]) -> Args {
        match Cli::parse_from([&["appc"], line].concat()).command {
            commands::Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_behind_the_command_are_the_commands_own() {
        for line in [
            &["run", "-w", "/srv", "--", "sh", "-c", "echo", "--json", "-v"][..],
            &["run", "-w", "/srv", "sh", "-c", "echo", "--json", "-v"],
        ] {
            let command = run(line).into_command();
            assert_eq!(command.argv, ["sh", "-c", "echo", "--json", "-v"]);
            assert_eq!(command.working_dir.as_deref(), Some("/srv"));
        }
    }

    #[test]
    fn two_dashes_behind_the_command_are_kept() {
        assert_eq!(run(&["run", "--", "sh", "--", "x"]).into_command().argv, ["sh", "--", "x"]);
        assert_eq!(run(&["run", "sh", "--", "x"]).into_command().argv, ["sh", "--", "x"]);
    }

    #[test]
    fn the_last_of_two_equal_variables_wins() {
        let command = run(&["run", "-e", "A=1", "--env", "B=2=3", "-e", "A=", "--", "env"]).into_command();
        let variables: Vec<_> = command.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(variables, [("A", ""), ("B", "2=3")]);
    }
}
