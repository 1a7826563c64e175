//! `appc secret`

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use appcontainers::{ContainerName, SecretDetails, SecretGrant, SecretName, SecretValue};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::{context::Context, render, stdio};

/// Keep secrets, and give them to containers
///
/// A secret is a small file (1 MiB at the most) that is encrypted on disk, and that a container has in memory alone:
/// at /run/secrets/NAME unless it is said otherwise. It is in no image, log, variable or listing.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Create(Create),
    Ls(Ls),
    Inspect(Inspect),
    Rotate(Rotate),
    Rm(Rm),
    Grant(Grant),
    Revoke(Revoke),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Create(args) => args.execute(context),
            Command::Ls(args) => args.execute(context),
            Command::Inspect(args) => args.execute(context),
            Command::Rotate(args) => args.execute(context),
            Command::Rm(args) => args.execute(context),
            Command::Grant(args) => args.execute(context),
            Command::Revoke(args) => args.execute(context),
        }
    }
}

/// Make a secret of a file, or of standard input
///
/// All bytes count, the last line end too. The first secret makes the key with which all are encrypted: keep a copy of
/// it elsewhere ('appc doctor' says where it is).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc secret create tls key.pem
  printf %s \"$password\" | appc secret create db
  appc provision --name web --secret db --secret tls:/etc/ssl/web.pem:0440:root:www")]
pub(crate) struct Create {
    /// Its name
    name: SecretName,
    /// What it is: a file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Create {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.create_secret(&self.name, value(&self.file)?)?)
    }
}

/// List the secrets, and which containers are given them
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

impl Ls {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.secrets()?, |secrets| table(secrets))
    }
}

/// Show what is known of a secret; never what it is
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Its name
    name: SecretName,
}

impl Inspect {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let secret = context.service.secret(&self.name)?;
        stdio::print(&if context.json { render::json(&secret)? } else { render::fields(&secret)? })
    }
}

/// Give a secret another value, in all containers that have it at once
///
/// Each file is replaced in one step. A program that has the old one open goes on with that until it opens it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc secret rotate tls new-key.pem && appc kill -s HUP nginx")]
pub(crate) struct Rotate {
    /// Its name
    name: SecretName,
    /// What it is from now on: a file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Rotate {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.rotate_secret(&self.name, value(&self.file)?)?)
    }
}

/// Remove a secret; refused while a container is given it
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Its name
    name: SecretName,
}

impl Rm {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.remove_secret(&self.name)?)
    }
}

/// Give a container a secret, also while it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc secret grant web db
  appc secret grant web tls:/etc/ssl/web.pem:0440:root:www")]
pub(crate) struct Grant {
    /// The container
    container: ContainerName,
    /// Which secret, where, for whom [default: at /run/secrets/NAME, 0400, root's]
    #[arg(value_name = "NAME[:PATH[:MODE[:OWNER]]]")]
    grant: SecretGrant,
}

impl Grant {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.container(&self.container)?.grant_secret(self.grant)?)
    }
}

/// Take a secret from a container, also while it runs
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The container
    container: ContainerName,
    /// The secret
    name: SecretName,
}

impl Revoke {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.container(&self.container)?.revoke_secret(&self.name)?)
    }
}

/// Reads a secret into this process, which leaves no core dump from then on.
fn value(file: &Path) -> anyhow::Result<SecretValue> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if file != Path::new("-") {
        return Ok(SecretValue::from_file(file)?);
    }
    if std::io::stdin().is_terminal() {
        stdio::note("type the secret, then end it with ^D (twice, if it has no line end); it can be seen");
    }
    Ok(SecretValue::from_stdin()?)
}

fn table(secrets: &[SecretDetails]) -> String {
    let row = |secret: &SecretDetails| {
        let containers: Vec<_> = secret.containers.iter().map(ToString::to_string).collect();
        [
            secret.name.to_string(),
            render::size(secret.bytes),
            format!("{:.0}", secret.created),
            format!("{:.0}", secret.changed),
            if containers.is_empty() { "-".to_owned() } else { containers.join(",") },
        ]
    };
    render::table(["NAME", "SIZE", "CREATED", "CHANGED", "CONTAINERS"], secrets.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_a_table_without_what_they_are() {
        let secret = SecretDetails {
            name: "db".parse().unwrap(),
            created: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            changed: "2026-01-03T03:04:05.6Z".parse().unwrap(),
            bytes: 32,
            key: "01234567".to_owned(),
            containers: vec!["web".parse().unwrap(), "api".parse().unwrap()],
        };
        let expected = "\
NAME  SIZE  CREATED               CHANGED               CONTAINERS
db    32 B  2026-01-02T03:04:05Z  2026-01-03T03:04:05Z  web,api
";
        render::assert_documented("appc secret ls", &secret);
        assert_eq!(table(&[secret]), expected);
    }
}
