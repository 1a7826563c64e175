//! Values that more than one command takes, from text.

use std::{
    convert::Infallible,
    ffi::OsString,
    num::{NonZeroU16, NonZeroUsize},
    path::Path,
    str::FromStr,
    time::Duration,
};

use appcontainers::{
    ContainerName, ImageSource, Init, NetworkMode,
    event::Since,
    network::{Port, Protocol, policy::Egress},
};
use ipnetwork::Ipv4Network;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;

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

/// A time, `500ms`, `30s`, `2m`, or whole seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let whole = text.parse().ok().map(Duration::from_secs);
    let with_unit = || Duration::try_from(text.parse::<SignedDuration>().ok()?).ok();
    let most = Duration::from_secs(MAX_SECONDS);
    whole
        .or_else(with_unit)
        .filter(|time| *time <= most)
        .ok_or_else(|| format!("use a time, as 500ms, 30s or 2m, of {MAX_SECONDS} s at the most"))
}

/// Seconds, also parts of one, between two looks.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=MAX_SECONDS as f64).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("use seconds, 0.1 to {MAX_SECONDS}")),
    }
}

/// A number of bytes, with K, M, G or T behind it for as many of 1024, 1024², …
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "use a number of bytes, or with K, M, G or T: 512M, 10G".to_owned();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// A switch.
pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("use on or off".to_owned()),
    }
}

/// What a container's process 1 is.
pub(super) fn init(text: &str) -> Result<Init, String> {
    match text {
        "app" => Ok(Init::App),
        "system" => Ok(Init::System),
        _ => Err("use app or system".to_owned()),
    }
}

/// How a container is connected to the host.
pub(super) fn network_mode(text: &str) -> Result<NetworkMode, String> {
    match text {
        "routed" => Ok(NetworkMode::Routed),
        "bridge" => Ok(NetworkMode::Bridge),
        _ => Err("use routed or bridge".to_owned()),
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

/// A port of the host.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| "use a port, 1 to 65535".to_owned())
}

/// A signal by number, or by name with or without `SIG`.
pub(super) fn signal(text: &str) -> Result<u8, String> {
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    number
        .or_else(|| Signal::from_str(&name).ok().map(|signal| signal as u8))
        .ok_or_else(|| "use a signal's name or number, as TERM or 15".to_owned())
}

/// A time (RFC 3339), or how long ago it was.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    let ago = || text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative());
    let time = text.parse().ok().or_else(|| Timestamp::now().checked_sub(ago()?).ok());
    time.ok_or_else(|| "use a time, as 2026-01-31T12:00:00Z, or how long ago, as 90s, 10m, 2h".to_owned())
}

/// From which event on: behind a number, or from a time on.
pub(super) fn since_event(text: &str) -> Result<Since, String> {
    match text.parse() {
        Ok(number) => Ok(Since::Number(number)),
        Err(_) => since(text)
            .map(Since::Time)
            .map_err(|what| format!("use an event's number, as 41 for those after it; or {what}")),
    }
}

/// A TCP port of a container: of the one that is named, else of the one that `-c` and its like mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerPort {
    pub(super) name: Option<ContainerName>,
    pub(super) port: NonZeroU16,
}

/// `NAME:PORT` or `PORT`.
pub(super) fn container_port(text: &str) -> Result<ContainerPort, String> {
    let (name, port) = text.rsplit_once(':').map_or((None, text), |(name, port)| (Some(name), port));
    let name = name.map(str::parse).transpose().map_err(|error: appcontainers::InvalidName| error.to_string())?;
    let port: Port = port.parse().map_err(|_| "use NAME:PORT with a port of 1 to 65535, as web:80".to_owned())?;
    let port = match port.protocol {
        Protocol::Tcp => port.number,
        Protocol::Udp => {
            return Err("UDP has no connections, so nothing tells a port that is ready from one that is silent; \
                        wait for a TCP port, or for what the program says: appc logs -f"
                .to_owned());
        }
    };
    Ok(ContainerPort { name, port })
}

/// A container's port, or a container alone: `web`, `web:80`, `web:53/udp`.
#[derive(Debug, Clone)]
pub(super) struct NameAndPort {
    pub(super) name: ContainerName,
    pub(super) port: Option<Port>,
}

impl FromStr for NameAndPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse::<Port>().map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        Ok(Self { name: name.parse().map_err(|error: appcontainers::InvalidName| error.to_string())?, port })
    }
}

/// Where a container may connect to outside: `all`, `none`, or networks with commas between them.
pub(super) fn egress(text: &str) -> Result<Egress, String> {
    text.parse().map_err(|error: appcontainers::network::policy::InvalidEgress| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_name_its_container_and_is_never_udps() {
        let port = |name: Option<&str>, port: u16| {
            Ok(ContainerPort { name: name.map(|name| name.parse().unwrap()), port: port.try_into().unwrap() })
        };
        assert_eq!(container_port("web:80"), port(Some("web"), 80));
        assert_eq!(container_port("8080"), port(None, 8080));
        assert_eq!(container_port("web:80/tcp"), port(Some("web"), 80));
        assert!(container_port("web:53/udp").unwrap_err().contains("UDP has no connections"));
        for bad in
            ["", "web", "web:", ":80", "web:0", "web:65536", "web:-1", "web:80/sctp", "../x:80", "web:80:1", "web:\n80"]
        {
            assert!(container_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        for (text, number) in [("TERM", 15), ("sigterm", 15), ("HUP", 1), ("9", 9), ("40", 40)] {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for bad in ["", "0", "65", "TERMINATE", "-9"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_one_or_some_time_ago() {
        assert_eq!(since("2026-01-02T03:04:05Z"), Ok("2026-01-02T03:04:05Z".parse().unwrap()));
        let ago = Timestamp::now().duration_since(since("10m").unwrap()).as_secs();
        assert!((599..660).contains(&ago), "{ago}");
        for bad in ["", "yesterday", "-5m", "10"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digits_are_an_events_number_and_the_rest_is_a_time() {
        assert_eq!(since_event("41"), Ok(Since::Number(41)));
        let time = Since::Time("2026-01-02T01:04:05Z".parse().unwrap());
        assert_eq!(since_event("2026-01-02T03:04:05+02:00"), Ok(time));
        assert!(matches!(since_event("10m"), Ok(Since::Time(_))));
        for bad in ["", "-1", "1.5", "yesterday", "99999999999999999999999"] {
            assert!(since_event(bad).is_err(), "{bad}");
        }
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
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, millis) in [("30", 30_000), ("500ms", 500), ("2m", 120_000), ("0", 0)] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "-1s", "soon", "1.5", "86401"] {
            assert!(time(bad).is_err(), "{bad}");
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
