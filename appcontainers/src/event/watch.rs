//! Waits until the journal grows: inotify(7), no polling.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

use super::EventError;

/// Sees what is written to the journal's directory.
#[derive(Debug)]
pub(super) struct Watch {
    directory: PathBuf,
    inotify: OwnedFd,
}

impl Watch {
    pub(super) fn new(directory: &Path) -> Result<Self, EventError> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed(directory))?;
        let seen = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, directory, seen).map_err(failed(directory))?;
        Ok(Self { directory: directory.to_owned(), inotify })
    }

    /// Whether something was written since the last call, or is within `timeout`.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<bool, EventError> {
        // More than the kernel's clock can count is as good as without end.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(failed(&self.directory)(error)),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut changes = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match changes.next() {
                Err(Errno::WOULDBLOCK) => return Ok(true),
                Err(error) => return Err(failed(&self.directory)(error)),
                Ok(change) if change.events().intersects(ReadFlags::DELETE_SELF | ReadFlags::IGNORED) => {
                    return Err(failed(&self.directory)(Errno::NOENT));
                }
                Ok(_) => {}
            }
        }
    }
}

/// Sees what is written to the journal's directory and to others.
#[derive(Debug)]
pub(crate) struct WatchedFiles(Watch);

impl WatchedFiles {
    /// The journal's directory.
    pub(crate) fn new(directory: &Path) -> Result<Self, EventError> {
        Watch::new(directory).map(Self)
    }

    /// One more; the same one twice is once. One that is not there is passed over.
    pub(crate) fn add(&self, directory: &Path) -> Result<(), EventError> {
        let seen = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.0.inotify, directory, seen) {
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(directory)(error)),
        }
    }

    /// Waits until something was written.
    pub(crate) fn wait(&self) -> Result<(), EventError> {
        poll(&mut [PollFd::new(&self.0.inotify, PollFlags::IN)], None).map(drop).or_else(|error| match error {
            Errno::INTR => Ok(()),
            error => Err(failed(&self.0.directory)(error)),
        })?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut changes = inotify::Reader::new(&self.0.inotify, &mut buffer);
        loop {
            match changes.next() {
                Ok(_) => {}
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(error) => return Err(failed(&self.0.directory)(error)),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn failed(directory: &Path) -> impl FnOnce(Errno) -> EventError {
    let path = directory.to_owned();
    move |error| match error {
        Errno::NOENT => EventError::NoJournal { path },
        error => EventError::Journal { action: "follow", path, source: error.into() },
    }
}
