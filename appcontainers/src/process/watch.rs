//! Waiting for news of a container's processes and their output, from its files: whoever watches costs the monitor nothing.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify,
    io::Errno,
};

use crate::{ContainerName, Paths, runtime::StartRecord};

/// A watch on a container's log, its journal of processes and its init.
#[derive(Debug)]
pub struct Watch {
    changes: OwnedFd,
    /// Readable when the container's init has ended.
    init: Option<OwnedFd>,
}

impl Watch {
    /// Begins to watch: what happens from now on ends a wait, also one that is begun later.
    pub(crate) fn begin(paths: &Paths, name: &ContainerName) -> io::Result<Self> {
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let what = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, paths.container(name), what | inotify::WatchFlags::MOVE_SELF)?;
        match inotify::add_watch(&changes, paths.container_log(name), what) {
            // It was never started.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let start = StartRecord::load(paths, name).map_err(io::Error::other)?;
        let init = match start.and_then(|start| start.init) {
            Some(init) => init.open()?,
            None => None,
        };
        Ok(Self { changes, init })
    }

    /// Waits for the next news, at most `timeout`; for ever without one. There may be none when it returns.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        {
            let mut fds = vec![PollFd::new(&self.changes, PollFlags::IN)];
            fds.extend(self.init.as_ref().map(|init| PollFd::new(init, PollFlags::IN)));
            let timeout = timeout
                .map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() });
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if fds.get(1).is_some_and(|init| !init.revents().is_empty()) {
                self.init = None;
            }
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.changes, &mut buffer);
        loop {
            match reader.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}
