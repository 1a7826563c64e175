//! `appc df`

use appcontainers::{DiskUsage, UsagePart};

use crate::{context::Context, render};

/// Show the disk space that layers, images, containers and their output take
///
/// What is reclaimable is what 'appc gc' would drop. A container's files and output never are: 'appc rm' removes them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.disk_usage()?, text)
    }
}

fn text(usage: &DiskUsage) -> String {
    let row = |part: &UsagePart| {
        [
            part.kind.to_owned(),
            part.count.to_string(),
            render::size(part.size_bytes),
            render::size(part.reclaimable_bytes),
        ]
    };
    render::table(["KIND", "COUNT", "SIZE", "RECLAIMABLE"], usage.parts.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_a_table() {
        let parts = vec![UsagePart { kind: "layers", count: 3, size_bytes: 5_000_000, reclaimable_bytes: 0 }];
        render::assert_documented("appc df", &parts[0]);
        let expected = "\
KIND    COUNT  SIZE    RECLAIMABLE
layers  3      5.0 MB  0 B
";
        assert_eq!(text(&DiskUsage { parts }), expected);
    }
}
