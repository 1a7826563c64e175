//! `appc diff`

use appcontainers::{ChangeKind, ContainerName, FileChange};

use crate::{context::Context, render};

/// List what a container has changed over its image: A added, M modified, D deleted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  appc diff web")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one]
    name: Option<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let changes = context.container(self.name.as_ref())?.changes()?;
        context.print(&changes, |changes| text(changes))
    }
}

fn text(changes: &[FileChange]) -> String {
    let line = |change: &FileChange| {
        let letter = match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Modified => 'M',
            ChangeKind::Deleted => 'D',
        };
        format!("{letter} {}\n", render::plain(&change.path))
    };
    changes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use appcontainers::ChangedType;

    use super::*;

    #[test]
    fn a_file_name_with_a_line_end_stays_on_its_line() {
        let change = |kind, path: &str| FileChange { kind, path: path.into(), file_type: ChangedType::File };
        let changes = [
            change(ChangeKind::Added, "/root/a\nb"),
            change(ChangeKind::Modified, "/etc/passwd"),
            change(ChangeKind::Deleted, "/tmp/x"),
        ];
        render::assert_documented("appc diff", &changes[0]);
        assert_eq!(text(&changes), "A /root/a\\nb\nM /etc/passwd\nD /tmp/x\n");
    }
}
