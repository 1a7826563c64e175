//! The kernel's notice that there is no memory left in a cgroup: of version 2 that `memory.events` changes (inotify(7)), of version 1 an
//! eventfd (`Documentation/admin-guide/cgroup-v1/memory.rst`, 10).

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use appcontainers::runtime::{StartRecord, memory_events};
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::inotify,
};

/// A descriptor that is readable when there is something to be looked at.
#[derive(Debug)]
pub(super) struct Notice {
    descriptor: OwnedFd,
    is_version_1: bool,
}

impl Notice {
    /// Of a running container; none where the host does not say.
    pub(super) fn of(start: &StartRecord) -> io::Result<Option<Self>> {
        let Some((path, is_version_1)) = memory_events(start) else { return Ok(None) };
        let descriptor = if is_version_1 {
            let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let watched = File::open(&path)?;
            let words = format!("{} {}", counter.as_raw_fd(), watched.as_raw_fd());
            fs::write(path.with_file_name("cgroup.event_control"), words)?;
            counter
        } else {
            let descriptor = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&descriptor, &path, inotify::WatchFlags::MODIFY)?;
            descriptor
        };
        Ok(Some(Self { descriptor, is_version_1 }))
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Whether the count rises only afterwards.
    pub(super) fn comes_before_the_kill(&self) -> bool {
        self.is_version_1
    }

    /// Takes what has come; whether there was something.
    pub(super) fn take(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut has_come = false;
        while rustix::io::read(&self.descriptor, &mut buffer).is_ok_and(|length| length > 0) {
            has_come = true;
        }
        has_come
    }
}
