//! Waiting until a container's port is ready.
//!
//! It is tried from the host, as any client of the host's would: again and again, at short intervals first. The container's end is
//! seen at once, by the handle (pidfd) of its init.

mod probe;

use std::{
    fmt,
    net::SocketAddrV4,
    num::NonZeroU16,
    os::fd::{AsFd, OwnedFd},
    str::FromStr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use self::probe::PortProbe;
use self::probe::{Found, News};
use super::Container;
use crate::{
    Error,
    network::{ReservationError, Reservations},
    runtime::{StartRecord, Status},
};

/// Between the first two tries; each pause is twice the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long one try may take: what takes longer is asked again.
const TRY: Duration = Duration::from_secs(10);

/// How long the last try may take where no time is left for it.
const LAST_TRY: Duration = Duration::from_millis(100);

/// More than anybody waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a port is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortFailure {
    /// Nobody listens, or there is no way.
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    /// Connecting took too long.
    #[error("no connection came about in time")]
    NoConnection,
    /// The answer took too long.
    #[error("it takes connections, but gave no answer in time")]
    NoAnswer,
    /// The connection was closed first.
    #[error("it closed the connection without an answer")]
    Closed,
    /// The connection broke.
    #[error("the connection broke before an answer")]
    Broken(#[source] std::io::Error),
    /// What it said is no answer.
    #[error("its answer is not HTTP")]
    NotHttp,
    /// An answer that is neither a success nor a redirection.
    #[error("it answered with code {0}")]
    Code(u16),
}

/// A path that can be asked for: it begins with `/`, and has nothing but printable ASCII without spaces.
///
/// # Examples
///
/// ```
/// use appcontainers::HttpPath;
///
/// assert_eq!("/health?full=1".parse::<HttpPath>()?.to_string(), "/health?full=1");
/// assert!("health".parse::<HttpPath>().is_err());
/// assert!("/a b".parse::<HttpPath>().is_err());
/// # Ok::<(), appcontainers::InvalidHttpPath>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpPath(String);

/// Not a path that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no path: it begins with /, and what is no printable ASCII is written as %20")]
pub struct InvalidHttpPath {
    text: String,
}

impl FromStr for HttpPath {
    type Err = InvalidHttpPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidHttpPath { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for HttpPath {
    type Error = InvalidHttpPath;

    fn try_from(text: String) -> Result<Self, InvalidHttpPath> {
        text.parse()
    }
}

impl From<HttpPath> for String {
    fn from(path: HttpPath) -> Self {
        path.0
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Container {
    /// Waits until a TCP port of the container takes connections from the host or, with `http`, answers a GET on that path with
    /// a success or a redirection (2xx, 3xx). It is an error if that is not so within `timeout`, and at once if the container
    /// does not run, or ends meanwhile. At least one try is made.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::{num::NonZeroU16, time::Duration};
    ///
    /// use appcontainers::{Paths, Service};
    ///
    /// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
    /// web.start()?;
    /// let port = NonZeroU16::try_from(80)?;
    /// web.wait_port(port, Some(&"/health".parse()?), Duration::from_secs(30))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_port(&self, port: NonZeroU16, http: Option<&HttpPath>, timeout: Duration) -> Result<(), Error> {
        let timeout = timeout.min(LONGEST_WAIT);
        let until = Instant::now() + timeout;
        let init = self.running_init(port)?;
        let ended = || Error::EndedBeforePort { name: self.name.clone(), port };
        let failed = |source| Error::Watch { name: self.name.clone(), source };
        let mut pause = FIRST_PAUSE;
        loop {
            // Asked each time: it may move while the container runs.
            let address = self.address(port)?;
            let now = Instant::now();
            let try_until = (now + TRY).min(until).max(now + LAST_TRY);
            let source = match probe::probe(address, http, init.as_fd(), try_until).map_err(failed)? {
                Found::Ready => return Ok(()),
                Found::Ended => return Err(ended()),
                Found::NotReady(failure) => failure,
            };
            let now = Instant::now();
            if now >= until {
                return Err(Error::PortNotReady { name: self.name.clone(), address, waited: timeout, source });
            }
            match probe::wait(None, init.as_fd(), (now + pause).min(until)).map_err(failed)? {
                News::Ended => return Err(ended()),
                News::Nothing | News::Socket => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// A handle of the init of the container, which must run.
    fn running_init(&self, port: NonZeroU16) -> Result<OwnedFd, Error> {
        let start = StartRecord::load(&self.paths, &self.name)?.filter(|start| start.status() == Status::Running);
        let init = start.and_then(|start| start.init).map(|init| init.open()).transpose();
        let init = init.map_err(|source| Error::Watch { name: self.name.clone(), source })?.flatten();
        init.ok_or_else(|| Error::PortOfStopped { name: self.name.clone(), port })
    }

    fn address(&self, port: NonZeroU16) -> Result<SocketAddrV4, Error> {
        let reservation = Reservations::read(&self.paths)?.get(&self.name);
        let reservation = reservation.ok_or_else(|| ReservationError::Unknown { name: self.name.clone() })?;
        Ok(SocketAddrV4::new(reservation.ip, port.get()))
    }
}
