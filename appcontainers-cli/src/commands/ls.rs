//! `appc ls`

use appcontainers::{ContainerDetails, ContainerName, ListedContainer};
use serde::Serialize;

use crate::{context::Context, failure, render, stdio};

/// List containers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc ls
  appc ls --json | jq -r '.[] | select(.status == \"running\") | .ip'")]
pub(crate) struct Args {}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let rows: Vec<_> = context.service.containers()?.into_iter().map(Row::from).collect();
        for row in &rows {
            if let Row::Unreadable { name, error, .. } = row {
                stdio::note(&format!("warning: container {name} can't be read: {error}"));
            }
        }
        context.print(&rows, |rows| text(rows))
    }
}

/// A container of the listing.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Container(Box<ContainerDetails>),
    Unreadable { name: ContainerName, status: &'static str, error: String },
}

impl From<ListedContainer> for Row {
    fn from(ListedContainer { name, details }: ListedContainer) -> Self {
        match details {
            Ok(details) => Row::Container(Box::new(details)),
            Err(error) => Row::Unreadable { name, status: "unreadable", error: failure::one_line(&error.into()) },
        }
    }
}

fn text(rows: &[Row]) -> String {
    let cells = |row: &Row| match row {
        Row::Container(container) => [
            container.name.to_string(),
            status(container),
            container.ip.to_string(),
            container.image.to_string(),
            format!("{:.0}", container.created),
        ],
        Row::Unreadable { name, status, .. } => [name.as_str(), status, "-", "-", "-"].map(str::to_owned),
    };
    render::table(["NAME", "STATUS", "ADDRESS", "IMAGE", "CREATED"], rows.iter().map(cells))
}

/// Whether it runs, and how well.
fn status(container: &ContainerDetails) -> String {
    let status = container.status.as_str();
    let health = container.life.health.as_ref().and_then(|health| health.status);
    match (health, container.life.next_restart) {
        (Some(health), _) => format!("{status} ({})", health.as_str()),
        (None, Some(_)) if container.status.can_start() => format!("{status} (restarts)"),
        (None, _) => status.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use appcontainers::{
        Error, Init, OverlayKind, Status,
        container::{LifeDetails, LimitDetails, NetworkRules},
        image::ImageConfig,
    };

    use super::*;

    #[test]
    fn containers_are_a_table() {
        let web = ContainerDetails {
            name: "web".parse().unwrap(),
            status: Status::Running,
            ip: [10, 88, 0, 2].into(),
            ip6: None,
            mac: "02:00:00:00:00:01".parse().unwrap(),
            id_range: None,
            hostname: "web".parse().unwrap(),
            base: "busybox".parse().unwrap(),
            image: "busybox".parse().unwrap(),
            overlay: OverlayKind::Raw,
            privileged: false,
            autostart: false,
            init: Init::App,
            life: LifeDetails::default(),
            created: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            config: ImageConfig::default(),
            secrets: Vec::new(),
            layers: Vec::new(),
            disk: None,
            mounts: Vec::new(),
            network: NetworkRules::default(),
            limits: LimitDetails::default(),
        };
        let unreadable = Row::from(ListedContainer {
            name: "api".parse().unwrap(),
            details: Err(Error::BadStartupCommand { command: String::new() }),
        });
        let expected = "\
NAME  STATUS      ADDRESS    IMAGE    CREATED
api   unreadable  -          -        -
web   running     10.88.0.2  busybox  2026-01-02T03:04:05Z
";
        render::assert_documented("appc ls", &web);
        render::assert_documented("appc ls: a container that can't be read", &unreadable);
        assert_eq!(text(&[unreadable, Row::Container(Box::new(web))]), expected);
    }
}
