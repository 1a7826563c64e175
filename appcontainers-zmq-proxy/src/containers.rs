//! Which containers run, from the directory of their directories: a container's `zmq` is there while it runs, and has both
//! its sockets in it from the first moment on.

use std::{
    collections::BTreeSet,
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};

/// A watch on the directory. Nothing is looked at until something there has changed.
pub(crate) struct Containers {
    directory: PathBuf,
    changes: OwnedFd,
}

impl Containers {
    pub(crate) fn watch(directory: &Path) -> io::Result<Self> {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let come_and_go = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        inotify::add_watch(&changes, directory, come_and_go | WatchFlags::ONLYDIR)?;
        Ok(Self { directory: directory.to_owned(), changes })
    }

    /// Readable when [`Containers::running`] may give others.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.changes.as_raw_fd()
    }

    /// The names of those that run. What changes from now on is told by the descriptor.
    pub(crate) fn running(&self) -> io::Result<BTreeSet<String>> {
        self.forget_changes()?;
        let mut running = BTreeSet::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // First the watch, then the look: what comes in between is told.
            match inotify::add_watch(&self.changes, entry.path(), WatchFlags::MOVED_TO | WatchFlags::ONLYDIR) {
                Ok(_) => {}
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            if entry.path().join("zmq").is_dir() {
                running.insert(name);
            }
        }
        Ok(running)
    }

    fn forget_changes(&self) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wait(containers: &Containers) {
        let mut items = [zmq::PollItem::from_fd(containers.raw_fd(), zmq::POLLIN)];
        assert!(zmq::poll(&mut items, 10_000).unwrap() > 0, "nothing tells of it");
    }

    #[test]
    fn containers_are_told_of_when_they_come_and_when_they_go() {
        let place = tempfile::tempdir().unwrap();
        let start = |name: &str| {
            let directory = place.path().join(name);
            fs::create_dir_all(directory.join("zmq.new")).unwrap();
            fs::rename(directory.join("zmq.new"), directory.join("zmq")).unwrap();
        };
        start("one");
        fs::write(place.path().join("file"), "").unwrap();
        let containers = Containers::watch(place.path()).unwrap();
        assert_eq!(containers.running().unwrap(), BTreeSet::from(["one".to_owned()]));
        for round in 0..3 {
            fs::create_dir(place.path().join("two")).unwrap();
            wait(&containers);
            assert_eq!(containers.running().unwrap().len(), 1, "round {round}: it is not ready");
            start("two");
            wait(&containers);
            assert_eq!(containers.running().unwrap().len(), 2, "round {round}");
            fs::remove_dir_all(place.path().join("two")).unwrap();
            wait(&containers);
            assert_eq!(containers.running().unwrap().len(), 1, "round {round}");
        }
    }
}
