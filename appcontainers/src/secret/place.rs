//! A running container's file system of secrets, as the host sees it, and what is noted in it of what was given.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use appcontainers_sys::{memory::Guarded, mount};
use rustix::fs::{FlockOperation, Gid, Mode, Uid, flock};
use serde::{Deserialize, Serialize};

use super::{MAX_SECRET_BYTES, SecretError, SecretGrant, error::failed};
use crate::{
    ContainerName, Paths,
    network::IdRange,
    state::{Durability, SecretsLock, create_directory, replace},
};

/// The mount point in a container's run directory.
pub(crate) const NAME: &str = "secrets";

/// The most secrets of one container.
pub(super) const MAX_GRANTS: usize = 128;

/// Room for all of them, one being replaced, and the notes.
const SIZE_BYTES: u64 = ((MAX_GRANTS + 2) * MAX_SECRET_BYTES) as u64;

/// Notes of more bytes are none.
const MAX_NOTES_BYTES: u64 = 1024 * 1024;

/// What a container was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivered {
    /// `/run/secrets` is mounted.
    pub(super) is_shown: bool,
    pub(super) secrets: Vec<DeliveredSecret>,
}

/// One secret that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeliveredSecret {
    pub(super) grant: SecretGrant,
    /// Which of its values.
    pub(super) stamp: String,
}

/// The file system. Its root is the host's root's alone; of it, the container sees what is shown to it.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
}

impl Place {
    fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container_run(name).join(NAME)
    }

    /// The one that is there.
    pub(super) fn find(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, SecretError> {
        let directory = Self::path(paths, name);
        let is_there = mount::is_mount_point(&directory).map_err(failed("look at", &directory))?;
        Ok(is_there.then_some(Self { directory }))
    }

    /// The one that is there, or a new one: in the calling process's mount namespace, and so best in the host's.
    pub(super) fn make(paths: &Paths, name: &ContainerName) -> Result<Self, SecretError> {
        if let Some(place) = Self::find(paths, name)? {
            return Ok(place);
        }
        // Two that mount it would hide each other's.
        let _lock = SecretsLock::acquire(paths)?;
        if let Some(place) = Self::find(paths, name)? {
            return Ok(place);
        }
        let directory = Self::path(paths, name);
        create_directory(&directory, 0o700).map_err(failed("create", &directory))?;
        let cannot_be_swapped =
            mount::private_memory(&directory, SIZE_BYTES).map_err(failed("mount a tmpfs at", &directory))?;
        if !cannot_be_swapped {
            tracing::debug!(%name, "this kernel can't keep a tmpfs out of swap: encrypt the swap");
        }
        Ok(Self { directory })
    }

    /// Waits until nobody else changes what is in it, and keeps others waiting as long as the handle is open.
    pub(super) fn lock(&self) -> Result<File, SecretError> {
        let directory = File::open(&self.directory).map_err(failed("open", &self.directory))?;
        flock(&directory, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &self.directory)(errno.into()))?;
        Ok(directory)
    }

    /// Its directories, made where they are missing.
    pub(super) fn lay_out(&self, range: Option<IdRange>) -> Result<(), SecretError> {
        let shown = self.shown();
        for (path, mode) in
            [(&shown, 0o711), (&self.directory.join("apart"), 0o700), (&self.directory.join("new"), 0o700)]
        {
            create_directory(path, mode).map_err(failed("create", path))?;
        }
        let owner = range.map(|range| range.base());
        chown(&shown, owner, owner).map_err(failed("give away", &shown))
    }

    /// What is seen at `/run/secrets`.
    pub(super) fn shown(&self) -> PathBuf {
        self.directory.join("shown")
    }

    /// The file of a grant.
    pub(super) fn file(&self, grant: &SecretGrant) -> PathBuf {
        self.directory.join(if grant.is_shown() { "shown" } else { "apart" }).join(grant.file_name())
    }

    /// The number of this file system.
    pub(super) fn device(&self) -> Result<u64, SecretError> {
        let status = fs::metadata(&self.directory).map_err(failed("look at", &self.directory))?;
        Ok(status.dev())
    }

    /// Puts a secret where its grant says, in one step: whoever has the last one open goes on with that.
    pub(super) fn put(&self, grant: &SecretGrant, (uid, gid): (u32, u32), value: &Guarded) -> Result<(), SecretError> {
        let (new, path) = (self.directory.join("new").join(grant.file_name()), self.file(grant));
        let write = || -> io::Result<()> {
            remove_file(&new)?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(value)?;
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(grant.mode.bits()))?;
            fs::rename(&new, &path)
        };
        write().inspect_err(|_| drop(remove_file(&new))).map_err(failed("write", &path))
    }

    /// Removes a secret's file.
    pub(super) fn remove(&self, grant: &SecretGrant) -> Result<(), SecretError> {
        let path = self.file(grant);
        remove_file(&path).map_err(failed("remove", &path))
    }

    /// What was given so far.
    pub(super) fn delivered(&self) -> Delivered {
        let path = self.notes();
        let is_short = fs::metadata(&path).is_ok_and(|status| status.len() <= MAX_NOTES_BYTES);
        let bytes = if is_short { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        // What can't be read is given again.
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Notes what was given.
    pub(super) fn note(&self, delivered: &Delivered) -> Result<(), SecretError> {
        let (path, bytes) = (self.notes(), serde_json::to_vec(delivered).unwrap_or_default());
        replace(&path, &bytes, 0o600, Durability::Volatile).map_err(failed("write", &path))
    }

    fn notes(&self) -> PathBuf {
        self.directory.join("delivered.json")
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
