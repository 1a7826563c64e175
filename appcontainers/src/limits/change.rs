//! One limit, as it is typed: `KEY=VALUE`, and `KEY=` or `KEY=none` to take it away.

use std::{fmt, str::FromStr};

use super::{
    CpuSet, Cpus, LEAST_MEMORY, LEAST_NOFILE, LEAST_PIDS, LEAST_RATE, Size,
    cpus::{BadCpuSet, BadCpus},
    size::BadSize,
};

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Bytes of memory and swap.
    Memory,
    /// Time on processors.
    Cpus,
    /// Which processors.
    Cpuset,
    /// Processes and threads.
    Pids,
    /// Bytes a second from the disk.
    IoRead,
    /// Bytes a second to the disk.
    IoWrite,
    /// Bytes a second that the container sends.
    NetEgress,
    /// Bytes a second that it receives.
    NetIngress,
    /// Open files of a process.
    Nofile,
}

impl Key {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Memory,
        Self::Cpus,
        Self::Cpuset,
        Self::Pids,
        Self::IoRead,
        Self::IoWrite,
        Self::NetEgress,
        Self::NetIngress,
        Self::Nofile,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
            Self::IoRead => "io.read",
            Self::IoWrite => "io.write",
            Self::NetEgress => "net.egress",
            Self::NetIngress => "net.ingress",
            Self::Nofile => "nofile",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Key {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let found = Self::ALL.into_iter().find(|key| key.name() == text);
        found.ok_or_else(|| BadLimit::Key { key: text.to_owned(), nearest: nearest(text) })
    }
}

/// Another value for one limit; none takes it away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the key of its name")]
pub enum LimitChange {
    Memory(Option<Size>),
    Cpus(Option<Cpus>),
    Cpuset(Option<CpuSet>),
    Pids(Option<u64>),
    IoRead(Option<Size>),
    IoWrite(Option<Size>),
    NetEgress(Option<Size>),
    NetIngress(Option<Size>),
    Nofile(Option<u64>),
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLimit {
    /// Not of the form.
    #[error("{0:?} is no limit; use KEY=VALUE, as memory=512M (KEY= takes it away), with one of {all}", all = all_keys())]
    Form(String),
    /// A key that nothing is known of.
    #[error("there is no limit {key:?}{}; those that there are: {all}", did_you_mean(*nearest), all = all_keys())]
    Key {
        /// What was said.
        key: String,
        /// What may have been meant.
        nearest: Option<Key>,
    },
    /// No size.
    #[error("{limit:?}: {source}")]
    Size {
        /// What was said.
        limit: String,
        /// What a size is.
        source: BadSize,
    },
    /// No number of processors.
    #[error("{limit:?}: {source}")]
    Cpus {
        /// What was said.
        limit: String,
        /// What one is.
        source: BadCpus,
    },
    /// No processors.
    #[error("{limit:?}: {source}")]
    Cpuset {
        /// What was said.
        limit: String,
        /// What they are.
        source: BadCpuSet,
    },
    /// No number.
    #[error("{limit:?}: use a whole number")]
    Number {
        /// What was said.
        limit: String,
    },
    /// With so little nothing runs.
    #[error("{limit} is too little for a container; use {key}={least} or more, or {key}=none for no limit", key = limit.key())]
    TooLittle {
        /// What was said.
        limit: LimitChange,
        /// What is enough.
        least: String,
    },
}

fn all_keys() -> String {
    Key::ALL.map(Key::name).join(", ")
}

fn did_you_mean(key: Option<Key>) -> String {
    key.map(|key| format!(" (do you mean {key}?)")).unwrap_or_default()
}

/// The key that is most like `text`, if one is.
fn nearest(text: &str) -> Option<Key> {
    let text = text.to_ascii_lowercase();
    let likeness = |key: Key| {
        // What people know it as elsewhere.
        let others: &[&str] = match key {
            Key::Memory => &["mem", "ram"],
            Key::Cpus => &["cpu"],
            Key::Pids => &["processes", "pids-limit"],
            _ => &[],
        };
        let names = [key.name()].into_iter().chain(others.iter().copied());
        names.map(|name| distance(&text, name)).min().unwrap_or(usize::MAX)
    };
    let best = Key::ALL.into_iter().min_by_key(|key| likeness(*key))?;
    (likeness(best) <= (text.chars().count() / 3).max(1)).then_some(best)
}

/// How many letters have to be changed, added or left out (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

impl LimitChange {
    /// Of what.
    pub fn key(&self) -> Key {
        match self {
            Self::Memory(_) => Key::Memory,
            Self::Cpus(_) => Key::Cpus,
            Self::Cpuset(_) => Key::Cpuset,
            Self::Pids(_) => Key::Pids,
            Self::IoRead(_) => Key::IoRead,
            Self::IoWrite(_) => Key::IoWrite,
            Self::NetEgress(_) => Key::NetEgress,
            Self::NetIngress(_) => Key::NetIngress,
            Self::Nofile(_) => Key::Nofile,
        }
    }

    /// Its value as text; none takes the limit away.
    pub fn value(&self) -> Option<String> {
        match self {
            Self::Memory(size)
            | Self::IoRead(size)
            | Self::IoWrite(size)
            | Self::NetEgress(size)
            | Self::NetIngress(size) => size.map(|size| size.to_string()),
            Self::Cpus(cpus) => cpus.map(|cpus| cpus.to_string()),
            Self::Cpuset(set) => set.as_ref().map(ToString::to_string),
            Self::Pids(number) | Self::Nofile(number) => number.map(|number| number.to_string()),
        }
    }

    /// Whether it takes the limit away.
    pub fn is_removal(&self) -> bool {
        self.value().is_none()
    }

    /// Whether a container can run with it, on any host.
    pub(super) fn check(&self) -> Result<(), BadLimit> {
        let least = match self {
            Self::Memory(Some(size)) if *size < LEAST_MEMORY => LEAST_MEMORY.to_string(),
            Self::IoRead(Some(size))
            | Self::IoWrite(Some(size))
            | Self::NetEgress(Some(size))
            | Self::NetIngress(Some(size))
                if *size < LEAST_RATE =>
            {
                LEAST_RATE.to_string()
            }
            Self::Pids(Some(number)) if *number < LEAST_PIDS => LEAST_PIDS.to_string(),
            Self::Nofile(Some(number)) if *number < LEAST_NOFILE => LEAST_NOFILE.to_string(),
            _ => return Ok(()),
        };
        Err(BadLimit::TooLittle { limit: self.clone(), least })
    }
}

impl FromStr for LimitChange {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let (key, value) = text.split_once('=').ok_or_else(|| BadLimit::Form(text.to_owned()))?;
        let key: Key = key.parse()?;
        let value = Some(value).filter(|value| !value.is_empty() && *value != "none");
        let limit = || text.to_owned();
        let size = || value.map(str::parse).transpose().map_err(|source| BadLimit::Size { limit: limit(), source });
        let number = || {
            let parse = |value: &str| value.parse::<u32>().map(u64::from).ok().filter(|_| !value.starts_with('+'));
            value.map(|value| parse(value).ok_or_else(|| BadLimit::Number { limit: limit() })).transpose()
        };
        let change = match key {
            Key::Memory => Self::Memory(size()?),
            Key::Cpus => Self::Cpus(
                value.map(str::parse).transpose().map_err(|source| BadLimit::Cpus { limit: limit(), source })?,
            ),
            Key::Cpuset => Self::Cpuset(
                value.map(str::parse).transpose().map_err(|source| BadLimit::Cpuset { limit: limit(), source })?,
            ),
            Key::Pids => Self::Pids(number()?),
            Key::IoRead => Self::IoRead(size()?),
            Key::IoWrite => Self::IoWrite(size()?),
            Key::NetEgress => Self::NetEgress(size()?),
            Key::NetIngress => Self::NetIngress(size()?),
            Key::Nofile => Self::Nofile(number()?),
        };
        change.check()?;
        Ok(change)
    }
}

impl fmt::Display for LimitChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key(), self.value().as_deref().unwrap_or("none"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_or_none_takes_a_limit_away() {
        for key in Key::ALL {
            for text in [format!("{key}="), format!("{key}=none")] {
                let change: LimitChange = text.parse().unwrap();
                assert!(change.is_removal());
                assert_eq!((change.key(), change.to_string()), (key, format!("{key}=none")));
            }
        }
    }

    #[test]
    fn nonsense_is_refused_and_says_what_would_do() {
        for (text, says) in [
            ("memory", "use KEY=VALUE"),
            ("memory=0", "memory=6M or more"),
            ("memory=-1", "use a number of bytes"),
            ("memory=1Z", "use a number of bytes"),
            ("cpus=-1", "0.01 or more"),
            ("cpus=0", "0.01 or more"),
            ("cpuset=a", "as 0 or 0-1,3"),
            ("pids=0", "pids=8 or more"),
            ("pids=1.5", "use a whole number"),
            ("pids=+9", "use a whole number"),
            ("io.read=1", "io.read=1K or more"),
            ("net.egress=fast", "use a number of bytes"),
            ("nofile=99999999999", "use a whole number"),
            ("memroy=1G", "do you mean memory?"),
            ("mem=1G", "do you mean memory?"),
            ("cpu=1", "do you mean cpus?"),
            ("IO.read=1M", "do you mean io.read?"),
            ("colour=red", "there are: memory, cpus, cpuset, pids, io.read, io.write, net.egress, net.ingress, nofile"),
            ("=1", "there is no limit"),
        ] {
            let error = text.parse::<LimitChange>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = "colour=red".parse::<LimitChange>().unwrap_err().to_string();
        assert!(!error.contains("mean"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_much_and_what_is_read_is_written_again(text in "([a-z.]{0,12}|memory|cpus|cpuset|pids|nofile)=.{0,20}") {
            if let Ok(change) = text.parse::<LimitChange>() {
                prop_assert_eq!(change.to_string().parse::<LimitChange>(), Ok(change));
            }
        }
    }
}
