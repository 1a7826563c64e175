//! A reservation as it stands in the snapshot and in the journal: borrowed from the file's bytes, so
//! that thousands are read in a few milliseconds.

use std::net::Ipv4Addr;

use jiff::{Timestamp, civil::DateTime, tz::Offset};
use serde::{Deserialize, Serialize, de};

use super::{IdRange, MacAddress, Reservation};
use crate::ContainerName;

/// One reservation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Record<'a> {
    pub(super) name: &'a str,
    pub(super) ip: Ipv4Addr,
    pub(super) mac: MacAddress,
    /// The container's root on the host; a privileged container has no range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id_base: Option<u32>,
    pub(super) created: Timestamp,
}

impl<'a> Record<'a> {
    /// Reads a record that stands exactly as this program writes it, and gives what follows it; `None`
    /// for anything else, which is then for serde. It does in a fifth of the time what serde does, and
    /// every `provision` reads all records.
    pub(super) fn parse_canonical(text: &'a str) -> Option<(Self, &'a str)> {
        let (name, rest) = plain_string(text.strip_prefix(r#"{"name":""#)?)?;
        let (ip, rest) = plain_string(rest.strip_prefix(r#","ip":""#)?)?;
        let (mac, rest) = plain_string(rest.strip_prefix(r#","mac":""#)?)?;
        let (id_base, rest) = match rest.strip_prefix(r#","id_base":"#) {
            Some(rest) => {
                let (digits, rest) = rest.split_at(rest.bytes().position(|byte| !byte.is_ascii_digit())?);
                (Some(canonical_number(digits)?), rest)
            }
            None => (None, rest),
        };
        let (created, rest) = plain_string(rest.strip_prefix(r#","created":""#)?)?;
        let record =
            Self { name, ip: ip.parse().ok()?, mac: mac.parse().ok()?, id_base, created: canonical_time(created)? };
        Some((record, rest.strip_prefix('}')?))
    }
}

/// What stands before the closing quote of a string without escapes, and what follows the quote.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte.is_ascii_control())?;
    // Splits at an ASCII byte, so between characters.
    let (string, rest) = text.split_at(end);
    Some((string, rest.strip_prefix('"')?))
}

/// A number as JSON has it: no sign, no zero in front.
pub(super) fn canonical_number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// A time as `2025-01-31T12:00:00Z`.
fn canonical_time(text: &str) -> Option<Timestamp> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let [y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd, b'T', h, hh, b':', i, ii, b':', s, ss, b'Z'] = *bytes else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0i16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0')))
    };
    let two = |tens, ones| number(&[tens, ones]).map(|value| value as i8);
    let time =
        DateTime::new(number(&[y, yy, yyy, yyyy])?, two(m, mm)?, two(d, dd)?, two(h, hh)?, two(i, ii)?, two(s, ss)?, 0);
    Offset::UTC.to_timestamp(time.ok()?).ok()
}

/// What a container holds besides its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    pub(super) ip: Ipv4Addr,
    pub(super) mac: MacAddress,
    pub(super) id_range: Option<IdRange>,
    pub(super) created: Timestamp,
}

impl Held {
    /// As it is written.
    pub(super) fn record<'a>(&self, name: &'a ContainerName) -> Record<'a> {
        let id_base = self.id_range.map(|range| range.base());
        Record { name: name.as_str(), ip: self.ip, mac: self.mac, id_base, created: self.created }
    }

    /// As it is told.
    pub(super) fn reservation(&self, name: &ContainerName) -> Reservation {
        let Self { ip, mac, id_range, created } = *self;
        Reservation { name: name.clone(), ip, mac, id_range, created }
    }
}

impl TryFrom<Record<'_>> for (ContainerName, Held) {
    type Error = serde_json::Error;
    fn try_from(record: Record<'_>) -> Result<Self, serde_json::Error> {
        let id_range = match record.id_base {
            Some(base) => Some(IdRange::new(base).ok_or_else(|| de::Error::custom("an id range beyond 32 bits"))?),
            None => None,
        };
        let name = record.name.parse().map_err(de::Error::custom)?;
        Ok((name, Held { ip: record.ip, mac: record.mac, id_range, created: record.created }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_read_by_both_readers_alike(
            name in "[a-z0-9._-]{1,63}", ip: u32, mac: [u8; 6], id_base: Option<u32>, seconds in 0i64..253_402_000_000,
        ) {
            let record = Record {
                name: &name, ip: ip.into(), mac: MacAddress::new(mac), id_base,
                created: Timestamp::from_second(seconds).unwrap(),
            };
            let text = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(serde_json::from_str::<Record<'_>>(&text).unwrap(), record);
            let more = format!("{text},more");
            prop_assert_eq!(Record::parse_canonical(&more), Some((record, ",more")));
        }

        #[test]
        fn what_the_fast_reader_takes_serde_takes_alike(at in 0usize..160, byte: char) {
            let text = r#"{"name":"web","ip":"10.1.0.2","mac":"02:00:00:00:00:01","id_base":1073741824,"created":"2025-01-31T12:00:00Z"}"#;
            let at = at % text.len();
            let changed = format!("{}{byte}{}", &text[..at], &text[at + 1..]);
            if let Some((record, "")) = Record::parse_canonical(&changed) {
                prop_assert_eq!(serde_json::from_str::<Record<'_>>(&changed).unwrap(), record, "{}", changed);
            }
        }
    }

    #[test]
    fn what_is_not_canonical_is_left_to_serde() {
        let good =
            r#"{"name":"a","ip":"10.1.0.2","mac":"02:00:00:00:00:01","id_base":7,"created":"2025-01-31T12:00:00Z"}"#;
        assert!(Record::parse_canonical(good).is_some());
        for (from, to) in [
            ("\"a\"", "\"\\u0061\""),
            (":7", ":07"),
            (":7", ":+7"),
            ("00Z", "60Z"),
            ("00Z", "0.5Z"),
            ("01-31", "02-30"),
        ] {
            assert_eq!(Record::parse_canonical(&good.replacen(from, to, 1)), None, "{to}");
        }
    }
}
