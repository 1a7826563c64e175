//! `appc stats`

use appcontainers::{ContainerName, Stats};

use crate::{
    context::Context,
    render::{or_dash, percent, pids, size, table},
};

/// Show what running containers have used since they were started
///
/// CPU is the average since the start, of one processor; MEMORY is what the kernel can't take back without hurting. A
/// dash stands where this host has no counter, or there is no limit. For what they use now: 'appc top'.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc stats
  appc stats web shop
  appc stats --json | jq '.[] | {name, memory: .memory.working_set_bytes}'")]
pub(crate) struct Args {
    /// The containers [default: -c, else all that run]
    #[arg(value_name = "NAME")]
    names: Vec<ContainerName>,
}

impl Args {
    pub(super) fn execute(mut self, context: &Context) -> anyhow::Result<()> {
        self.names.extend(context.flagged().cloned());
        context.print(&context.service.stats(&self.names)?, |stats| text(stats))
    }
}

fn text(stats: &[Stats]) -> String {
    let row = |stats: &Stats| {
        let (io, network) = (stats.io, stats.network);
        [
            stats.name.to_string(),
            or_dash(stats.cpu.map(|cpu| percent(cpu.percent))),
            or_dash(stats.cpu.map(|cpu| format!("{:.2} s", cpu.usage_ns as f64 / 1e9))),
            or_dash(stats.memory.map(|memory| size(memory.working_set_bytes))),
            or_dash(stats.memory.and_then(|memory| memory.limit_bytes).map(size)),
            or_dash(stats.pids.map(pids)),
            or_dash(io.map(|io| size(io.read_bytes))),
            or_dash(io.map(|io| size(io.written_bytes))),
            or_dash(network.map(|network| size(network.rx_bytes))),
            or_dash(network.map(|network| size(network.tx_bytes))),
        ]
    };
    let header = ["NAME", "CPU", "TIME", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN", "RECEIVED", "SENT"];
    table(header, stats.iter().map(row))
}

#[cfg(test)]
pub(super) mod tests {
    use appcontainers::stats::{Cpu, Io, Memory, Network, Pids};

    use super::*;
    use crate::render;

    pub(in crate::commands) fn web() -> Stats {
        Stats {
            name: "web".parse().unwrap(),
            start: "31e73ad6".to_owned(),
            time: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            uptime_ns: 60_000_000_000,
            cpu: Some(Cpu { usage_ns: 1_550_000_000, percent: 2.58 }),
            memory: Some(Memory { current_bytes: 25_000_000, working_set_bytes: 4_300_000, limit_bytes: None }),
            pids: Some(Pids { current: 3, limit: Some(4096) }),
            io: Some(Io { read_bytes: 184_320, written_bytes: 16_797_696, reads: None, writes: None }),
            network: Some(Network {
                rx_bytes: 3976,
                rx_packets: 52,
                rx_dropped: 0,
                tx_bytes: 1066,
                tx_packets: 11,
                tx_dropped: 0,
            }),
        }
    }

    #[test]
    fn what_is_used_is_a_table_and_what_is_not_known_a_dash() {
        render::assert_documented("appc stats", &web());
        let unknown =
            Stats { name: "x".parse().unwrap(), cpu: None, memory: None, pids: None, io: None, network: None, ..web() };
        let expected = "\
NAME  CPU    TIME    MEMORY  LIMIT  PIDS    READ      WRITTEN  RECEIVED  SENT
web   2.6 %  1.55 s  4.3 MB  -      3/4096  184.3 kB  16.8 MB  4.0 kB    1.1 kB
x     -      -       -       -      -       -         -        -         -
";
        assert_eq!(text(&[web(), unknown]), expected);
    }
}
