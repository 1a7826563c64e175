//! What to run. Pure.

use std::collections::BTreeMap;

use appcontainers_wire::ProcessSpec;

use crate::image::ImageConfig;

/// A command for a container; what it leaves open comes from the container's configuration.
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

impl Command {
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
            ..ProcessSpec::default()
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
