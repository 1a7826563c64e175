//! What requests are passed on to: a container and a port in it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ContainerName;

/// Where a web server listens unless another port is said.
const DEFAULT_PORT: u16 = 80;

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// The container.
    pub container: ContainerName,
    /// The port on which a web server listens in it.
    pub port: u16,
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.container, self.port)
    }
}

/// `NAME` or `NAME:PORT`.
///
/// # Examples
///
/// ```
/// use appcontainers::gateway::UpstreamPattern;
///
/// let web: UpstreamPattern = "web:8080".parse()?;
/// assert_eq!((web.container.as_str(), web.port), ("web", Some(8080)));
/// assert_eq!("web".parse::<UpstreamPattern>()?.port, None);
/// assert!("web:0".parse::<UpstreamPattern>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPattern {
    /// The container.
    pub container: ContainerName,
    /// The port, where one was said.
    pub port: Option<u16>,
}

/// A text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a container's name with or without a port of 1 to 65535; use NAME or NAME:PORT, as web:8080")]
pub struct InvalidUpstream {
    text: String,
}

impl UpstreamPattern {
    /// The port that is meant where requests are to go.
    pub fn upstream(&self) -> Upstream {
        Upstream { container: self.container.clone(), port: self.port.unwrap_or(DEFAULT_PORT) }
    }

    /// Whether this is `upstream`: without a port, any of the container's.
    pub fn matches(&self, upstream: &Upstream) -> bool {
        self.container == upstream.container && self.port.is_none_or(|port| port == upstream.port)
    }
}

impl fmt::Display for UpstreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.container),
            None => self.container.fmt(f),
        }
    }
}

impl FromStr for UpstreamPattern {
    type Err = InvalidUpstream;
    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let invalid = || InvalidUpstream { text: text.to_owned() };
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(super::port::parse(port).ok_or_else(invalid)?)),
            None => (text, None),
        };
        Ok(Self { container: name.parse().map_err(|_| invalid())?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_of_sixteen_bits_and_not_0() {
        for bad in [
            "",
            ":",
            "web:",
            ":80",
            "web:0",
            "web:65536",
            "web:+1",
            "web:08",
            "web:80:80",
            "Web",
            "web: 80",
            "a/b",
            "w\n",
        ] {
            assert!(bad.parse::<UpstreamPattern>().is_err(), "{bad:?}");
        }
        let web: UpstreamPattern = "web".parse().unwrap();
        assert_eq!(web.upstream().to_string(), "web:80");
        assert!(web.matches(&Upstream { port: 81, ..web.upstream() }));
        assert!(!"web:80".parse::<UpstreamPattern>().unwrap().matches(&Upstream { port: 81, ..web.upstream() }));
    }
}
