//! `appc volume`

use appcontainers::{ContainerName, Mount, MountPath, SnapshotName, VolumeDetails, VolumeName};

use super::{mount_args, values};
use crate::{context::Context, progress::Bars, render, stdio};

/// Make and keep volumes: files that outlive containers, and that several may share
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  appc volume create data --size 1G
  appc provision --name db --volume data:/var/lib/db
  appc volume attach web data:/srv/data:ro     also while web runs
  appc volume snapshot data before-upgrade
  appc volume rollback data before-upgrade     while nothing runs with it
  appc volume detach db data && appc volume rm data")]
pub(crate) enum Command {
    Create(Create),
    Ls(Ls),
    Inspect(Inspect),
    Attach(Attach),
    Detach(Detach),
    Snapshot(Snapshot),
    Rollback(Rollback),
    RmSnapshot(RmSnapshot),
    Clone(Clone),
    Rm(Rm),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Create(args) => Ok(context.service.create_volume(&args.name, args.size)?),
            Command::Ls(_) => context.print(&context.service.volumes()?, |volumes| table(volumes)),
            Command::Inspect(args) => {
                let details = context.service.volume(&args.name)?;
                stdio::print(&if context.json { render::json(&details)? } else { render::fields(&details)? })
            }
            Command::Attach(args) => Ok(context.container(Some(&args.container))?.mount(args.volume)?),
            Command::Detach(args) => args.execute(context),
            Command::Snapshot(args) => args.execute(context),
            Command::Rollback(args) => {
                Ok(context.service.roll_volume_back(&args.name, &args.snapshot, &Bars::default())?)
            }
            Command::RmSnapshot(args) => Ok(context.service.remove_volume_snapshot(&args.name, &args.snapshot)?),
            Command::Clone(args) => Ok(context.service.clone_volume(&args.name, &args.new, &Bars::default())?),
            Command::Rm(args) => Ok(context.service.remove_volume(&args.name)?),
        }
    }
}

/// Make an empty volume
///
/// With a size, it is a file system of its own that holds no more: its room is taken from this host's disk at once. Without one it
/// can fill the disk.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Its name
    name: VolumeName,
    /// What it can hold at the most, as 512M, 10G
    #[arg(long, value_parser = values::bytes)]
    size: Option<u64>,
}

/// List the volumes
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

/// Show a volume: its size, its snapshots, who has it
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The volume
    name: VolumeName,
}

/// Mount a volume into a container, also while it runs
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// The container
    container: ContainerName,
    /// The volume, and where in the container; with ':ro' nobody in there can write to it
    #[arg(value_name = "NAME:PATH[:ro]", value_parser = mount_args::volume)]
    volume: Mount,
}

/// Take a volume out of a container, also while it runs
///
/// What a process in there has open stays open to it.
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// The container
    container: ContainerName,
    /// The volume, wherever it is mounted; or the path at which it is
    #[arg(value_name = "NAME|PATH")]
    what: String,
}

impl Detach {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let container = context.container(Some(&self.container))?;
        if self.what.starts_with('/') {
            return Ok(container.unmount(&self.what.parse::<MountPath>()?)?);
        }
        let volume: VolumeName = self.what.parse()?;
        anyhow::ensure!(
            container.detach_volume(&volume)?,
            "container {} does not have volume {volume}; `appc inspect {}` lists what it has",
            self.container,
            self.container
        );
        Ok(())
    }
}

/// Keep a volume's files as they are now, and print the snapshot's name
///
/// Containers that run with it stand still meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Snapshot {
    /// The volume
    name: VolumeName,
    /// The snapshot's name [default: the time, as 20260102-030405]
    snapshot: Option<SnapshotName>,
}

impl Snapshot {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let made = context.service.snapshot_volume(&self.name, self.snapshot.as_ref(), &Bars::default())?;
        context.print(&made, |made| format!("{}\n", made.name))
    }
}

/// Give a volume the files of a snapshot; no container may run with it
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The volume
    name: VolumeName,
    /// The snapshot
    snapshot: SnapshotName,
}

/// Remove a snapshot of a volume
#[derive(Debug, clap::Args)]
pub(crate) struct RmSnapshot {
    /// The volume
    name: VolumeName,
    /// The snapshot
    snapshot: SnapshotName,
}

/// Make another volume with a volume's size and files, without its snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct Clone {
    /// The volume
    name: VolumeName,
    /// The new one's name
    new: VolumeName,
}

/// Remove a volume with its files and its snapshots; refused while a container has it
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The volume
    name: VolumeName,
}

fn table(volumes: &[VolumeDetails]) -> String {
    let row = |volume: &VolumeDetails| {
        let users: Vec<_> = volume.used_by.iter().map(|one| format!("{}:{}", one.container, one.path)).collect();
        [
            volume.name.to_string(),
            render::or_dash(volume.size_bytes.map(render::size).as_ref()),
            render::size(volume.used_bytes),
            volume.snapshots.len().to_string(),
            render::or_dash((!users.is_empty()).then(|| users.join(",")).as_ref()),
        ]
    };
    render::table(["NAME", "SIZE", "USED", "SNAPSHOTS", "CONTAINERS"], volumes.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use appcontainers::{VolumeSnapshot, VolumeUse};

    #[test]
    fn volumes_are_a_table() {
        let volume = VolumeDetails {
            name: "data".parse().unwrap(),
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
            size_bytes: Some(1 << 30),
            used_bytes: 4096,
            snapshots: vec![VolumeSnapshot {
                name: "monday".parse().unwrap(),
                created: "2026-01-02T03:04:06Z".parse().unwrap(),
                files: 3,
                size_bytes: 4096,
            }],
            used_by: vec![VolumeUse {
                container: "web".parse().unwrap(),
                path: "/srv/data".parse().unwrap(),
                read_only: true,
            }],
        };
        render::assert_documented("appc volume ls", &volume);
        let expected = "\
NAME  SIZE    USED    SNAPSHOTS  CONTAINERS
data  1.1 GB  4.1 kB  1          web:/srv/data
";
        assert_eq!(table(&[volume]), expected);
    }
}
