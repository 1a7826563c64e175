//! Passing a command's output on to a reader that may be slow, without keeping signals from the command.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

use appcontainers_wire::client::FromClient;
use rustix::{
    event::{PollFd, PollFlags},
    fs::FileType,
    io::{Errno, ReadWriteFlags},
};

use super::{Connection, ConnectionError, RunError, Terminal};

/// SIGWINCH's number on every Linux architecture.
const SIGWINCH: u8 = 28;

/// Writes all of it. While the reader does not take it, signals go on to the command: they may be what ends the wait.
pub(super) fn write_all(
    file: &mut File,
    mut bytes: &[u8],
    signals: &mut Option<OwnedFd>,
    terminal: Option<&Terminal>,
    connection: &mut Connection,
) -> Result<(), WriteError> {
    let mut polled = false;
    while !bytes.is_empty() {
        match write_some(file, bytes, polled) {
            Ok(0) => return Err(WriteError::Output(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                bytes = &bytes[written..];
                polled = false;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(WriteError::Output(error)),
        }
        let signalled = {
            let mut fds = vec![PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
            fds.extend(signals.as_ref().map(|signals| PollFd::new(signals, PollFlags::IN)));
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(WriteError::Output(errno.into())),
            }
            polled = !fds[0].revents().is_empty();
            fds.get(1).is_some_and(|fd| !fd.revents().is_empty())
        };
        if signalled {
            pass_signals_on(signals, terminal, connection).map_err(WriteError::Other)?;
        }
    }
    Ok(())
}

/// Why output was not passed on.
pub(super) enum WriteError {
    /// It can't be written.
    Output(io::Error),
    /// Something else failed meanwhile.
    Other(RunError),
}

/// Sends on what signals have come. That the terminal has another size is no signal of the command's terminal's.
pub(super) fn pass_signals_on(
    signals: &mut Option<OwnedFd>,
    terminal: Option<&Terminal>,
    connection: &mut Connection,
) -> Result<(), RunError> {
    let Some(fd) = signals else { return Ok(()) };
    let mut numbers = [0; 16];
    match rustix::io::read(fd, &mut numbers) {
        Ok(0) => *signals = None,
        Ok(read) => {
            for signal in &numbers[..read] {
                let message = match terminal {
                    Some(terminal) if *signal == SIGWINCH => FromClient::Resize { size: terminal.size() },
                    _ => FromClient::Signal { signal: *signal },
                };
                tell(connection, &message, &[])?;
            }
        }
        Err(Errno::INTR | Errno::AGAIN) => {}
        Err(errno) => return Err(RunError::Input(errno.into())),
    }
    Ok(())
}

/// Says something to the monitor. That it has ended is learnt by reading: how the command ended may stand there.
pub(super) fn tell(connection: &mut Connection, message: &FromClient, payload: &[u8]) -> Result<(), RunError> {
    match connection.send(message, payload) {
        Err(ConnectionError::Ended) => Ok(()),
        sent => Ok(sent?),
    }
}

/// What a pipe that polls as writable takes at least without waiting (pipe(7), `PIPE_BUF`).
const PIPE_BYTES: usize = 4096;

/// Writes what the file takes now; WouldBlock if that is nothing. Where the kernel can't say so beforehand (a terminal,
/// a pipe of an old kernel), the caller has polled, and little enough is written.
fn write_some(file: &mut File, bytes: &[u8], polled: bool) -> io::Result<usize> {
    match FileType::from_raw_mode(rustix::fs::fstat(&*file)?.st_mode) {
        FileType::RegularFile => return file.write(bytes),
        FileType::CharacterDevice if !rustix::termios::isatty(&*file) => return file.write(bytes),
        FileType::Fifo | FileType::Socket => {
            let buffers = [io::IoSlice::new(bytes)];
            match rustix::io::pwritev2(&*file, &buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::SPIPE | Errno::INVAL | Errno::NOSYS) => {}
                written => return Ok(written?),
            }
        }
        _ => {}
    }
    if polled { file.write(&bytes[..bytes.len().min(PIPE_BYTES)]) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use appcontainers_wire::frame;

    use super::*;

    #[test]
    fn a_signal_reaches_the_command_while_nobody_reads_its_output() {
        let (reader, writer) = io::pipe().unwrap();
        let mut stdout = File::from(OwnedFd::from(writer));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (signals, sender) = UnixStream::pair().unwrap();
        (&sender).write_all(&[15]).unwrap();
        let writing = std::thread::spawn(move || {
            let mut connection = Connection::from_stream(ours);
            // More than a pipe holds: without its reader's end, this waits for ever.
            let bytes = vec![7; 1024 * 1024];
            let written = write_all(&mut stdout, &bytes, &mut Some(signals.into()), None, &mut connection);
            assert!(matches!(written, Err(WriteError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe));
        });
        let mut received = vec![0; 4096];
        let length = (&theirs).read(&mut received).unwrap();
        let frame = frame::peek(&received[..length]).unwrap().unwrap();
        let message: FromClient = appcontainers_wire::decode(frame.header).unwrap();
        assert_eq!(message, FromClient::Signal { signal: 15 });
        drop(reader);
        writing.join().unwrap();
    }
}
