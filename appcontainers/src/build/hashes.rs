//! What is in files that are copied, remembered by what the kernel says of them, so that a build that changes nothing reads
//! none of the large ones.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::Statx;
use serde::{Deserialize, Serialize};

use crate::{
    Paths,
    error::chain,
    image::Digest,
    state::{Durability, Versioned, read, write},
};

/// Smaller files are read in the time that remembering them takes.
const WORTH_BYTES: u64 = 16 * 1024;

/// A file that was changed so short before it was read could be changed again at the same time, by the kernel's clock.
const SETTLED: i64 = 2_000_000_000;

/// A file as the kernel tells it from others, and from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
    pub(super) size_bytes: u64,
    modified_ns: i64,
    changed_ns: i64,
}

impl Identity {
    pub(super) fn of(stat: &Statx) -> Self {
        let ns = |time: rustix::fs::StatxTimestamp| {
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
        };
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size_bytes: stat.stx_size,
            modified_ns: ns(stat.stx_mtime),
            changed_ns: ns(stat.stx_ctime),
        }
    }

    /// Whether a change from now on shows in it.
    pub(super) fn is_settled(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        now - self.modified_ns.max(self.changed_ns) > SETTLED
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    files: Vec<(Identity, Digest)>,
}

impl Versioned for Remembered {
    const KIND: &'static str = "list of files' hashes";
    const VERSION: u32 = 1;
}

/// The hashes of one context's files.
#[derive(Debug)]
pub(super) struct Hashes {
    path: PathBuf,
    known: HashMap<Identity, Digest>,
    /// Those that this build asked for, to be kept.
    used: HashMap<Identity, Digest>,
}

impl Hashes {
    /// What is known of the files below `context`.
    pub(super) fn open(paths: &Paths, context: &Path) -> Self {
        let context = context.canonicalize().unwrap_or_else(|_| context.to_owned());
        let name = Digest::of(context.as_os_str().as_encoded_bytes()).hex();
        let path = paths.build_cache().join(format!("files-{name}.json"));
        let remembered = read::<Remembered>(&path).unwrap_or_else(|error| {
            tracing::warn!("{}: files are read anew", chain(&error));
            None
        });
        let known = remembered.unwrap_or_default().files.into_iter().collect();
        Self { path, known, used: HashMap::new() }
    }

    /// The hash of a file; `compute` reads it.
    pub(super) fn get<E>(
        &mut self,
        identity: Identity,
        compute: impl FnOnce() -> Result<Digest, E>,
    ) -> Result<Digest, E> {
        if identity.size_bytes < WORTH_BYTES {
            return compute();
        }
        let known = self.known.get(&identity).or_else(|| self.used.get(&identity)).copied();
        let digest = known.map_or_else(compute, Ok)?;
        if known.is_some() || identity.is_settled() {
            self.used.insert(identity, digest);
        }
        Ok(digest)
    }

    /// Keeps what this build asked for. That it can't be kept costs time, no more.
    pub(super) fn store(self) {
        if self.used == self.known {
            return;
        }
        let files = Remembered { files: self.used.into_iter().collect() };
        if let Err(error) = write(&self.path, &files, Durability::Volatile) {
            tracing::warn!("{}: the next build reads all files again", chain(&error));
        }
    }
}
