//! `appc links`

use appcontainers::{ContainerName, container::Linked};

use crate::{context::Context, render};

/// List links, and whether their providers run
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc links
  appc links web --json")]
pub(crate) struct Args {
    /// Of this container alone [default: of all]
    consumer: Option<ContainerName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let links = match self.consumer {
            Some(name) => context.container(Some(&name))?.links()?,
            None => context.service.links()?,
        };
        context.print(&links, |links| text(links))
    }
}

fn text(links: &[Linked]) -> String {
    let cells = |link: &Linked| {
        let state = match (link.ip, link.running) {
            (None, _) => "gone",
            (Some(_), true) => "up",
            (Some(_), false) => "stopped",
        };
        [
            link.consumer.to_string(),
            link.service.as_str().to_owned(),
            format!("{}:{}", link.provider, link.port),
            link.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            state.to_owned(),
        ]
    };
    render::table(["CONSUMER", "SERVICE", "PROVIDER", "ADDRESS", "STATE"], links.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_tells_where_it_leads_and_whether_anybody_is_there() {
        let link = Linked {
            consumer: "web".parse().unwrap(),
            service: "db".parse().unwrap(),
            provider: "pg".parse().unwrap(),
            port: "5432".parse().unwrap(),
            ip: Some([10, 213, 0, 3].into()),
            running: true,
        };
        render::assert_documented("appc links", &link);
        let expected = "\
CONSUMER  SERVICE  PROVIDER  ADDRESS     STATE
web       db       pg:5432   10.213.0.3  up
";
        assert_eq!(text(&[link]), expected);
    }
}
