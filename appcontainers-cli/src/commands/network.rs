//! `appc network`

use std::{
    io::{IsTerminal, stdout},
    num::NonZeroU64,
    time::{Duration, Instant},
};

use appcontainers::{
    ContainerName, ContainerNetwork, HostNetworkDetails, NetworkMeter, NetworkSummary, NetworkUsage, TrafficRate,
    network::policy::{CountedRule, Rule},
};

use super::values;
use crate::{
    context::Context,
    render::{self, or_dash, size, table},
    screen::{Screen, Wake},
    stdio,
};

/// How often a terminal's screen is drawn.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long is measured where nobody says how long.
const SHORT: Duration = Duration::from_millis(200);

/// Show the containers' network: addresses, rules, and what goes through
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Ls(Ls),
    Inspect(Inspect),
    Top(Top),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Ls(args) => args.execute(context),
            Command::Inspect(args) => args.execute(context),
            Command::Top(args) => args.execute(context),
        }
    }
}

/// List containers with their addresses, interfaces and number of rules
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc network ls
  appc network ls --json | jq -r '.[] | \"\\(.name) \\(.ip) \\(.ip6)\"'")]
pub(crate) struct Ls {}

impl Ls {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.networks()?, |networks| listing(networks))
    }
}

/// Show the rules that concern a container and what each let through; without NAME, the host's side
///
/// A rule counts from when its container was started or the rule made, whatever came later, in both directions. A link and
/// an allow of the same have one count.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc network inspect
  appc network inspect web
  appc network inspect web --json | jq '.rules[] | select(.kind == \"link\")'")]
pub(crate) struct Inspect {
    /// The container [default: -c, else the host's side]
    name: Option<ContainerName>,
}

impl Inspect {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self.name.as_ref().or(context.flagged()) {
            Some(name) => context.print(&context.container(Some(name))?.network()?, container_text),
            None => {
                let details: HostNetworkDetails = context.service.host_network()?;
                stdio::print(&if context.json { render::json(&details)? } else { render::fields(&details)? })
            }
        }
    }
}

/// Show what goes through containers' interfaces and rules now, again and again
///
/// On a terminal it goes on until 'q' or Ctrl-C. Elsewhere it prints what it measured in 200 ms, or with --interval or
/// --number again and again; with --json each measurement is an object on a line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc network top
  appc network top --interval 5 -n 12 > minute.txt
  appc -c web network top --json | jq '.rules[] | select(.packets_per_second > 0)'")]
pub(crate) struct Top {
    /// Measure for so long, then show [default: 2 on a terminal]
    #[arg(short, long, value_name = "SECONDS", value_parser = values::interval)]
    interval: Option<Duration>,
    /// End after so many measurements
    #[arg(short, long, value_name = "N")]
    number: Option<NonZeroU64>,
}

impl Top {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let mut meter = context.service.network_meter(context.flagged().cloned())?;
        // Rates are since the sample before.
        meter.measure()?;
        if stdout().is_terminal() && !context.json { self.watch(meter) } else { self.print(meter, context) }
    }

    fn watch(&self, mut meter: NetworkMeter) -> anyhow::Result<()> {
        let interval = self.interval.unwrap_or(INTERVAL);
        let mut left = self.number.map(NonZeroU64::get);
        let mut screen = Screen::open()?;
        let mut next = Instant::now() + SHORT.min(interval);
        let mut shown = String::new();
        loop {
            match screen.wait(next)? {
                Wake::End => return Ok(()),
                Wake::Resized => {}
                Wake::Time if left == Some(0) => return Ok(()),
                Wake::Time => {
                    let usage = meter.measure()?;
                    let (running, seconds) = (usage.containers.len(), interval.as_secs_f64());
                    shown = format!("{running} running, every {seconds} s; q ends\n\n") + &usage_text(&usage);
                    left = left.map(|left| left.saturating_sub(1));
                    next = Instant::now() + interval;
                }
            }
            screen.show(&shown)?;
        }
    }

    fn print(&self, mut meter: NetworkMeter, context: &Context) -> anyhow::Result<()> {
        let endless = self.interval.map_or(1, |_| u64::MAX);
        let mut gap = "";
        for _ in 0..self.number.map_or(endless, NonZeroU64::get) {
            stdio::wait(None, Some(self.interval.unwrap_or(SHORT)))?;
            let usage = meter.measure()?;
            stdio::print(&if context.json {
                render::json_line(&usage)?
            } else {
                gap.to_owned() + &usage_text(&usage)
            })?;
            gap = "\n";
        }
        Ok(())
    }
}

fn listing(networks: &[NetworkSummary]) -> String {
    let row = |one: &NetworkSummary| {
        [
            one.name.to_string(),
            one.status.as_str().to_owned(),
            one.ip.to_string(),
            or_dash(one.ip6),
            one.mac.to_string(),
            or_dash(one.interface.as_ref()),
            one.egress.to_string(),
            one.rules.to_string(),
        ]
    };
    table(["NAME", "STATUS", "ADDRESS", "IPV6", "MAC", "INTERFACE", "EGRESS", "RULES"], networks.iter().map(row))
}

/// The end of a rule at which it is received.
fn target(rule: &Rule) -> String {
    rule.port.as_ref().map_or_else(|| rule.to.clone(), |port| format!("{}:{port}", rule.to))
}

fn container_text(network: &ContainerNetwork) -> String {
    let ip6 = network.ip6.map_or_else(String::new, |ip6| format!("ipv6       {ip6}\n"));
    let interface = network.interface.as_ref().map_or_else(String::new, |name| format!("interface  {name}\n"));
    let head = format!(
        "name       {}\nstatus     {}\nip         {}\n{ip6}mac        {}\n{interface}egress     {}\n",
        network.name,
        network.status.as_str(),
        network.ip,
        network.mac,
        network.egress
    );
    if network.rules.is_empty() {
        return head;
    }
    let row = |CountedRule { rule, traffic }: &CountedRule| {
        [
            rule.kind.as_str().to_owned(),
            rule.from.clone(),
            target(rule),
            or_dash(rule.service.as_ref()),
            traffic.packets.to_string(),
            size(traffic.bytes),
        ]
    };
    head + "\n" + &table(["RULE", "FROM", "TO", "SERVICE", "PACKETS", "BYTES"], network.rules.iter().map(row))
}

fn usage_text(usage: &NetworkUsage) -> String {
    let rate = |rate: TrafficRate| [rate.packets_per_second.to_string(), size(rate.bytes_per_second)];
    let containers = usage.containers.iter().map(|one| {
        let ([rx_packets, rx_bytes], [tx_packets, tx_bytes]) = (rate(one.rx), rate(one.tx));
        [one.name.to_string(), rx_packets, rx_bytes, tx_packets, tx_bytes]
    });
    let rules = usage.rules.iter().map(|one| {
        let [packets, bytes] = rate(one.rate);
        [one.rule.kind.as_str().to_owned(), one.rule.from.clone(), target(&one.rule), packets, bytes]
    });
    table(["NAME", "PACKETS IN/s", "BYTES IN/s", "PACKETS OUT/s", "BYTES OUT/s"], containers)
        + "\n"
        + &table(["RULE", "FROM", "TO", "PACKETS/s", "BYTES/s"], rules)
}

#[cfg(test)]
mod tests {
    use appcontainers::{
        ContainerTraffic, RuleTraffic, Status,
        network::{
            Traffic,
            policy::{Egress, RuleKind},
        },
    };

    use super::*;

    fn link() -> Rule {
        Rule {
            kind: RuleKind::Link,
            from: "web".to_owned(),
            to: "db".to_owned(),
            port: Some("5432".to_owned()),
            service: "sql".parse().ok(),
            containers: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn containers_are_a_table_with_their_addresses() {
        let web = NetworkSummary {
            name: "web".parse().unwrap(),
            status: Status::Running,
            ip: [10, 213, 0, 2].into(),
            ip6: "fd12::2".parse().ok(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            interface: Some("v33ca1b2c3d4".to_owned()),
            egress: Egress::Only(vec!["192.0.2.0/24".parse().unwrap()]),
            rules: 3,
        };
        render::assert_documented("appc network ls", &web);
        let expected = "\
NAME  STATUS   ADDRESS     IPV6     MAC                INTERFACE     EGRESS        RULES
web   running  10.213.0.2  fd12::2  02:00:00:00:00:01  v33ca1b2c3d4  192.0.2.0/24  3
";
        assert_eq!(listing(&[web]), expected);
    }

    #[test]
    fn a_container_is_shown_with_each_rule_and_what_passed() {
        let web = ContainerNetwork {
            name: "web".parse().unwrap(),
            status: Status::Stopped,
            ip: [10, 213, 0, 2].into(),
            ip6: "fd12::2".parse().ok(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            interface: None,
            egress: Egress::None,
            rules: vec![CountedRule { rule: link(), traffic: Traffic { packets: 3, bytes: 1200 } }],
        };
        render::assert_documented("appc network inspect: a container", &web);
        let expected = "\
name       web
status     stopped
ip         10.213.0.2
ipv6       fd12::2
mac        02:00:00:00:00:01
egress     none

RULE  FROM  TO       SERVICE  PACKETS  BYTES
link  web   db:5432  sql      3        1.2 kB
";
        assert_eq!(container_text(&web), expected);
    }

    #[test]
    fn the_hosts_side_is_documented() {
        let host = HostNetworkDetails {
            subnet: "10.213.0.0/16".parse().unwrap(),
            gateway: [10, 213, 0, 1].into(),
            subnet6: None,
            gateway6: None,
            bridge: "appc0".to_owned(),
            table: "appcontainers".to_owned(),
            forwarding: true,
            forwarding6: false,
            up: true,
        };
        render::assert_documented("appc network inspect", &host);
    }

    #[test]
    fn what_goes_through_is_told_for_containers_and_for_rules() {
        let rate = |packets_per_second, bytes_per_second| TrafficRate { packets_per_second, bytes_per_second };
        let usage = NetworkUsage {
            containers: vec![ContainerTraffic { name: "web".parse().unwrap(), rx: rate(3, 1200), tx: rate(2, 999) }],
            rules: vec![RuleTraffic { rule: link(), rate: rate(5, 2199) }],
        };
        render::assert_documented("appc network top", &usage);
        let expected = "\
NAME  PACKETS IN/s  BYTES IN/s  PACKETS OUT/s  BYTES OUT/s
web   3             1.2 kB      2              999 B

RULE  FROM  TO       PACKETS/s  BYTES/s
link  web   db:5432  5          2.2 kB
";
        assert_eq!(usage_text(&usage), expected);
    }
}
