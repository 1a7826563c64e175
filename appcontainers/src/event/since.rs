//! From where on the journal is read.

use std::str::FromStr;

use jiff::Timestamp;

/// From where on events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    /// From the oldest that is there.
    #[default]
    Oldest,
    /// Those after the one with this number; 0 for all that ever were.
    Number(u64),
    /// From the first on that was written at this time or later.
    Time(Timestamp),
}

/// A text that is neither an event's number nor a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use an event's number, as 41 for those after it, or a time, as 2026-01-02T03:04:05Z")]
pub struct BadSince;

impl FromStr for Since {
    type Err = BadSince;

    /// A number, or a time in RFC 3339.
    fn from_str(text: &str) -> Result<Self, BadSince> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Since::Number).map_err(|_| BadSince);
        }
        text.parse().map(Since::Time).map_err(|_| BadSince)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_number_and_the_rest_has_to_be_a_time() {
        assert_eq!("41".parse(), Ok(Since::Number(41)));
        let time = Since::Time("2026-01-02T01:04:05Z".parse().unwrap());
        assert_eq!("2026-01-02T03:04:05+02:00".parse(), Ok(time));
        for bad in ["", "-1", "1.5", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "99999999999999999999999"] {
            assert_eq!(bad.parse::<Since>(), Err(BadSince), "{bad}");
        }
    }
}
