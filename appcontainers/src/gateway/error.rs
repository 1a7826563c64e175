//! What can go wrong with the gateway.

use std::{io, path::PathBuf};

use super::{Fqdn, Upstream, UpstreamPattern};
use crate::{
    ContainerName,
    network::ReservationError,
    program::ProgramError,
    state::{LockError, StateError},
};

/// Why something could not be published, or the gateway not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Caddy is missing.
    #[error("the gateway cannot run")]
    Program(#[from] ProgramError),
    /// A lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The containers' addresses.
    #[error(transparent)]
    Reservations(#[from] ReservationError),
    /// There is no such container.
    #[error("there is no container {name}; `appc ls` lists them")]
    NoContainer {
        /// Its name.
        name: ContainerName,
    },
    /// One port of a container is named twice.
    #[error("{upstream} is named twice; name each container, or each port of it, once")]
    Twice {
        /// The container and its port.
        upstream: Upstream,
    },
    /// Nothing is published under this name.
    #[error("nothing is published as {name}; `appc gateway ls` lists what is")]
    NotPublished {
        /// The name.
        name: Fqdn,
    },
    /// The container is not behind this name.
    #[error("{pattern} is not published as {name}; `appc gateway ls` lists what is")]
    NotBehind {
        /// The name.
        name: Fqdn,
        /// What was to be unpublished.
        pattern: UpstreamPattern,
    },
    /// One port would have to speak both, with and without TLS.
    #[error(
        "port {port} speaks {speaks} for {other}, and cannot speak {wanted} for {name}; choose another: --port PORT"
    )]
    PortSpeaks {
        /// The port.
        port: u16,
        /// What it speaks.
        speaks: &'static str,
        /// For whom.
        other: Fqdn,
        /// What it would have to speak, too.
        wanted: &'static str,
        /// For whom.
        name: Fqdn,
    },
    /// Authorities give certificates for many names only to who shows that the zone is theirs.
    #[error(
        "no authority gives a certificate for {name} by ACME over HTTP; publish each name by itself, or give the \
         certificate: --tls-cert FILE --tls-key FILE"
    )]
    WildcardByAcme {
        /// The name.
        name: Fqdn,
    },
    /// Another program listens there.
    #[error(
        "port {port} is taken by another program; `ss -ltnp sport = :{port}` names it (Caddy's own service ends with: \
         systemctl disable --now caddy)"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Caddy does not take the configuration; what it had is as it was.
    #[error("Caddy refuses this: {said}")]
    Refused {
        /// Its words.
        said: String,
    },
    /// Caddy can't be talked to.
    #[error("cannot talk to the gateway at {}; start it anew: systemctl restart appcontainers-gateway", socket.display())]
    Talk {
        /// Caddy's socket.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is one already.
    #[error("the gateway runs already, as process {pid}")]
    Runs {
        /// Its process.
        pid: i32,
    },
    /// What needs its directory to itself finds one there.
    #[error("the gateway runs, as process {pid}; end it first: systemctl disable --now appcontainers-gateway")]
    MustNotRun {
        /// Its process.
        pid: i32,
    },
    /// There is none.
    #[error(
        "the gateway does not run; start it: systemctl enable --now appcontainers-gateway, or in the foreground: appc \
         gateway run"
    )]
    DoesNotRun,
    /// Nobody to run it as.
    #[error(
        "there is no user {user}, as whom the gateway runs; add it: useradd --system --shell /usr/sbin/nologin {user}"
    )]
    NoUser {
        /// The user's name.
        user: &'static str,
    },
    /// A file of the caller's.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The path of a file can't stand in a configuration.
    #[error(
        "cannot use {path:?}: its path holds a control character, a brace or is no UTF-8; give the file another name"
    )]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A step on a file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The step.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// For `map_err`: a step failed.
pub(super) fn step(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> GatewayError {
    let path = path.into();
    move |source| GatewayError::Io { action, path, source }
}
