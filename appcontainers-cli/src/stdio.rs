//! The only writers to standard output and standard error.

use std::{
    io::{self, Write},
    os::fd::BorrowedFd,
    time::Duration,
};

use anyhow::Context as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// The reader of standard output is gone (`appc ls | head -1`): a reason to stop, not an error.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct StdoutClosed;

/// Writes a result, exactly as it is, to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write_to(&mut io::stdout().lock(), text.as_bytes())
}

/// Writes a line `appc: TEXT` to standard error. Nobody can be told that this fails.
pub(crate) fn note(text: &str) {
    let _ = io::stderr().lock().write_all(format!("appc: {text}\n").as_bytes());
}

/// Waits until there is something to read from `source`, at most `timeout`. It is an end that the reader of standard
/// output leaves meanwhile, also where nothing is to be written for long.
pub(crate) fn wait(source: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> anyhow::Result<()> {
    let output = rustix::stdio::stdout();
    let mut watched = vec![PollFd::new(&output, PollFlags::empty())];
    watched.extend(source.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)));
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut watched, timeout.as_ref()) {
        Ok(_) if watched[0].revents().is_empty() => Ok(()),
        Ok(_) => Err(StdoutClosed.into()),
        Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait"),
    }
}

pub(crate) fn write_to(stream: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    match stream.write_all(bytes).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// What the library wrote there itself: likewise.
pub(crate) fn unless_closed<T>(written: Result<T, appcontainers::Error>) -> anyhow::Result<T> {
    match written {
        Err(appcontainers::Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Err(StdoutClosed.into())
        }
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_but_a_full_disk_is() {
        let left = write_to(&mut Failing(io::ErrorKind::BrokenPipe), b"x").unwrap_err();
        assert!(left.is::<StdoutClosed>());
        let full = write_to(&mut Failing(io::ErrorKind::StorageFull), b"x").unwrap_err();
        assert!(!full.is::<StdoutClosed>());
    }
}
