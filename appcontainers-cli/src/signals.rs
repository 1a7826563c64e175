//! Signals that are for the command in the container, or that must not end this program as they would.

use std::{
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
};

use anyhow::Context as _;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH},
    iterator::Signals,
};

/// From now on, these signals go to what comes back, one byte with the number each.
pub(crate) fn forwarded() -> anyhow::Result<OwnedFd> {
    taken(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH])
}

/// As [`forwarded`], of those alone that ask for an end.
pub(crate) fn of_an_end() -> anyhow::Result<OwnedFd> {
    taken(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM])
}

fn taken(numbers: &[i32]) -> anyhow::Result<OwnedFd> {
    let (reader, mut writer) = UnixStream::pair().context("cannot make a pipe for signals")?;
    let mut signals = Signals::new(numbers).context("cannot take signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                // Every number here fits in a byte; when nobody reads any more, the command is over.
                if writer.write_all(&[signal as u8]).is_err() {
                    return;
                }
            }
        })
        .context("cannot start a thread for signals")?;
    Ok(reader.into())
}
