//! `appc snapshots`, and `appc snapshot ls`

use appcontainers::{ContainerName, Snapshot};

use crate::{context::Context, render};

/// List a container's snapshots, the oldest first
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.container(self.name.as_ref())?.snapshots()?, |snapshots| text(snapshots))
    }
}

fn text(snapshots: &[Snapshot]) -> String {
    let row = |snapshot: &Snapshot| {
        [
            snapshot.name.to_string(),
            render::size(snapshot.size_bytes),
            snapshot.files.to_string(),
            if snapshot.automatic { "yes" } else { "no" }.to_owned(),
            format!("{:.0}", snapshot.created),
        ]
    };
    render::table(["NAME", "SIZE", "FILES", "AUTOMATIC", "CREATED"], snapshots.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_a_table() {
        let snapshot = Snapshot {
            name: "before-upgrade".parse().unwrap(),
            created: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            automatic: false,
            files: 12,
            size_bytes: 1_250_000,
            image: "shop".parse().unwrap(),
        };
        render::assert_documented("appc snapshots", &snapshot);
        let expected = "\
NAME            SIZE    FILES  AUTOMATIC  CREATED
before-upgrade  1.3 MB  12     no         2026-01-02T03:04:05Z
";
        assert_eq!(text(&[snapshot]), expected);
    }
}
