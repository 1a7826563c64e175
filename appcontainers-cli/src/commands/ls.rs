//! `appc ls`

use appcontainers::ContainerDetails;

use crate::{context::Context, render};

/// List containers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc ls
  appc ls --json | jq -r '.[] | select(.status == \"running\") | .ip'")]
pub(crate) struct Args {}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.containers()?, |containers| text(containers))
    }
}

fn text(containers: &[ContainerDetails]) -> String {
    let row = |container: &ContainerDetails| {
        [
            container.name.to_string(),
            container.status.as_str().to_owned(),
            container.ip.to_string(),
            container.image.to_string(),
            format!("{:.0}", container.created),
        ]
    };
    render::table(["NAME", "STATUS", "ADDRESS", "IMAGE", "CREATED"], containers.iter().map(row))
}

#[cfg(test)]
mod tests {
    use appcontainers::{OverlayKind, Status, image::ImageConfig};

    use super::*;

    #[test]
    fn containers_are_a_table() {
        let web = ContainerDetails {
            name: "web".parse().unwrap(),
            status: Status::Running,
            ip: [10, 88, 0, 2].into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            id_range: None,
            hostname: "web".parse().unwrap(),
            base: "busybox".parse().unwrap(),
            image: "busybox".parse().unwrap(),
            overlay: OverlayKind::Raw,
            privileged: false,
            created: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            config: ImageConfig::default(),
            layers: Vec::new(),
        };
        let expected = "\
NAME  STATUS   ADDRESS    IMAGE    CREATED
web   running  10.88.0.2  busybox  2026-01-02T03:04:05Z
";
        render::assert_documented("appc ls", &web);
        assert_eq!(text(&[web]), expected);
    }
}
