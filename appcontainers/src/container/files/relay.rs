//! Bytes from one side of a copy to the other.

use std::{
    fs::File,
    io::{self, ErrorKind, PipeReader, Read, Write},
    os::fd::{AsFd, OwnedFd},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::operation::{Operated, Operation};
use crate::{Container, Error, error::io_error, progress::Step};

/// How much is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// What ends an operation whose output nobody wants any more.
const SIGTERM: u8 = 15;

/// How much of an operation's input was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relayed {
    All,
    /// The operation did not want more.
    Part,
}

impl Container {
    /// Runs an operation whose output goes to `output`, and how writing that went.
    pub(super) fn stream_out(
        &self,
        operation: Operation,
        mut output: impl Write + AsFd,
        step: Option<&Step<'_>>,
    ) -> Result<(Operated, io::Result<()>), Error> {
        let pipe = || io::pipe().map_err(io_error("make a pipe for", "the container's files"));
        let ((reader, writer), (signals, mut ender)) = (pipe()?, pipe()?);
        let stdout = Some(File::from(OwnedFd::from(writer)));
        let operation = Operation { stdout, signals: Some(signals.into()), ..operation };
        thread::scope(|scope| {
            let operating = scope.spawn(|| self.operate(operation));
            let relayed = relay_while_wanted(reader, &mut output, step);
            drop(output);
            if relayed.is_err() {
                // It may have ended already.
                let _ = ender.write_all(&[SIGTERM]);
            }
            let operated = operating.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((operated, relayed))
        })
    }

    /// Runs an operation that reads `input`, and how reading that went.
    pub(super) fn stream_in(
        &self,
        operation: Operation,
        mut input: impl Read,
        step: &Step<'_>,
    ) -> Result<(Operated, io::Result<Relayed>), Error> {
        let (reader, mut writer) = io::pipe().map_err(io_error("make a pipe for", "the container's files"))?;
        let operation = Operation { stdin: Some(File::from(OwnedFd::from(reader))), ..operation };
        thread::scope(|scope| {
            let operating = scope.spawn(|| self.operate(operation));
            let relayed = relay(&mut input, &mut writer, step);
            drop((input, writer));
            let operated = operating.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((operated, relayed))
        })
    }
}

fn relay(input: &mut impl Read, output: &mut impl Write, step: &Step<'_>) -> io::Result<Relayed> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(Relayed::All),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        match output.write_all(&buffer[..count]) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Relayed::Part),
            written => written?,
        }
        step.advance(count as u64);
    }
}

/// Passes on what comes until its end, or until the reader of the output has gone: that is learnt at once, also while
/// nothing comes.
fn relay_while_wanted(
    mut input: PipeReader,
    output: &mut (impl Write + AsFd),
    step: Option<&Step<'_>>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (has_more, is_unwanted) = {
            let mut fds = [PollFd::new(&input, PollFlags::IN), PollFd::new(&*output, PollFlags::empty())];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            (!fds[0].revents().is_empty(), fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP))
        };
        if is_unwanted {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !has_more {
            continue;
        }
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return output.flush();
        }
        output.write_all(&buffer[..count])?;
        if let Some(step) = step {
            step.advance(count as u64);
        }
    }
}
