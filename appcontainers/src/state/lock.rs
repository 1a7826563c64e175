//! Locks that exclude other commands: one for each container, one for what the host shares, one for the event journal.
//!
//! A lock says nothing about life: it is flock(2), gone with its holder. Who needs more than one takes the container's
//! first, then the host's, then the journal's. A lock file may be removed by whoever holds it, so after flock the file
//! must still be the one at its path, else the lock excludes nobody.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::create_directory;
use crate::{ContainerName, Paths};

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock's file could not be made or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another command held it all the time.
    #[error(
        "another command has held {} for {} s; let it end (`fuser {}` names it), then try again",
        path.display(), waited.as_secs(), path.display()
    )]
    TimedOut {
        /// The lock's file.
        path: PathBuf,
        /// How long.
        waited: Duration,
    },
}

/// Excludes other commands on one container while it lives.
///
/// # Examples
///
/// ```
/// use appcontainers::{ContainerName, Paths, state::ContainerLock};
///
/// let place = tempfile::tempdir()?;
/// let paths = Paths::new(place.path().join("root"), place.path().join("run"));
/// let web: ContainerName = "web".parse()?;
/// let lock = ContainerLock::acquire(&paths, &web)?;
/// assert!(ContainerLock::try_acquire(&paths, &web)?.is_none());
/// drop(lock);
/// assert!(ContainerLock::try_acquire(&paths, &web)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ContainerLock {
    name: ContainerName,
    file: LockFile,
}

impl ContainerLock {
    /// Waits until no other command has the container.
    pub fn acquire(paths: &Paths, name: &ContainerName) -> Result<Self, LockError> {
        Ok(Self { name: name.clone(), file: LockFile::acquire(paths, paths.container_lock(name))? })
    }

    /// The lock, or `None` if another command has it.
    pub fn try_acquire(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, LockError> {
        let file = LockFile::try_acquire(paths, paths.container_lock(name))?;
        Ok(file.map(|file| Self { name: name.clone(), file }))
    }

    /// Waits at most so long.
    pub fn acquire_within(paths: &Paths, name: &ContainerName, timeout: Duration) -> Result<Self, LockError> {
        Ok(Self { name: name.clone(), file: LockFile::acquire_within(paths, paths.container_lock(name), timeout)? })
    }

    /// The container that is locked.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Another handle of the lock: it is held until the last handle is closed. For a program that begins something and
    /// must not be disturbed in it when its caller is killed.
    pub(crate) fn share(&self) -> Result<OwnedFd, LockError> {
        let path = self.file.path.clone();
        self.file.file.try_clone().map(OwnedFd::from).map_err(|source| LockError::Lock { path, source })
    }

    /// Whether this lock still excludes others: not once its file is removed.
    pub fn is_current(&self) -> Result<bool, LockError> {
        let path = &self.file.path;
        is_at(&self.file.file, path).map_err(|source| LockError::Lock { path: path.clone(), source })
    }

    /// Removes the lock's file, for a container that is gone: from now on this lock excludes nobody. Twice is harmless.
    pub fn remove(&self) -> Result<(), LockError> {
        if !self.is_current()? {
            // What is there may be the lock of a new container of this name.
            return Ok(());
        }
        let path = self.file.path.clone();
        fs::remove_file(&path).map_err(|source| LockError::Lock { path, source })
    }
}

/// Excludes other commands on what the host's containers share (reservations, network, mounts of
/// layers) while it lives.
#[derive(Debug)]
pub struct HostLock {
    _file: LockFile,
}

impl HostLock {
    /// Waits until no other command has it.
    pub fn acquire(paths: &Paths) -> Result<Self, LockError> {
        Ok(Self { _file: LockFile::acquire(paths, paths.host_lock())? })
    }

    /// The lock, or `None` if another command has it.
    pub fn try_acquire(paths: &Paths) -> Result<Option<Self>, LockError> {
        Ok(LockFile::try_acquire(paths, paths.host_lock())?.map(|file| Self { _file: file }))
    }

    /// Waits at most so long.
    pub fn acquire_within(paths: &Paths, timeout: Duration) -> Result<Self, LockError> {
        Ok(Self { _file: LockFile::acquire_within(paths, paths.host_lock(), timeout)? })
    }
}

/// Excludes other changes of what the gateway publishes while it lives, and of what its web server is told. Taken after a
/// container's lock, never while the host's is held: who has it may wait for the web server.
#[derive(Debug)]
pub struct GatewayLock {
    _file: LockFile,
}

impl GatewayLock {
    /// Waits until no other command has it.
    pub fn acquire(paths: &Paths) -> Result<Self, LockError> {
        Ok(Self { _file: LockFile::acquire(paths, paths.gateway_lock())? })
    }
}

/// Excludes other changes of secrets, and of which containers are given which, while it lives. Taken after a container's lock, and
/// before the host's.
#[derive(Debug)]
pub struct SecretsLock {
    _file: LockFile,
}

impl SecretsLock {
    /// Waits until no other command has it.
    pub fn acquire(paths: &Paths) -> Result<Self, LockError> {
        Ok(Self { _file: LockFile::acquire(paths, paths.secrets_lock())? })
    }
}

/// Excludes other writers of the event journal while it lives. Taken last of all locks, for the moment of one event.
#[derive(Debug)]
pub struct JournalLock {
    _file: LockFile,
}

impl JournalLock {
    /// Waits at most so long.
    pub fn acquire_within(paths: &Paths, timeout: Duration) -> Result<Self, LockError> {
        Ok(Self { _file: LockFile::acquire_within(paths, paths.journal_lock(), timeout)? })
    }
}

/// A locked file and where it lies; unlocked when it is closed.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    fn acquire(paths: &Paths, path: PathBuf) -> Result<Self, LockError> {
        loop {
            if let Some(lock) = Self::attempt(paths, &path, FlockOperation::LockExclusive)? {
                return Ok(lock);
            }
        }
    }

    fn try_acquire(paths: &Paths, path: PathBuf) -> Result<Option<Self>, LockError> {
        Self::attempt(paths, &path, FlockOperation::NonBlockingLockExclusive)
    }

    /// flock(2) has no timeout and a signal to break it off could be the program's own, so this asks
    /// again, less and less often.
    fn acquire_within(paths: &Paths, path: PathBuf, timeout: Duration) -> Result<Self, LockError> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Self::attempt(paths, &path, FlockOperation::NonBlockingLockExclusive)? {
                return Ok(lock);
            }
            let left = timeout.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(LockError::TimedOut { path, waited: timeout });
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// `None` if another holds the lock and the operation does not wait for it.
    fn attempt(paths: &Paths, path: &Path, operation: FlockOperation) -> Result<Option<Self>, LockError> {
        let failed = |source| LockError::Lock { path: path.to_owned(), source };
        loop {
            let file = open(paths, path).map_err(failed)?;
            match flock(&file, operation) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(failed(error.into())),
            }
            if is_at(&file, path).map_err(failed)? {
                return Ok(Some(Self { path: path.to_owned(), file }));
            }
        }
    }
}

/// Opens a lock's file; makes the directories first if they are gone, as after a reboot.
fn open(paths: &Paths, path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_run_directories(paths)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Makes the directories of what does not survive a reboot, where they are missing.
pub(crate) fn create_run_directories(paths: &Paths) -> io::Result<()> {
    // Sockets' directories must be reachable by the containers' ids, nothing else.
    create_directory(paths.run(), 0o711)?;
    create_directory(&paths.locks(), 0o700)?;
    create_directory(&paths.sessions(), 0o700)?;
    create_directory(&paths.run().join("containers"), 0o711)?;
    Ok(())
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    fn place() -> (tempfile::TempDir, Paths) {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path().join("root"), place.path().join("run"));
        (place, paths)
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped() {
        let (_place, paths) = place();
        let name = "a".parse().unwrap();
        let lock = ContainerLock::acquire(&paths, &name).unwrap();
        assert_eq!(lock.name(), &name);
        assert!(ContainerLock::try_acquire(&paths, &name).unwrap().is_none());
        assert!(ContainerLock::try_acquire(&paths, &"b".parse().unwrap()).unwrap().is_some());
        drop(lock);
        assert!(ContainerLock::try_acquire(&paths, &name).unwrap().is_some());
    }

    #[test]
    fn a_shared_lock_is_held_until_its_last_handle_is_closed() {
        let (_place, paths) = place();
        let name = "a".parse().unwrap();
        let lock = ContainerLock::acquire(&paths, &name).unwrap();
        let shared = lock.share().unwrap();
        drop(lock);
        assert!(ContainerLock::try_acquire(&paths, &name).unwrap().is_none());
        drop(shared);
        assert!(ContainerLock::try_acquire(&paths, &name).unwrap().is_some());
    }

    #[test]
    fn a_container_named_host_does_not_lock_the_host() {
        let (_place, paths) = place();
        let _container = ContainerLock::acquire(&paths, &"host".parse().unwrap()).unwrap();
        assert!(HostLock::try_acquire(&paths).unwrap().is_some());
    }

    #[test]
    fn a_wait_with_a_limit_ends_with_the_locks_name() {
        let (_place, paths) = place();
        let _lock = HostLock::acquire(&paths).unwrap();
        let error = HostLock::acquire_within(&paths, Duration::from_millis(5)).unwrap_err();
        assert!(matches!(error, LockError::TimedOut { .. }));
        assert!(error.to_string().contains(paths.host_lock().to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_lock_on_a_removed_file_is_not_taken_for_the_lock() {
        let (_place, paths) = place();
        let name: ContainerName = "a".parse().unwrap();
        let first = ContainerLock::acquire(&paths, &name).unwrap();
        let waiting_file = File::open(paths.container_lock(&name)).unwrap();
        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn({
            let (paths, name) = (paths.clone(), name.clone());
            move || {
                let lock = ContainerLock::acquire(&paths, &name).unwrap();
                sender.send(()).unwrap();
                lock
            }
        });
        first.remove().unwrap();
        assert!(!first.is_current().unwrap());
        drop(first);
        receiver.recv().unwrap();
        let second = waiter.join().unwrap();
        assert!(is_at(&second.file.file, &paths.container_lock(&name)).unwrap());
        flock(&waiting_file, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(ContainerLock::try_acquire(&paths, &name).unwrap().is_none());
    }

    #[test]
    fn a_lock_that_was_removed_removes_no_other() {
        let (_place, paths) = place();
        let name: ContainerName = "a".parse().unwrap();
        let first = ContainerLock::acquire(&paths, &name).unwrap();
        first.remove().unwrap();
        let second = ContainerLock::acquire(&paths, &name).unwrap();
        first.remove().unwrap();
        assert!(second.is_current().unwrap());
    }
}
