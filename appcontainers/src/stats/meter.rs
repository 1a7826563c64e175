//! Samples one after the other, with the rates between them: what `top` shows.

use std::{cmp::Reverse, collections::HashMap, str::FromStr};

use serde::Serialize;

use super::{Rates, Stats};
use crate::{ContainerName, Error, Service};

/// What a running container uses now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    /// The sample.
    #[serde(flatten)]
    pub stats: Stats,
    /// Since the sample before it.
    pub rates: Rates,
}

/// Takes samples, and keeps the last one of each container for the rates of the next.
///
/// # Examples
///
/// ```no_run
/// use std::{thread, time::Duration};
///
/// use appcontainers::{Paths, Service, stats::SortBy};
///
/// let mut meter = Service::open(Paths::from_env()?).meter(None)?;
/// for _ in 0..10 {
///     let mut usages = meter.measure()?;
///     SortBy::Cpu.sort(&mut usages);
///     for usage in usages {
///         println!("{} {:?}", usage.stats.name, usage.rates.cpu_percent);
///     }
///     thread::sleep(Duration::from_secs(1));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Meter {
    service: Service,
    only: Option<ContainerName>,
    earlier: HashMap<ContainerName, Stats>,
}

impl Meter {
    pub(crate) fn new(service: Service, only: Option<ContainerName>) -> Self {
        Self { service, only, earlier: HashMap::new() }
    }

    /// What the containers that run use, by name. Rates are since the last call; in the first one, and for a container
    /// that was started meanwhile, since its start.
    pub fn measure(&mut self) -> Result<Vec<Usage>, Error> {
        let mut samples = self.service.running_stats()?;
        samples.retain(|stats| self.only.as_ref().is_none_or(|only| *only == stats.name));
        let usages = samples.iter().map(|stats| {
            let rates = Rates::between(self.earlier.get(&stats.name), stats);
            Usage { stats: stats.clone(), rates }
        });
        let usages = usages.collect();
        self.earlier = samples.into_iter().map(|stats| (stats.name.clone(), stats)).collect();
        Ok(usages)
    }
}

/// What a listing of [`Usage`] is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// The busiest first.
    #[default]
    Cpu,
    /// The largest working set first.
    Memory,
    /// The most processes first.
    Pids,
    /// The most bytes from and to disks per second first.
    Io,
    /// The most bytes from and to the network per second first.
    Network,
    /// In alphabetical order.
    Name,
}

impl SortBy {
    /// All of them, by name.
    pub const ALL: [(&str, SortBy); 6] = [
        ("cpu", SortBy::Cpu),
        ("mem", SortBy::Memory),
        ("pids", SortBy::Pids),
        ("io", SortBy::Io),
        ("net", SortBy::Network),
        ("name", SortBy::Name),
    ];

    /// Sorts; equals by name.
    pub fn sort(self, usages: &mut [Usage]) {
        usages.sort_by(|one, other| one.stats.name.cmp(&other.stats.name));
        usages.sort_by_key(|usage| Reverse(self.weight(usage)));
    }

    fn weight(self, usage: &Usage) -> u64 {
        let (stats, rates) = (&usage.stats, &usage.rates);
        let both = |one: Option<u64>, other: Option<u64>| one.unwrap_or(0).saturating_add(other.unwrap_or(0));
        match self {
            SortBy::Cpu => rates.cpu_percent.map_or(0, |percent| (percent * 100.0) as u64),
            SortBy::Memory => stats.memory.map_or(0, |memory| memory.working_set_bytes),
            SortBy::Pids => stats.pids.map_or(0, |pids| pids.current),
            SortBy::Io => both(rates.read_bytes_per_second, rates.written_bytes_per_second),
            SortBy::Network => both(rates.rx_bytes_per_second, rates.tx_bytes_per_second),
            SortBy::Name => 0,
        }
    }
}

/// A text that is no key to sort by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use cpu, mem, pids, io, net or name")]
pub struct BadSortKey;

impl FromStr for SortBy {
    type Err = BadSortKey;

    fn from_str(text: &str) -> Result<Self, BadSortKey> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, key)| *key).ok_or(BadSortKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Memory, Pids};

    fn usage(name: &str, cpu_percent: Option<f64>, bytes: u64) -> Usage {
        let stats = Stats {
            name: name.parse().unwrap(),
            start: "1".to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            uptime_ns: 1,
            cpu: None,
            memory: Some(Memory { current_bytes: 0, working_set_bytes: bytes, limit_bytes: None }),
            pids: Some(Pids { current: bytes, limit: None }),
            io: None,
            network: None,
        };
        let rates = Rates { cpu_percent, tx_bytes_per_second: Some(bytes), ..Rates::default() };
        Usage { stats, rates }
    }

    #[test]
    fn the_greatest_comes_first_and_equals_are_in_alphabetical_order() {
        let order = |key: &str| {
            let mut usages = [usage("c", Some(0.5), 1), usage("b", None, 9), usage("a", Some(99.0), 5)];
            key.parse::<SortBy>().unwrap().sort(&mut usages);
            usages.map(|usage| usage.stats.name.to_string()).concat()
        };
        assert_eq!(order("cpu"), "acb");
        for key in ["mem", "pids", "net"] {
            assert_eq!(order(key), "bac", "{key}");
        }
        for key in ["name", "io"] {
            assert_eq!(order(key), "abc", "{key}");
        }
        assert_eq!("memory".parse::<SortBy>(), Err(BadSortKey));
    }
}
