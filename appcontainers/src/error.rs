//! What can go wrong, over all of the library.

use std::{io, net::SocketAddrV4, num::NonZeroU16, path::PathBuf, time::Duration};

use appcontainers_wire::SpawnFailure;

use crate::{
    ContainerName, ImageName, SnapshotName,
    container::PortFailure,
    process::{ConnectionError, RunError},
    runtime::RuntimeError,
};

/// Why the library could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Starting, stopping or clearing up.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A foreground command's end is not known.
    #[error("cannot run the command in container {name}")]
    Run {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: RunError,
    },
    /// A foreground command was not started.
    #[error("container {name}: {failure}")]
    NotStarted {
        /// The container.
        name: ContainerName,
        /// Why.
        failure: SpawnFailure,
    },
    /// A container that must run does not.
    #[error(
        "container {name} is not running; start it first (appc start {name}), or use `appc run`, which does so itself"
    )]
    NotRunning {
        /// The container.
        name: ContainerName,
    },
    /// A container that is to do something is paused.
    #[error("container {name} is paused: nothing in it goes on; first have it go on: appc unpause {name}")]
    Paused {
        /// The container.
        name: ContainerName,
    },
    /// A container's limit can't be set.
    #[error("container {name} keeps its limits")]
    Limit {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: crate::runtime::LimitError,
    },
    /// A new container can't have a limit.
    #[error("no container is made")]
    NewLimit {
        /// Why.
        #[source]
        source: crate::runtime::LimitError,
    },
    /// A container has no such process.
    #[error("container {name} has no process {process}; `appc -c {name} ps -a` lists them")]
    NoProcess {
        /// The container.
        name: ContainerName,
        /// What was asked for.
        process: String,
    },
    /// News of a container's processes can't be waited for.
    #[error("cannot watch container {name}")]
    Watch {
        /// The container.
        name: ContainerName,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A port of a container that does not run.
    #[error("container {name} is not running, so its port {port} can't become ready; start it: appc start {name}")]
    PortOfStopped {
        /// The container.
        name: ContainerName,
        /// The port.
        port: NonZeroU16,
    },
    /// A container has ended before its port was ready.
    #[error("container {name} has stopped before its port {port} was ready; `appc -c {name} logs` may say why")]
    EndedBeforePort {
        /// The container.
        name: ContainerName,
        /// The port.
        port: NonZeroU16,
    },
    /// A port was not ready in time.
    #[error("container {name} was not ready at {address} within {} s", waited.as_secs())]
    PortNotReady {
        /// The container.
        name: ContainerName,
        /// Its address, and the port.
        address: SocketAddrV4,
        /// How long it was waited for that.
        waited: Duration,
        /// What the last try found.
        #[source]
        source: PortFailure,
    },
    /// A container's journal of processes.
    #[error(transparent)]
    Processes(#[from] crate::process::ProcessJournalError),
    /// A container's log.
    #[error(transparent)]
    Log(#[from] crate::output::LogError),
    /// A file operation in the container failed.
    #[error("container {name}: {said}")]
    FileOperation {
        /// The container.
        name: ContainerName,
        /// What the agent said.
        said: String,
    },
    /// How a file operation ended is not known.
    #[error("cannot finish the work on the files of container {name}")]
    Files {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: RunError,
    },
    /// The host's side of a copy failed.
    #[error("on the host: {said}")]
    HostFileOperation {
        /// What failed, and why.
        said: String,
    },
    /// A container that must run does not.
    #[error("container {name} is stopped: nothing is appended to its files; start it, or leave --follow out")]
    MustRun {
        /// The container.
        name: ContainerName,
    },
    /// A container that must not run does.
    #[error("container {name} is running; stop it first: appc stop {name}")]
    MustBeStopped {
        /// The container.
        name: ContainerName,
    },
    /// A container that runs is only removed by force.
    #[error(
        "container {name} is running; stop it first (appc stop {name}), or remove it all the same: appc rm -f {name}"
    )]
    RemoveRunning {
        /// The container.
        name: ContainerName,
    },
    /// What is to be started when the host boots is gone then.
    #[error("container {name} is ephemeral: it is gone when the host boots; load its image without --ephemeral")]
    EphemeralAutostart {
        /// The container.
        name: ContainerName,
    },
    /// What goes with its end can't be started again.
    #[error(
        "container {name} is ephemeral: it is gone when it ends, and can't be started again; load its image without --ephemeral (or --rm)"
    )]
    EphemeralRestart {
        /// The container.
        name: ContainerName,
    },
    /// What can't be asked of a container's life.
    #[error("container {name}")]
    Life {
        /// The container.
        name: ContainerName,
        /// What.
        #[source]
        source: crate::life::InvalidLife,
    },
    /// A container was not started with others.
    #[error("container {name}")]
    Dependency {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: crate::life::DependencyError,
    },
    /// Nobody looks at a container's health.
    #[error("container {name} has no health check; give it one: appc set {name} --health-cmd CMD")]
    NoHealthCheck {
        /// The container.
        name: ContainerName,
    },
    /// A container has ended, or never ran, before it was healthy.
    #[error("container {name} has stopped before it was healthy; `appc -c {name} logs` may say why")]
    EndedBeforeHealthy {
        /// The container.
        name: ContainerName,
    },
    /// A container was not healthy in time.
    #[error("container {name} was not healthy within {} s, but {status}{said}", waited.as_secs())]
    NotHealthy {
        /// The container.
        name: ContainerName,
        /// How it is.
        status: &'static str,
        /// How long it was waited for that.
        waited: Duration,
        /// What the last try found, behind a colon.
        said: String,
    },
    /// Callbacks on events.
    #[error(transparent)]
    Hook(#[from] crate::life::HookError),
    /// No image has this name.
    #[error("there is no image {name} in the store; `appc image ls` lists them, `appc load-image FILE.aimg` adds one")]
    UnknownImage {
        /// The name.
        name: ImageName,
    },
    /// No base has this name.
    #[error("there is no base {name}; `appc base ls` lists them")]
    UnknownBase {
        /// The name.
        name: ImageName,
    },
    /// No base has this name, but there is a recipe for it.
    #[error("there is no base {name} yet; build it: appc base build {name}")]
    BaseNotBuilt {
        /// The name.
        name: ImageName,
    },
    /// An image or a base that something is made from.
    #[error("{name} is used by {user}; remove that first")]
    ImageUsed {
        /// The image or base.
        name: ImageName,
        /// A container or an image.
        user: String,
    },
    /// There is no such startup command.
    #[error(
        "container {name} has no startup command number {index}; it has {count}: `appc startup-command ls` lists them"
    )]
    NoStartupCommand {
        /// The container.
        name: ContainerName,
        /// The number that was asked for, from 1.
        index: usize,
        /// How many there are.
        count: usize,
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
    /// A command, or all startup commands, with environment: longer than a message.
    #[error(
        "container {name}: commands with their environment are {bytes} bytes long, {limit} at the most can be passed on; \
         pass long data on standard input or in a file"
    )]
    CommandTooLong {
        /// The container.
        name: ContainerName,
        /// How long it is, as JSON.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A word or a variable of a command: longer than the kernel takes.
    #[error(
        "container {name}: a word or variable of the command is {bytes} bytes long, {limit} at the most are possible; \
         pass long data on standard input or in a file"
    )]
    WordTooLong {
        /// The container.
        name: ContainerName,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A startup command that can't be kept.
    #[error("a startup command is empty or holds a control character: {command:?}")]
    BadStartupCommand {
        /// The command.
        command: String,
    },
    /// The monitor of a container.
    #[error("container {name}")]
    Monitor {
        /// The container.
        name: ContainerName,
        /// What went wrong.
        #[source]
        source: ConnectionError,
    },
    /// A lock.
    #[error(transparent)]
    Lock(#[from] crate::state::LockError),
    /// A state file.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    /// A reservation.
    #[error(transparent)]
    Reservation(#[from] crate::network::ReservationError),
    /// The rules of a container's network.
    #[error(transparent)]
    Policy(#[from] crate::network::policy::PolicyError),
    /// A container that is to connect to itself.
    #[error("container {name} can't be {what} itself: it reaches itself at 127.0.0.1 and ::1")]
    Itself {
        /// The container.
        name: ContainerName,
        /// What was asked for.
        what: &'static str,
    },
    /// A rule that is to be taken away and is not there.
    #[error("nothing allows {from} to connect to {name}{}{}", port_suffix(*port), chain_hint(*link_hint))]
    NotAllowed {
        /// Who.
        from: String,
        /// The container.
        name: ContainerName,
        /// The port.
        port: Option<crate::network::Port>,
        /// Whether a link does.
        link_hint: bool,
    },
    /// The container knows no such service.
    #[error("container {name} has no link {service}; those that it has: appc links {name}")]
    NoLink {
        /// The container.
        name: ContainerName,
        /// The service.
        service: crate::Hostname,
    },
    /// Nobody said at which port the service is.
    #[error(
        "container {provider} does not say at which port its service {service} is; name the port: {provider}:PORT{}",
        offered(provides)
    )]
    UnknownService {
        /// The container.
        provider: ContainerName,
        /// The service.
        service: crate::Hostname,
        /// What it offers.
        provides: Vec<String>,
    },
    /// The name means something else in every container.
    #[error("{service} can't be the name of a link: it is the container's own")]
    ServiceName {
        /// The name.
        service: crate::Hostname,
    },
    /// A port of the host's is not free.
    #[error("port {port} of this host is taken: {holder}")]
    PortTaken {
        /// The port, for UDP with `/udp`.
        port: String,
        /// By whom.
        holder: String,
    },
    /// The address is not the host's.
    #[error("cannot publish at {address}: it is no address of this host")]
    ForeignAddress {
        /// The address.
        address: std::net::IpAddr,
    },
    /// Nothing is published so.
    #[error("container {name} publishes nothing at port {port}; what it publishes: appc inspect {name}")]
    NotPublished {
        /// The container.
        name: ContainerName,
        /// The port, or ports.
        port: String,
    },
    /// A port of the host can't be held.
    #[error("cannot hold port {port} of this host")]
    HoldPort {
        /// The port.
        port: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A base can't be built or imported.
    #[error(transparent)]
    Base(#[from] crate::image::base::BaseError),
    /// A name.
    #[error(transparent)]
    Name(#[from] crate::InvalidName),
    /// The directories of the installation.
    #[error(transparent)]
    Directory(#[from] crate::InvalidDirectory),
    /// An archive that can't be loaded.
    #[error("cannot load {}", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// Why.
        #[source]
        source: crate::archive::ArchiveError,
    },
    /// A directory where an archive was meant.
    #[error("cannot load {p}: it is a directory; load what is in it: tar c -C {p} . | appc load-archive -", p = path.display())]
    ArchiveIsDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A container's files can't be packed.
    #[error("cannot pack the files of container {name}")]
    Pack {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: crate::image::pack::PackError,
    },
    /// A file is no image.
    #[error("cannot inspect {}", path.display())]
    Inspect {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: crate::image::AimgError,
    },
    /// An image can't be written.
    #[error("cannot save {}", dest.display())]
    Save {
        /// Where.
        dest: PathBuf,
        /// Why.
        #[source]
        source: crate::image::AimgError,
    },
    /// A file's name gives no image name.
    #[error("the name of {} is no name for an image; give one: --name NAME", dest.display())]
    NoImageName {
        /// The file.
        dest: PathBuf,
    },
    /// A thin image needs to know the base's layers.
    #[error("base {name} ({digest}) is not in the store any more: save a full image, or import that base again")]
    BaseGone {
        /// The base.
        name: ImageName,
        /// Its digest.
        digest: crate::image::Digest,
    },
    /// A flattened image has no base.
    #[error("container {name} has as many layers as an image may: it is saved as one layer, which can't be thin")]
    FlatIsNotThin {
        /// The container.
        name: ContainerName,
    },
    /// There is no such snapshot.
    #[error("container {name} has no snapshot {snapshot}; `appc snapshots {name}` lists them")]
    NoSnapshot {
        /// The container.
        name: ContainerName,
        /// What was asked for.
        snapshot: SnapshotName,
    },
    /// A snapshot of this name is there.
    #[error(
        "container {name} has a snapshot {snapshot}; choose another name, or remove it: appc snapshot rm {name} {snapshot}"
    )]
    SnapshotTaken {
        /// The container.
        name: ContainerName,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Somebody was at a snapshot's files, or the disk lost some.
    #[error(
        "snapshot {snapshot} of container {name} is not as it was made: files in it were changed, added or lost; \
         restore it from a backup, or remove it: appc snapshot rm {name} {snapshot}"
    )]
    SnapshotDamaged {
        /// The container.
        name: ContainerName,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// A container's files can't be copied.
    #[error("cannot copy what was written in container {name}")]
    Copy {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: crate::overlay::CopyError,
    },
    /// Setting the host up, or undoing that.
    #[error(transparent)]
    Setup(#[from] crate::setup::SetupError),
    /// The session's current container.
    #[error(transparent)]
    Session(#[from] crate::session::SessionError),
    /// The event journal.
    #[error(transparent)]
    Event(#[from] crate::event::EventError),
    /// The web gateway.
    #[error(transparent)]
    Gateway(#[from] crate::gateway::GatewayError),
    /// An app file.
    #[error(transparent)]
    AppFile(#[from] crate::build::AppFileError),
    /// Building an image, or bringing its container up.
    #[error(transparent)]
    Build(#[from] crate::build::BuildError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    /// A file for a new container.
    #[error(transparent)]
    BootFile(#[from] crate::container::BootFileError),
    /// Variables.
    #[error(transparent)]
    Environment(#[from] crate::environment::EnvironmentError),
    /// A configuration.
    #[error(transparent)]
    Config(#[from] crate::image::InvalidConfig),
    /// A container's disk can only grow while it runs.
    #[error(
        "container {name} is running: {}; stop it first: appc stop {name}",
        if *has_one { "its disk can only become larger" } else { "it can be given a disk of its own only while it is stopped" }
    )]
    DiskOfRunning {
        /// The container.
        name: ContainerName,
        /// Whether it has a disk of its own.
        has_one: bool,
    },
    /// What a container has written is more than is to fit, or could not be copied.
    #[error(
        "cannot give container {name} a disk of {bytes} bytes: what it has written does not fit, or can't be copied"
    )]
    DiskTooSmall {
        /// The container.
        name: ContainerName,
        /// What was asked for.
        bytes: u64,
        /// Why not.
        #[source]
        source: crate::overlay::CopyError,
    },
    /// What is mounted into a container.
    #[error(transparent)]
    Mount(#[from] crate::mounts::MountError),
    /// A volume.
    #[error(transparent)]
    Volume(#[from] crate::volume::VolumeError),
    /// A skeleton.
    #[error(transparent)]
    Skeleton(#[from] crate::skeleton::SkeletonError),
    /// The image store.
    #[error(transparent)]
    Store(#[from] crate::image::StoreError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] crate::image::ManifestError),
}

impl Error {
    /// The exit code that a shell gives when a command fails for this reason: 127 not found, 126 not executable.
    pub fn shell_code(&self) -> Option<u8> {
        match self {
            Error::NotStarted { failure, .. } => Some(failure.shell_code()),
            _ => None,
        }
    }
}

fn port_suffix(port: Option<crate::network::Port>) -> String {
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

fn chain_hint(is_linked: bool) -> &'static str {
    if is_linked { " but a link: take that away with appc unlink" } else { "" }
}

fn offered(provides: &[String]) -> String {
    if provides.is_empty() { String::new() } else { format!(" (it offers: {})", provides.join(", ")) }
}

/// For `map_err`: a step failed.
pub(crate) fn io_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
