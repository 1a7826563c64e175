//! How fast counters grow between two samples. Pure.

use serde::Serialize;

use super::{Io, Network, Stats};

/// Use per time. What can't be told is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Rates {
    /// Of one processor: above 100 where several are busy.
    pub cpu_percent: Option<f64>,
    /// From disks.
    pub read_bytes_per_second: Option<u64>,
    /// To disks.
    pub written_bytes_per_second: Option<u64>,
    /// Received from the network.
    pub rx_bytes_per_second: Option<u64>,
    /// Sent to the network.
    pub tx_bytes_per_second: Option<u64>,
}

impl Rates {
    /// Between `earlier` and `later`; since the container's start if `earlier` is absent or of another start.
    pub fn between(earlier: Option<&Stats>, later: &Stats) -> Self {
        let earlier = earlier.filter(|earlier| (&earlier.name, &earlier.start) == (&later.name, &later.start));
        let elapsed_ns = later.uptime_ns.saturating_sub(earlier.map_or(0, |earlier| earlier.uptime_ns));
        let cpu_ns = grown(earlier, later, |stats| stats.cpu.map(|cpu| cpu.usage_ns));
        let per_second = |counter: &dyn Fn(&Stats) -> Option<u64>| {
            let grown = u128::from(grown(earlier, later, counter)?);
            u64::try_from((grown * 1_000_000_000).checked_div(u128::from(elapsed_ns))?).ok()
        };
        let io = |field: fn(Io) -> u64| per_second(&|stats| stats.io.map(field));
        let network = |field: fn(Network) -> u64| per_second(&|stats| stats.network.map(field));
        Self {
            cpu_percent: cpu_ns.and_then(|cpu_ns| percent(cpu_ns, elapsed_ns)),
            read_bytes_per_second: io(|io| io.read_bytes),
            written_bytes_per_second: io(|io| io.written_bytes),
            rx_bytes_per_second: network(|network| network.rx_bytes),
            tx_bytes_per_second: network(|network| network.tx_bytes),
        }
    }
}

/// How much of `of_ns` is `part_ns`, to a hundredth of a percent; nothing if no time has passed.
pub(super) fn percent(part_ns: u64, of_ns: u64) -> Option<f64> {
    let hundredths = (u128::from(part_ns) * 10_000 + u128::from(of_ns) / 2).checked_div(u128::from(of_ns))?;
    Some(hundredths as f64 / 100.0)
}

/// By how much a counter has grown. One that a process took with it when it ended may be smaller: then by nothing.
fn grown(earlier: Option<&Stats>, later: &Stats, counter: impl Fn(&Stats) -> Option<u64>) -> Option<u64> {
    let from = earlier.map_or(Some(0), &counter)?;
    Some(counter(later)?.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Cpu;

    const SECOND: u64 = 1_000_000_000;

    fn stats(start: &str, uptime_ns: u64, cpu_ns: u64, bytes: u64) -> Stats {
        Stats {
            name: "web".parse().unwrap(),
            start: start.to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            uptime_ns,
            cpu: Some(Cpu { usage_ns: cpu_ns, percent: 0.0 }),
            memory: None,
            pids: None,
            io: Some(Io { read_bytes: bytes, written_bytes: 2 * bytes, ..Io::default() }),
            network: Some(Network {
                rx_bytes: 3 * bytes,
                rx_packets: 0,
                rx_dropped: 0,
                tx_bytes: 4 * bytes,
                tx_packets: 0,
                tx_dropped: 0,
            }),
        }
    }

    fn rates(cpu_percent: f64, bytes_per_second: u64) -> Rates {
        Rates {
            cpu_percent: Some(cpu_percent),
            read_bytes_per_second: Some(bytes_per_second),
            written_bytes_per_second: Some(2 * bytes_per_second),
            rx_bytes_per_second: Some(3 * bytes_per_second),
            tx_bytes_per_second: Some(4 * bytes_per_second),
        }
    }

    #[test]
    fn rates_are_what_was_added_over_the_time_between() {
        let earlier = stats("a", 10 * SECOND, SECOND, 1000);
        let later = stats("a", 12 * SECOND, 4 * SECOND, 5000);
        assert_eq!(Rates::between(Some(&earlier), &later), rates(150.0, 2000));
    }

    #[test]
    fn without_a_sample_of_the_same_start_rates_are_since_the_start() {
        let later = stats("b", 4 * SECOND, SECOND, 4000);
        assert_eq!(Rates::between(None, &later), rates(25.0, 1000));
        let of_another_start = stats("a", SECOND, 9 * SECOND, 9000);
        assert_eq!(Rates::between(Some(&of_another_start), &later), rates(25.0, 1000));
    }

    #[test]
    fn no_time_has_no_rate_and_a_counter_that_fell_has_not_grown() {
        let sample = stats("a", SECOND, SECOND, 1000);
        assert_eq!(Rates::between(Some(&sample), &sample), Rates::default());
        let fallen = stats("a", 2 * SECOND, 0, 0);
        assert_eq!(Rates::between(Some(&sample), &fallen), rates(0.0, 0));
        let without = Stats { cpu: None, io: None, network: None, ..fallen };
        assert_eq!(Rates::between(Some(&sample), &without), Rates::default());
    }

    #[test]
    fn percents_are_rounded_to_hundredths_and_do_not_overflow() {
        assert_eq!(percent(1, 3), Some(33.33));
        assert_eq!(percent(2, 3), Some(66.67));
        assert_eq!(percent(u64::MAX, u64::MAX), Some(100.0));
        assert_eq!(percent(1, 0), None);
    }
}
