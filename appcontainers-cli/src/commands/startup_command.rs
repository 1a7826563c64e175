//! `appc startup-command`

use std::num::NonZeroUsize;

use serde::Serialize;

use super::values;
use crate::{context::Context, render};

/// Say what runs when a container starts
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Add(Add),
    Ls(Ls),
    Rm(Rm),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Add(args) => args.execute(context),
            Command::Ls(args) => args.execute(context),
            Command::Rm(args) => args.execute(context),
        }
    }
}

/// Add a command that runs at every 'appc start'
///
/// One word is a line for the container's /bin/sh; of several words each stays one word. Saved images carry startup
/// commands. 'appc add-startup-command' is the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc startup-command add ./app --port 80
  appc startup-command add 'exec ./app >> /var/log/app.log'")]
pub(crate) struct Add {
    /// The command, to the end of the line
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Add {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(None)?.add_startup_command(&shell_line(&self.command))?)
    }
}

/// List startup commands with their numbers
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

/// One startup command of a listing.
#[derive(Debug, Serialize)]
struct Listed {
    index: usize,
    command: String,
}

impl Ls {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let commands = context.container(None)?.startup_commands()?;
        let listed: Vec<Listed> = (1..).zip(commands).map(|(index, command)| Listed { index, command }).collect();
        context.print(&listed, |listed| text(listed))
    }
}

/// Remove a startup command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  appc startup-command rm 1")]
pub(crate) struct Rm {
    /// Its number in 'appc startup-command ls'
    #[arg(value_name = "N", value_parser = values::number)]
    index: NonZeroUsize,
}

impl Rm {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(None)?.remove_startup_command(self.index.get())?)
    }
}

fn text(listed: &[Listed]) -> String {
    render::table(["N", "COMMAND"], listed.iter().map(|line| [line.index.to_string(), line.command.clone()]))
}

/// `words` as a line for a shell. One word is taken for a line already.
fn shell_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_words_reach_the_program_as_they_are() {
        let line = |words: &[&str]| shell_line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["./app --port $PORT"]), "./app --port $PORT");
        assert_eq!(line(&["./app", "--port", "80"]), "./app --port 80");
        assert_eq!(line(&["echo", "it's $HOME", ""]), r"echo 'it'\''s $HOME' ''");
    }

    #[test]
    fn commands_are_listed_with_the_number_that_rm_takes() {
        let listed =
            [Listed { index: 1, command: "./app".to_owned() }, Listed { index: 2, command: "a\nb".to_owned() }];
        render::assert_documented("appc startup-command ls", &listed[0]);
        assert_eq!(text(&listed), "N  COMMAND\n1  ./app\n2  a\\nb\n");
    }
}
