//! `appc top`

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};

use appcontainers::stats::{Meter, SortBy, Usage};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::values;
use crate::{
    context::Context,
    render::{self, or_dash, percent, pids, size, table},
    screen::{Screen, Wake},
    stdio,
};

/// How often a terminal's screen is drawn.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long is measured where nobody says how long.
const SHORT: Duration = Duration::from_millis(200);

/// Show what running containers use now, again and again
///
/// On a terminal it goes on until 'q' or Ctrl-C. Elsewhere it prints one table measured over 200 ms, or with
/// --interval one for each interval; with --json each is an array on a line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc top
  appc top --interval 0.5 --sort mem
  appc top --once --json | jq -r '.[] | \"\\(.name) \\(.rates.cpu_percent)\"'
  appc -c web top --interval 60 --json >> web.log")]
pub(crate) struct Args {
    /// Measure for so long, then show [default: 2 on a terminal]
    #[arg(short, long, value_name = "SECONDS", value_parser = values::interval)]
    interval: Option<Duration>,
    /// What comes first
    #[arg(short, long, value_name = "KEY", default_value = "cpu", value_parser = sort_keys())]
    sort: SortBy,
    /// Print one table and end, on a terminal too
    #[arg(long)]
    once: bool,
}

fn sort_keys() -> impl clap::builder::TypedValueParser<Value = SortBy> {
    PossibleValuesParser::new(SortBy::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<SortBy>())
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let mut meter = context.service.meter(context.flagged().cloned())?;
        // Rates are since the sample before.
        meter.measure()?;
        if stdout().is_terminal() && !context.json && !self.once {
            self.watch(meter)
        } else {
            self.print(meter, context)
        }
    }

    fn watch(&self, mut meter: Meter) -> anyhow::Result<()> {
        let interval = self.interval.unwrap_or(INTERVAL);
        let mut screen = Screen::open()?;
        let mut next = Instant::now() + SHORT.min(interval);
        let mut shown = String::new();
        loop {
            match screen.wait(next)? {
                Wake::End => return Ok(()),
                Wake::Resized => {}
                Wake::Time => {
                    let usages = self.measure(&mut meter)?;
                    let key = SortBy::ALL.iter().find(|(_, key)| *key == self.sort).map_or("", |(name, _)| name);
                    let seconds = interval.as_secs_f64();
                    shown =
                        format!("{} running, every {seconds} s, by {key}; q ends\n\n", usages.len()) + &text(&usages);
                    next = Instant::now() + interval;
                }
            }
            screen.show(&shown)?;
        }
    }

    fn print(&self, mut meter: Meter, context: &Context) -> anyhow::Result<()> {
        let mut gap = "";
        loop {
            stdio::wait(None, Some(self.interval.unwrap_or(SHORT)))?;
            let usages = self.measure(&mut meter)?;
            stdio::print(&if context.json { render::json_line(&usages)? } else { gap.to_owned() + &text(&usages) })?;
            if self.once || self.interval.is_none() {
                return Ok(());
            }
            gap = "\n";
        }
    }

    fn measure(&self, meter: &mut Meter) -> anyhow::Result<Vec<Usage>> {
        let mut usages = meter.measure()?;
        self.sort.sort(&mut usages);
        Ok(usages)
    }
}

fn text(usages: &[Usage]) -> String {
    let per_second = |bytes: Option<u64>| or_dash(bytes.map(size));
    let row = |usage: &Usage| {
        let (stats, rates) = (&usage.stats, &usage.rates);
        [
            stats.name.to_string(),
            or_dash(rates.cpu_percent.map(percent)),
            or_dash(stats.memory.map(|memory| size(memory.working_set_bytes))),
            or_dash(stats.memory.and_then(|memory| memory.limit_bytes).map(size)),
            or_dash(stats.pids.map(pids)),
            per_second(rates.read_bytes_per_second),
            per_second(rates.written_bytes_per_second),
            per_second(rates.rx_bytes_per_second),
            per_second(rates.tx_bytes_per_second),
        ]
    };
    let header = ["NAME", "CPU", "MEMORY", "LIMIT", "PIDS", "READ/s", "WRITTEN/s", "RECEIVED/s", "SENT/s"];
    table(header, usages.iter().map(row))
}

#[cfg(test)]
mod tests {
    use appcontainers::stats::Rates;

    use super::*;
    use crate::commands::stats::tests::web;

    #[test]
    fn what_is_used_now_is_a_table() {
        let rates = Rates {
            cpu_percent: Some(150.04),
            read_bytes_per_second: Some(0),
            written_bytes_per_second: Some(1_000_000),
            rx_bytes_per_second: Some(999),
            tx_bytes_per_second: None,
        };
        let usage = Usage { stats: web(), rates };
        render::assert_documented("appc top", &usage);
        let expected = "\
NAME  CPU      MEMORY  LIMIT  PIDS    READ/s  WRITTEN/s  RECEIVED/s  SENT/s
web   150.0 %  4.3 MB  -      3/4096  0 B     1.0 MB     999 B       -
";
        assert_eq!(text(&[usage]), expected);
    }
}
