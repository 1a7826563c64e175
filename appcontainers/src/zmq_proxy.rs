//! Output and events for other machines: a program of its own, which takes the place of its caller. `docs/zeromq.md`
//! describes what it offers.

use std::{
    convert::Infallible,
    ffi::OsString,
    fmt,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use crate::{
    Error, Service,
    error::io_error,
    runtime::{RuntimeError, programs},
    state::create_run_directories,
};

/// The last port that has a next one.
const LAST_PORT: u16 = u16::MAX - 1;

/// What a proxy is to do.
#[derive(Debug, Clone)]
pub struct ZmqProxyOptions {
    /// Where it listens.
    pub endpoint: TcpEndpoint,
    /// The file of its key pair, as [`Service::zmq_key`] makes it; a new pair without one.
    pub keys: Option<PathBuf>,
    /// Who may connect: public keys, or files that have one. Nobody else can read anything.
    pub allow: Vec<OsString>,
    /// Whether it prints its public key as JSON.
    pub json: bool,
}

/// Where a proxy listens: `tcp://ADDRESS:PORT` is for output and events, the port after that for requests.
///
/// # Examples
///
/// ```
/// use appcontainers::TcpEndpoint;
///
/// let endpoint: TcpEndpoint = "tcp://[::1]:5555".parse()?;
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:5555");
/// assert!("tcp://localhost".parse::<TcpEndpoint>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpEndpoint {
    address: String,
    port: u16,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use tcp://ADDRESS:PORT, with a port of 1 to 65534; an IPv6 address stands in brackets, and * is any address")]
pub struct InvalidEndpoint;

impl FromStr for TcpEndpoint {
    type Err = InvalidEndpoint;
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let (address, port) =
            text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or(InvalidEndpoint)?;
        let is_bare =
            |address: &str| address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_%".contains(&byte));
        let is_address = match address.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.is_some_and(|inner| inner.split(':').all(is_bare)),
            None => address == "*" || (!address.is_empty() && is_bare(address)),
        };
        match port.parse() {
            Ok(port @ 1..=LAST_PORT) if is_address => Ok(Self { address: address.to_owned(), port }),
            _ => Err(InvalidEndpoint),
        }
    }
}

impl TcpEndpoint {
    /// Where requests are answered.
    fn requests(&self) -> Self {
        Self { address: self.address.clone(), port: self.port + 1 }
    }
}

impl fmt::Display for TcpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.address, self.port)
    }
}

impl Service {
    /// Becomes the proxy, which runs until it is killed. Returns only if that fails.
    pub fn zmq_proxy(&self, options: &ZmqProxyOptions) -> Result<Infallible, Error> {
        // Containers come here when they start, which none may have done yet.
        create_run_directories(self.paths()).map_err(io_error("create", self.paths().run()))?;
        let mut words: Vec<OsString> = vec!["run".into()];
        for (option, value) in [
            ("--containers", self.paths().run().join("containers").into_os_string()),
            ("--output", options.endpoint.to_string().into()),
            ("--requests", options.endpoint.requests().to_string().into()),
        ] {
            words.extend([option.into(), value]);
        }
        words.extend(options.keys.iter().flat_map(|keys| ["--keys".into(), keys.clone().into_os_string()]));
        words.extend(options.allow.iter().flat_map(|allowed| ["--allow".into(), allowed.clone()]));
        become_proxy(words, options.json)
    }

    /// Becomes a program that makes a key pair for a proxy or for a client of one: it writes it to a new file, which only
    /// its owner can read, and prints the public key; or prints both. Returns only if the program is not there.
    pub fn zmq_key(&self, output: Option<&Path>, json: bool) -> Result<Infallible, Error> {
        let mut words: Vec<OsString> = vec!["key".into()];
        words.extend(output.iter().flat_map(|output| ["--output".into(), output.as_os_str().to_owned()]));
        become_proxy(words, json)
    }
}

fn become_proxy(words: Vec<OsString>, json: bool) -> Result<Infallible, Error> {
    let program = programs::zmq_proxy().map_err(RuntimeError::from)?;
    let error = Command::new(&program).args(words).args(json.then_some("--json")).exec();
    Err(io_error("run", program)(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_an_address_and_a_port_that_has_a_next() {
        for good in
            ["tcp://127.0.0.1:5555", "tcp://*:1", "tcp://[::1]:65534", "tcp://eth0:5555", "tcp://[fe80::1%eth0]:9"]
        {
            assert_eq!(good.parse::<TcpEndpoint>().unwrap().to_string(), good);
        }
        assert_eq!(
            "tcp://a.example:5555".parse::<TcpEndpoint>().unwrap().requests().to_string(),
            "tcp://a.example:5556"
        );
        for bad in [
            "",
            "tcp://",
            "127.0.0.1:5555",
            "tcp://:5555",
            "tcp://a",
            "tcp://a:",
            "tcp://a:0",
            "tcp://a:65535",
            "tcp://a:x",
            "ipc:///a:5555",
            "tcp://a b:5555",
            "tcp://a;tcp://b:5555",
            "tcp://[::1:5555",
            "tcp://::1:5555",
            "tcp://**:5",
        ] {
            assert_eq!(bad.parse::<TcpEndpoint>(), Err(InvalidEndpoint), "{bad}");
        }
    }
}
