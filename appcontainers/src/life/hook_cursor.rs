//! `hooks/NAME.json`: how far a program has come with what happened, and its lock.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::HookError;
use crate::{
    ContainerName, CursorName, Paths,
    state::{Durability, Versioned, create_directory, read, write},
};

/// How far a program has come. What is before was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The last event that is behind it.
    pub(super) event: u64,
    /// How far the output of each container is; absent until the program wants any.
    #[serde(default)]
    pub(super) outputs: Option<BTreeMap<ContainerName, OutputCursor>>,
}

/// How far a container's output is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutputCursor {
    /// When the container was made: another one may have its name later.
    pub(super) created: Timestamp,
    /// Position in its log.
    pub(super) position: u64,
}

impl Versioned for Cursor {
    const KIND: &'static str = "cursor of hooks";
    const MEND: &'static str = "remove it: what happens from then on is delivered";
    const VERSION: u32 = 1;
}

/// A cursor's file, which nobody else has while this is there.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    _lock: File,
}

impl CursorFile {
    pub(super) fn open(paths: &Paths, name: &CursorName) -> Result<Self, HookError> {
        let directory = paths.hooks();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| HookError::Cursor { path, source }
        };
        create_directory(&directory, 0o700).map_err(failed(&directory))?;
        let path = directory.join(format!("{name}.lock"));
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(failed(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(HookError::Busy { cursor: name.clone() }),
            Err(errno) => return Err(failed(&path)(errno.into())),
        }
        Ok(Self { path: directory.join(format!("{name}.json")), _lock: lock })
    }

    pub(super) fn load(&self) -> Result<Option<Cursor>, HookError> {
        Ok(read(&self.path)?)
    }

    /// Whole or not at all, also if the program is killed. Not synced: a cursor that a power cut has set back delivers again.
    pub(super) fn store(&self, cursor: &Cursor) -> Result<(), HookError> {
        Ok(write(&self.path, cursor, Durability::Volatile)?)
    }
}
