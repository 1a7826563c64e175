//! Values that more than one command takes, from text.

use std::{convert::Infallible, ffi::OsString, num::NonZeroUsize, path::Path, time::Duration};

use appcontainers::ImageSource;
use ipnetwork::Ipv4Network;

/// The longest time that a stop may be told to wait: a day.
const MAX_SECONDS: u64 = 86_400;

/// An image's file (`app.aimg`, `dir/app`) or the name of one in the store.
pub(super) fn image_source(text: OsString) -> Result<ImageSource, Infallible> {
    Ok(match text.to_str() {
        Some(text) => text.into(),
        None => Path::new(&text).into(),
    })
}

/// Whole seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds <= MAX_SECONDS => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("use whole seconds, 0 to {MAX_SECONDS}")),
    }
}

/// Seconds, also parts of one, between two looks.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=MAX_SECONDS as f64).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("use seconds, 0.1 to {MAX_SECONDS}")),
    }
}

/// A network, `10.99.0.0/16`.
pub(super) fn network(text: &str) -> Result<Ipv4Network, String> {
    text.parse().map_err(|_| "use an IPv4 network, as 10.99.0.0/16".to_owned())
}

/// A number of a listing, from 1 on.
pub(super) fn number(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "use a number of the listing, 1 for the first".to_owned())
}

/// `KEY=VALUE` for a command's environment.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("use KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_equals_signs_and_a_key_must_be_there() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
        assert!(variable("=b").is_err());
        assert!(variable("A").is_err());
    }

    #[test]
    fn seconds_are_whole_and_bounded() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("86400"), Ok(Duration::from_secs(86_400)));
        for bad in ["86401", "-1", "1.5", "", "ten"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_interval_may_be_short_but_not_nothing() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "0.01", "-1", "86401", "NaN", "inf", "", "often"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_told_from_a_name_in_the_store() {
        let source = |text: &str| image_source(text.into()).unwrap();
        assert_eq!(source("shop"), ImageSource::Name("shop".parse().unwrap()));
        for file in ["app.aimg", "./shop", "dir/shop", "Shop"] {
            assert_eq!(source(file), ImageSource::File(file.into()));
        }
    }
}
