//! Waiting for news of a container's processes and their output, from its files: whoever watches costs the monitor no more
//! than an open connection.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify,
    io::Errno,
};

use super::Connection;
use crate::{ContainerName, Paths, runtime::StartRecord};

/// What has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// Processes were started or have ended, perhaps all with their container.
    pub processes: bool,
    /// Nobody writes news any more: the monitor has ended. It may be that another one has to come.
    pub unwatched: bool,
}

/// A watch on a container's log, its journal of processes, its init and its monitor.
#[derive(Debug)]
pub struct Watch {
    changes: OwnedFd,
    /// The watch of the container's directory, in which the journal is.
    journal: i32,
    /// Readable when the container's init has ended.
    init: Option<OwnedFd>,
    /// Readable when the monitor has ended.
    monitor: Option<Connection>,
}

impl Watch {
    /// Begins to watch: what happens from now on ends a wait, also one that is begun later.
    pub(crate) fn begin(paths: &Paths, name: &ContainerName, monitor: Option<Connection>) -> io::Result<Self> {
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let what = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO;
        let journal = inotify::add_watch(&changes, paths.container(name), what | inotify::WatchFlags::MOVE_SELF)?;
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
        Ok(Self { changes, journal, init, monitor })
    }

    /// Waits for the next news, at most `timeout`; for ever without one.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<News> {
        let mut news = News::default();
        let (ended, closed) = {
            let mut fds = vec![PollFd::new(&self.changes, PollFlags::IN)];
            let init_at = fds.len();
            fds.extend(self.init.as_ref().map(|init| PollFd::new(init, PollFlags::IN)));
            let monitor_at = fds.len();
            fds.extend(self.monitor.as_ref().map(|monitor| PollFd::new(monitor, PollFlags::IN)));
            let timeout = timeout
                .map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() });
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            (fds[init_at..monitor_at].iter().any(is_ready), fds[monitor_at..].iter().any(is_ready))
        };
        if ended {
            self.init = None;
            news.processes = true;
        }
        if closed && self.monitor.as_mut().is_some_and(|monitor| monitor.read_more().is_err()) {
            self.monitor = None;
            news.unwatched = true;
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.changes, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => news.processes |= event.wd() == self.journal,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(news),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
