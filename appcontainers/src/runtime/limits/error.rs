//! Why a limit can't be set.

use std::{io, path::PathBuf};

use crate::{
    limits::{BadLimit, CpuSet, Key, LimitChange},
    program::ProgramError,
};

/// Why a limit can't be set. What was in force before still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// It makes no sense.
    #[error(transparent)]
    Bad(#[from] BadLimit),
    /// The host has no such processors.
    #[error("cpuset={asked}: this host has no processor {missing}; it has {there}")]
    NoProcessor {
        /// What was asked for.
        asked: CpuSet,
        /// What of that is not there.
        missing: CpuSet,
        /// What is there.
        there: CpuSet,
    },
    /// The kernel can't limit that.
    #[error(
        "{key}: this host's kernel has no cgroup controller {controller} for containers; `appc doctor` looks the host over"
    )]
    NoController {
        /// What was to be limited.
        key: Key,
        /// The controller's name.
        controller: &'static str,
    },
    /// The state is on no disk.
    #[error(
        "io.read and io.write limit the disk that holds {}, which is on none ({on}); keep the state on a disk: APPC_ROOT",
        path.display()
    )]
    NoDisk {
        /// The state directory.
        path: PathBuf,
        /// What it is on.
        on: String,
    },
    /// More than the host gives anyone.
    #[error("nofile={asked}: this host gives nobody more than {most} (fs.nr_open, and the limit of who starts appc)")]
    TooManyFiles {
        /// What was asked for.
        asked: u64,
        /// The most.
        most: u64,
    },
    /// What is in use now is more.
    #[error(
        "{limit} is below what it uses now, {used}; end something in it first, or set the limit while it is stopped"
    )]
    BelowUse {
        /// What was asked for.
        limit: LimitChange,
        /// What there is.
        used: String,
    },
    /// The kernel did not take it.
    #[error("the kernel does not take {limit} ({})", path.display())]
    Refused {
        /// What was asked for.
        limit: LimitChange,
        /// The cgroup's file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the kernel's can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `tc` or `nft` failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// What a program said is not understood.
    #[error("cannot understand what {program} says of the container's interface")]
    Answer {
        /// The program.
        program: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A process's limit can't be changed.
    #[error("cannot change the limit of open files of process {pid}")]
    Process {
        /// Its pid on the host.
        pid: i32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}
