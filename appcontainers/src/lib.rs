//! Builds, runs and monitors app containers: a program with its files, sandboxed in LXC, with an
//! address of its own, saved as one file.
//!
//! [`Service`] is the way in: one installation's images and containers. A [`Container`] is what things are done with. All calls
//! are synchronous, nothing is printed, and nothing stays behind in this process: what runs, runs in processes of its own.
//!
//! # Examples
//!
//! ```no_run
//! let service = appcontainers::setup_service()?;
//! let container = service.provision()?;
//! container.run("echo hello from $(hostname)")?;
//! container.remove(true)?;
//! # Ok::<(), appcontainers::Error>(())
//! ```

pub mod archive;
pub mod build;
pub mod container;
mod disk;
pub mod disk_image;
pub mod doctor;
pub mod environment;
mod error;
pub mod event;
pub mod gateway;
pub mod image;
mod inside;
pub mod life;
pub mod limits;
pub mod mounts;
mod name;
pub mod network;
pub mod output;
pub mod overlay;
mod paths;
pub mod process;
pub mod program;
mod progress;
pub mod record;
pub mod runtime;
pub mod secret;
mod service;
pub mod session;
pub mod settings;
pub mod setup;
pub mod skeleton;
pub mod state;
pub mod stats;
pub mod volume;
mod zmq_proxy;

pub use appcontainers_wire::{
    ExitStatus, InvalidLimit, ProcessId, Resource, ResourceLimit, RestartPolicy, Stream, TerminalSize,
};
pub use build::AppFile;
pub use container::{
    ArchiveSource, AttachStreams, BootFile, CloneOptions, Container, ContainerDetails, FetchDestination, FetchOptions,
    HttpPath, InvalidHttpPath, LogPiece, LogQuery, Logs, PortFailure, PortProbe, PutOptions, PutSource, SaveOptions,
    Saved, Snapshot, SnapshotOptions, SpawnOptions, TailOptions,
};
pub use doctor::{Check, Verdict};
pub use error::Error;
pub use event::Event;
pub use image::{Digest, ImageSummary, Manifest, base::Recipe, pack::LeftOut};
pub use inside::{FileMode, InsidePath, InvalidInside};
pub use life::{Hooks, Life};
pub use mounts::{Mount, MountPath, MountSource};
pub use name::{
    ContainerName, CursorName, Hostname, ImageName, InvalidHostname, InvalidName, ProcessName, SecretName,
    SnapshotName, VolumeName,
};
pub use network::NetworkMode;
pub use overlay::{Change as FileChange, ChangeKind, ChangedType};
pub use paths::{DEFAULT_ROOT, DEFAULT_RUN, InvalidDirectory, Paths};
pub use process::{Command, RunStreams, Terminal};
pub use progress::{NoProgress, Progress};
pub use record::{Init, OverlayKind};
pub use runtime::{Status, prewarm};
pub use secret::{SecretDetails, SecretGrant, SecretValue};
pub use service::{
    ContainerNetwork, ContainerTraffic, DEFAULT_BASE, DiskUsage, Garbage, HostNetworkDetails, ImageSource,
    ListedContainer, LoadOptions, NetworkMeter, NetworkSummary, NetworkUsage, Outcome, ProvisionOptions,
    PublishSiteOptions, RuleTraffic, Service, SiteDetails, TrafficRate, UpstreamDetails, UsagePart, setup_service,
};
pub use settings::Settings;
pub use setup::{Change as SetupChange, SetupOptions};
pub use stats::Stats;
pub use volume::{VolumeDetails, VolumeSnapshot, VolumeUse};
pub use zmq_proxy::{InvalidEndpoint, TcpEndpoint, ZmqProxyOptions};
