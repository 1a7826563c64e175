//! Processors: how many, and which.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The least share of a processor that the kernel gives (a millisecond of each tenth of a second), in thousandths.
const LEAST_CPUS: u32 = 10;

/// More processors than any host has.
const MOST_CPUS: u32 = 16_384;

/// Processors, also parts of one, to a thousandth. In JSON a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus {
    thousandths: u32,
}

/// A text or number that is no number of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use a number of processors, 0.01 or more, as 1.5")]
pub struct BadCpus;

impl Cpus {
    /// So many thousandths of a processor.
    pub fn from_thousandths(thousandths: u32) -> Result<Self, BadCpus> {
        match (LEAST_CPUS..=MOST_CPUS * 1000).contains(&thousandths) {
            true => Ok(Self { thousandths }),
            false => Err(BadCpus),
        }
    }

    /// Thousandths of a processor.
    pub fn thousandths(self) -> u32 {
        self.thousandths
    }

    fn from_number(number: f64) -> Result<Self, BadCpus> {
        if !number.is_finite() || !(0.0..=f64::from(MOST_CPUS)).contains(&number) {
            return Err(BadCpus);
        }
        Self::from_thousandths((number * 1000.0).round() as u32)
    }
}

impl FromStr for Cpus {
    type Err = BadCpus;

    fn from_str(text: &str) -> Result<Self, BadCpus> {
        // Not `inf`, `1e3` or `+1`.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(BadCpus);
        }
        text.parse().map_err(|_| BadCpus).and_then(Self::from_number)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f64::from(self.thousandths) / 1000.0).fmt(f)
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.thousandths) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Cpus;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of processors, as 1.5")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cpus, E> {
                Cpus::from_number(number).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cpus, E> {
                self.visit_f64(number as f64)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cpus, E> {
                self.visit_f64(number as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cpus, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Numbers of processors, as the kernel writes them (`0-3,8`, cpuset(7)); never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u32>);

/// A text that names no processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use numbers of processors, as 0 or 0-1,3")]
pub struct BadCpuSet;

impl CpuSet {
    /// Those that are not in `other`; none if all are.
    pub fn beyond(&self, other: &Self) -> Option<Self> {
        let beyond: BTreeSet<_> = self.0.difference(&other.0).copied().collect();
        (!beyond.is_empty()).then_some(Self(beyond))
    }
}

impl FromStr for CpuSet {
    type Err = BadCpuSet;

    fn from_str(text: &str) -> Result<Self, BadCpuSet> {
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|number| is_number && *number < MOST_CPUS).ok_or(BadCpuSet)
        };
        let mut set = BTreeSet::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(BadCpuSet);
            }
            set.extend(first..=last);
        }
        Ok(Self(set))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = CpuSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers of processors, as \"0-1,3\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<CpuSet, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<CpuSet, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CpuSet, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_may_be_parts() {
        for (text, thousandths, shown) in [
            ("1", 1000, "1"),
            ("1.5", 1500, "1.5"),
            ("0.01", 10, "0.01"),
            (".5", 500, "0.5"),
            ("64.125", 64_125, "64.125"),
        ] {
            assert_eq!(text.parse(), Ok(Cpus { thousandths }), "{text}");
            assert_eq!(Cpus { thousandths }.to_string(), shown);
        }
        for bad in ["", "0", "-1", "0.001", "+1", "1e3", "inf", "NaN", "1,5", "two", "99999999", "."] {
            assert_eq!(bad.parse::<Cpus>(), Err(BadCpus), "{bad}");
        }
    }

    #[test]
    fn sets_are_written_as_the_kernel_writes_them() {
        for (text, shown) in [("0", "0"), ("1,0", "0-1"), ("0-3,8", "0-3,8"), ("3,1,2,7-7", "1-3,7"), (" 0-1\n", "0-1")]
        {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), shown);
        }
        for bad in ["", ",", "a", "-1", "1-", "3-1", "0,", "0-99999999", "+1", "0:1"] {
            assert_eq!(bad.parse::<CpuSet>(), Err(BadCpuSet), "{bad}");
        }
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        assert_eq!(set("0-1").beyond(&set("0-3")), None);
        assert_eq!(set("0,99").beyond(&set("0-3")), Some(set("99")));
    }
}
