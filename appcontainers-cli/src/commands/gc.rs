//! `appc gc`

use appcontainers::Garbage;

use crate::{context::Context, render, stdio};

/// Drop what nothing refers to: layers without an image, left-overs of commands that were killed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc gc --dry-run
  appc gc
  appc gc --build-cache        'appc build' starts from nothing then")]
pub(crate) struct Args {
    /// Only say what would be dropped
    #[arg(long)]
    dry_run: bool,
    /// Forget all that builds remember, too, and not only what no build has needed for 30 days
    #[arg(long)]
    build_cache: bool,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self { dry_run, build_cache } = self;
        let service = &context.service;
        let garbage = if build_cache { service.gc_with_build_cache(dry_run) } else { service.gc(dry_run) }?;
        stdio::note(&summary(&garbage, dry_run));
        context.print(&garbage, |garbage| text(garbage))
    }
}

fn summary(garbage: &[Garbage], dry_run: bool) -> String {
    if garbage.is_empty() {
        return "nothing to drop".to_owned();
    }
    let size = render::size(garbage.iter().map(|item| item.bytes).sum());
    format!("{}: {}, {size}", if dry_run { "would be dropped" } else { "dropped" }, garbage.len())
}

/// Nothing at all where there is no garbage, so that a script can test for it.
fn text(garbage: &[Garbage]) -> String {
    let line = |item: &Garbage| format!("{} ({})\n", render::plain(&item.to_string()), render::size(item.bytes));
    garbage.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dropped_thing_is_a_line_with_its_size() {
        let garbage = [
            Garbage { kind: "layer", name: "sha256:ab".to_owned(), bytes: 1_000_000 },
            Garbage { kind: "overlay", name: "web".to_owned(), bytes: 4096 },
        ];
        render::assert_documented("appc gc", &garbage[0]);
        assert_eq!(text(&garbage), "layer sha256:ab (1.0 MB)\noverlay web (4.1 kB)\n");
        assert_eq!(summary(&garbage, false), "dropped: 2, 1.0 MB");
        assert_eq!(summary(&garbage, true), "would be dropped: 2, 1.0 MB");
        assert_eq!(summary(&[], true), "nothing to drop");
    }
}
