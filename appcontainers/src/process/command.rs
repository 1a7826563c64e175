//! What to run.

use std::collections::BTreeMap;

use appcontainers_wire::{ProcessSpec, ResourceLimit, TerminalSize};

use super::{
    RunStreams,
    terminal::{self, Terminal},
};
use crate::image::ImageConfig;

/// A command for a container; what it leaves open comes from the container's configuration.
///
/// # Examples
///
/// ```
/// use appcontainers::Command;
///
/// assert_eq!(Command::from("echo $HOME | tr a-z A-Z").argv, ["/bin/sh", "-c", "echo $HOME | tr a-z A-Z"]);
/// let command = Command {
///     env: [("LANG".to_owned(), "C.UTF-8".to_owned())].into(),
///     working_dir: Some("/srv".to_owned()),
///     ..["ls", "-l"].into()
/// };
/// assert_eq!(command.argv, ["ls", "-l"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments, not empty.
    pub argv: Vec<String>,
    /// Environment beside and over the container's.
    pub env: BTreeMap<String, String>,
    /// Where it starts, instead of the container's working directory.
    pub working_dir: Option<String>,
    /// Who runs it, instead of the container's user.
    pub user: Option<String>,
    /// The size of the terminal that it gets: its standard streams are one, and all that it prints is standard output.
    pub tty: Option<TerminalSize>,
    /// Run the user's login shell; `argv` holds only its arguments.
    pub login_shell: bool,
    /// Limits of its own; a hard limit above the container's is refused.
    pub rlimits: Vec<ResourceLimit>,
}

impl From<&str> for Command {
    /// A line for the container's `/bin/sh -c`.
    fn from(line: &str) -> Self {
        Self { argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()], ..Self::default() }
    }
}

impl<const N: usize> From<[&str; N]> for Command {
    fn from(argv: [&str; N]) -> Self {
        Self { argv: argv.map(str::to_owned).to_vec(), ..Self::default() }
    }
}

impl From<Vec<String>> for Command {
    fn from(argv: Vec<String>) -> Self {
        Self { argv, ..Self::default() }
    }
}

/// The variable that says what kind of terminal there is.
const TERM: &str = "TERM";

impl Command {
    /// The login shell of the container's user: the one that its `/etc/passwd` names, else `/bin/sh`.
    pub fn login_shell() -> Self {
        Self { login_shell: true, ..Self::default() }
    }

    /// Gives the command a terminal of the size of the caller's, and of its kind unless the command has a `TERM` of its
    /// own. Where these streams are on no terminal ([`RunStreams::with_terminal`]) it has 24 lines of 80 characters.
    pub fn on_terminal_of(mut self, streams: &RunStreams) -> Self {
        self.tty = Some(streams.terminal.as_ref().map_or(terminal::DEFAULT_SIZE, Terminal::size));
        if let Ok(kind) = std::env::var(TERM)
            && streams.terminal.is_some()
        {
            self.env.entry(TERM.to_owned()).or_insert(kind);
        }
        self
    }

    /// The command as the agent takes it, completed from the container's configuration.
    pub(crate) fn complete(self, config: &ImageConfig, stdin: bool) -> ProcessSpec {
        let mut env = config.env.clone();
        env.extend(self.env);
        ProcessSpec {
            argv: self.argv,
            env: env.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
            working_dir: self.working_dir.or_else(|| config.working_dir.clone()),
            user: self.user.or_else(|| config.user.clone()),
            stdin,
            tty: self.tty,
            login_shell: self.login_shell,
            rlimits: self.rlimits,
            file_operation: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_leaves_open_comes_from_the_container() {
        let config = ImageConfig {
            env: BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]),
            user: Some("app".to_owned()),
            working_dir: Some("/srv".to_owned()),
            ..ImageConfig::default()
        };
        let mut command = Command::from("echo $A");
        command.env.insert("B".to_owned(), "3".to_owned());
        command.working_dir = Some("/".to_owned());
        let spec = command.complete(&config, false);
        assert_eq!(spec.argv, ["/bin/sh", "-c", "echo $A"]);
        assert_eq!(spec.env, ["A=1", "B=3"]);
        assert_eq!((spec.user.as_deref(), spec.working_dir.as_deref()), (Some("app"), Some("/")));
    }
}
