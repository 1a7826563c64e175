//! What `run`, `exec` and `spawn` are told of their command alike.

use std::collections::BTreeMap;

use appcontainers::{Command, ResourceLimit, RunStreams};
use clap::{CommandFactory as _, error::ErrorKind};

use super::env_args::EnvArgs;
use crate::{cli::Cli, signals, stdio};

/// A foreground command, and whether it gets a terminal.
#[derive(Debug, clap::Args)]
pub(super) struct CommandArgs {
    /// Give the command a terminal, as large as this one
    #[arg(short, long)]
    tty: bool,
    #[command(flatten)]
    program: ProgramArgs,
}

/// The command and what it gets.
#[derive(Debug, clap::Args)]
pub(super) struct ProgramArgs {
    #[command(flatten)]
    env: EnvArgs,
    /// Start the command in this directory [default: the image's, else the user's home]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, by name or number [default: the image's, else root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Limit a resource, as nofile=1024:4096: as, core, cpu, data, fsize, memlock, nofile, nproc, stack
    #[arg(long, value_name = "RESOURCE=SOFT[:HARD]")]
    rlimit: Vec<ResourceLimit>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

impl ProgramArgs {
    /// No command is wrong usage.
    pub(super) fn check(&self, of: &str) {
        if self.command.is_empty() {
            let message = format!("no command to run; type it behind '--': appc {of} -- ls -l");
            usage(of, ErrorKind::MissingRequiredArgument, &message);
        }
    }

    pub(super) fn into_command(self) -> anyhow::Result<Command> {
        Ok(Command {
            argv: self.command,
            env: self.env.collect()?,
            working_dir: self.workdir,
            user: self.user,
            rlimits: self.rlimit,
            ..Command::default()
        })
    }
}

impl CommandArgs {
    /// The variables that the command is given.
    pub(super) fn environment(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.program.env.collect()
    }

    /// No command is wrong usage.
    pub(super) fn check(&self, of: &str) {
        self.program.check(of);
    }

    /// The command, and the streams of this program for it.
    pub(super) fn into_command(self, with_input: bool) -> anyhow::Result<(Command, RunStreams)> {
        let command = self.program.into_command()?;
        if self.tty { on_terminal(command, with_input) } else { Ok((command, streams(with_input)?)) }
    }
}

/// A command that gets a terminal, and the streams of this program for it.
pub(super) fn on_terminal(command: Command, with_input: bool) -> anyhow::Result<(Command, RunStreams)> {
    let streams = streams(with_input)?.with_terminal()?;
    if with_input && !streams.terminal.as_ref().is_some_and(|terminal| terminal.is_raw()) {
        stdio::note("standard input and output are no terminal; the command has one, and gets what comes as it is");
    }
    Ok((command.on_terminal_of(&streams), streams))
}

fn streams(with_input: bool) -> anyhow::Result<RunStreams> {
    let streams = RunStreams { signals: Some(signals::forwarded()?), ..RunStreams::inherit()? };
    Ok(if with_input { streams } else { RunStreams { stdin: None, ..streams } })
}

/// Ends the program as clap does for what it finds wrong itself: message, usage, exit code 2.
pub(super) fn usage(of: &str, kind: ErrorKind, message: &str) -> ! {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut(of) {
        Some(command) => command.error(kind, message).exit(),
        None => cli.error(kind, message).exit(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands;

    fn command(line: &[&str]) -> Command {
        let commands::Command::Exec(args) = Cli::parse_from([&["appc"], line].concat()).command else {
            panic!("{line:?}")
        };
        args.command.into_command(false).unwrap().0
    }

    #[test]
    fn options_behind_the_command_are_the_commands_own() {
        for line in [
            &["exec", "-w", "/srv", "--", "sh", "-c", "echo", "--json", "-v"][..],
            &["exec", "-w", "/srv", "sh", "-c", "echo", "--json", "-v"],
        ] {
            let command = command(line);
            assert_eq!(command.argv, ["sh", "-c", "echo", "--json", "-v"]);
            assert_eq!(command.working_dir.as_deref(), Some("/srv"));
        }
    }

    #[test]
    fn two_dashes_behind_the_command_are_kept() {
        assert_eq!(command(&["exec", "--", "sh", "--", "x"]).argv, ["sh", "--", "x"]);
        assert_eq!(command(&["exec", "sh", "--", "x"]).argv, ["sh", "--", "x"]);
    }

    #[test]
    fn the_last_of_two_equal_variables_wins() {
        let command = command(&["exec", "-e", "A=1", "--env", "B=2=3", "-e", "A=", "--", "env"]);
        let variables: Vec<_> = command.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(variables, [("A", ""), ("B", "2=3")]);
    }

    #[test]
    fn limits_are_read_in_order() {
        let command = command(&["exec", "--rlimit", "nofile=1:2", "--rlimit", "core=unlimited", "--", "true"]);
        let limits: Vec<_> = command.rlimits.iter().map(ToString::to_string).collect();
        assert_eq!(limits, ["nofile=1:2", "core=unlimited:unlimited"]);
    }
}
