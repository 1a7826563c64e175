//! `appc snapshot`

use std::num::NonZeroUsize;

use appcontainers::{ContainerName, SnapshotName, SnapshotOptions};

use super::snapshots;
use crate::{context::Context, progress::Bars};

/// Keep a container's files and configuration as they are now, and print the snapshot's name
///
/// A snapshot has what was written in the container, never its image, so it is made and restored as fast as that is copied. On btrfs
/// and XFS it shares its blocks with the container. A running container stands still while it is copied. Snapshots belong
/// to their container: they are renamed and removed with it.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  appc snapshot web before-upgrade
  appc snapshot web --keep 7          with the time as its name, and the oldest of those beyond 7 removed
  appc snapshot ls web
  appc snapshot rm web before-upgrade
  appc -c ls snapshot                 of a container that has the name of a subcommand"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// Name the snapshot [default: the time, as 20260102-030405]
    snapshot: Option<SnapshotName>,
    /// Remove the oldest of the snapshots that have the time as their name, until so many are left
    #[arg(long, value_name = "N")]
    keep: Option<NonZeroUsize>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Ls(snapshots::Args),
    Rm(Rm),
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self.command {
            Some(Command::Ls(args)) => return args.execute(context),
            Some(Command::Rm(args)) => return args.execute(context),
            None => {}
        }
        let options = SnapshotOptions { name: self.snapshot, keep: self.keep };
        let snapshot = context.container(self.name.as_ref())?.snapshot_with(&options, &Bars::default())?;
        context.print(&snapshot, |snapshot| format!("{}\n", snapshot.name))
    }
}

/// Remove a snapshot
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
struct Rm {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
    /// The snapshot
    snapshot: SnapshotName,
}

impl Rm {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.container(self.name.as_ref())?.remove_snapshot(&self.snapshot)?)
    }
}
