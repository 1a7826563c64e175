//! Variables for commands: options of every command that runs one, or makes a container.

use std::{collections::BTreeMap, path::PathBuf};

use appcontainers::environment;

/// Options for variables.
#[derive(Debug, Default, clap::Args)]
pub(super) struct EnvArgs {
    /// Set a variable for the command, or for all commands of a new container; KEY alone has its value from here
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = variable)]
    env: Vec<String>,
    /// Set the variables that this file has: KEY=VALUE lines, '#' comments, quotes are nothing special
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

impl EnvArgs {
    pub(super) fn collect(&self) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(environment::collect(&self.env_file, &self.env)?)
    }
}

/// One that is none is wrong usage, said before anything else is looked at.
fn variable(text: &str) -> Result<String, environment::EnvironmentError> {
    environment::collect(&[], &[text.to_owned()]).map(|_| text.to_owned())
}
