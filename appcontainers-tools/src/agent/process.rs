//! One process: its pipes or its terminal, and what is between them and the [`Outbox`].
//!
//! With a terminal, INT and QUIT go to the group in its foreground, as if they were typed, and other signals to that and
//! to the process's own group: whoever sends them means what runs there. HUP is followed by CONT as at a kernel's
//! hangup; the terminal is not closed for it, because what the command says to that is output, too. When the process has
//! ended, the kernel sends HUP to the foreground; what goes on all the same keeps the terminal, and is read.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, Stream, TerminalSize, agent::CHUNK_BYTES};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use rustix::{
    fs::OFlags,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};

use super::{
    input::{Input, Written},
    outbox::Outbox,
    output::Output,
    terminal::{Terminal, Terminals},
};
use crate::{
    exec::{Outcome, Trampoline, outcome},
    report,
};

/// A descriptor of a process, for polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Whether the command was started.
    Start,
    /// Output to read.
    Output(Stream),
    /// Room for input.
    Input,
}

/// A process that the agent has started.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    pid: u32,
    /// The trampoline's socket, until it is known how the start went.
    start: Option<OwnedFd>,
    input: Option<Input>,
    outputs: [Output; 2],
    terminal: Option<Terminal>,
    ended: Option<ExitStatus>,
}

/// How much a process may print before the agent has to read: most print there more than elsewhere.
const STDOUT_PIPE_BYTES: usize = 2 * CHUNK_BYTES;

/// A new process's streams: our ends, then its own.
struct Streams {
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Streams {
    fn pipes(with_input: bool) -> io::Result<Self> {
        let (stdout_read, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr_read, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        // The process and the agent take turns less often. Where there is no right to more, the kernel's default does.
        let _ = fcntl_setpipe_size(&stdout_read, STDOUT_PIPE_BYTES);
        let (stdin, input) = with_input.then(|| pipe_with(PipeFlags::CLOEXEC)).transpose()?.unzip();
        for fd in [Some(&stdout_read), Some(&stderr_read), input.as_ref()].into_iter().flatten() {
            rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK)?;
        }
        Ok(Self { input, outputs: [Some(stdout_read), Some(stderr_read)], stdin, stdout, stderr })
    }

    /// What comes out of a terminal is standard output.
    fn terminal(terminal: &Terminal, with_input: bool) -> io::Result<Self> {
        Ok(Self {
            input: with_input.then(|| terminal.master()).transpose()?,
            outputs: [Some(terminal.master()?), None],
            stdin: Some(terminal.slave()?),
            stdout: terminal.slave()?,
            stderr: terminal.slave()?,
        })
    }
}

impl Process {
    /// Starts a trampoline for the command.
    pub(crate) fn start(
        id: ProcessId,
        spec: &ProcessSpec,
        trampoline: &Trampoline,
        terminals: &Terminals,
    ) -> io::Result<Self> {
        let terminal = spec.tty.map(|size| terminals.create(size)).transpose()?;
        let streams = match &terminal {
            Some(terminal) => Streams::terminal(terminal, spec.stdin)?,
            None => Streams::pipes(spec.stdin)?,
        };
        let (pid, start) = trampoline.start(spec, streams.stdin, streams.stdout, streams.stderr)?;
        let [stdout, stderr] = streams.outputs;
        Ok(Self {
            id,
            pid,
            start: Some(start),
            input: streams.input.map(|fd| Input::new(fd, terminal.is_some())),
            outputs: [Output::new(Stream::Stdout, stdout), Output::new(Stream::Stderr, stderr)],
            terminal,
            ended: None,
        })
    }

    /// Its pid in the container; its group's too. Another process's once this one has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process itself is there, perhaps as a zombie.
    pub(crate) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether its streams are a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Whether nothing more can come of it.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some() && self.outputs.iter().all(|output| output.raw_fd().is_none())
    }

    /// What to wait for now. Not for output that there is no room for.
    pub(crate) fn sources(&self, outbox: &Outbox) -> impl Iterator<Item = (Source, RawFd)> {
        let start = self.start.as_ref().map(|fd| (Source::Start, fd.as_raw_fd()));
        let input = self.input.as_ref().and_then(Input::waiting_fd).map(|fd| (Source::Input, fd));
        let output = self.outputs.each_ref().map(|output| {
            let fd = output.raw_fd().filter(|_| outbox.room(self.id, output.stream) > 0)?;
            Some((Source::Output(output.stream), fd))
        });
        [start, input].into_iter().chain(output).flatten()
    }

    /// One of its descriptors is ready.
    pub(crate) fn ready(&mut self, source: Source, outbox: &mut Outbox) {
        match source {
            Source::Start => self.settle_start(outbox),
            Source::Input => self.write_input(outbox),
            Source::Output(stream) => {
                for output in self.outputs.iter_mut().filter(|output| output.stream == stream) {
                    output.read(self.id, outbox);
                }
                self.settle_end(outbox);
            }
        }
    }

    /// Learns how the start went, if that is known now.
    fn settle_start(&mut self, outbox: &mut Outbox) {
        let Some(socket) = &self.start else { return };
        match outcome(socket) {
            Outcome::Pending => return,
            Outcome::Running => outbox.started(self.id, self.pid),
            Outcome::Failed(failure) => {
                outbox.failed(self.id, failure);
                self.drop_input(outbox);
                self.outputs.iter_mut().for_each(Output::close);
            }
        }
        self.start = None;
    }

    /// The process has ended: from here on its pipes hold what it left, and then what its children write.
    pub(crate) fn ended(&mut self, status: ExitStatus, outbox: &mut Outbox) {
        self.settle_start(outbox);
        if self.start.take().is_some() {
            outbox.started(self.id, self.pid);
        }
        self.drop_input(outbox);
        self.ended = Some(status);
        if let Some(terminal) = &mut self.terminal {
            terminal.release();
        }
        for output in &mut self.outputs {
            output.process_ended(self.terminal.is_some());
        }
        self.settle_end(outbox);
    }

    /// If it has ended: reads what it left, as far as there is room, and tells the end after the last of that. Also to
    /// be called when there may be room again: a terminal is not ready for one who has read all of it.
    pub(crate) fn settle_end(&mut self, outbox: &mut Outbox) {
        let Some(status) = self.ended else { return };
        for output in &mut self.outputs {
            output.read_rest(self.id, outbox);
        }
        if self.outputs.iter().all(Output::is_settled) {
            outbox.exited(self.id, status);
            if self.is_over() {
                outbox.closed(self.id);
            }
        }
    }

    /// Sends a signal to the process's group, or to where its terminal is (see above). After the process has ended, its
    /// number may be another's.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        let own = Pid::from_raw(self.pid as i32);
        let foreground = self.terminal.as_ref().and_then(Terminal::foreground).filter(|group| *group != own);
        let is_typed = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
        let own = Some(own).filter(|_| !is_typed || foreground.is_none());
        for group in [own, foreground].into_iter().flatten() {
            // Until it leads a group of its own it is alone. Any other group is gone if this fails.
            if killpg(group, signal).is_err() && Some(group) == own {
                let _ = kill(group, signal);
            }
            if signal == Signal::SIGHUP && self.has_terminal() {
                let _ = killpg(group, Signal::SIGCONT);
            }
        }
    }

    /// Sets the size of its terminal, if it has one.
    pub(crate) fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal
            && let Err(error) = terminal.resize(size)
        {
            report::error(format_args!("cannot resize the terminal of process {}: {error}", self.id));
        }
    }

    /// Takes input for the process. What it can't take any more it gets credit for all the same.
    pub(crate) fn queue_input(&mut self, bytes: Vec<u8>, outbox: &mut Outbox) {
        let pushed = match &mut self.input {
            Some(input) => input.push(bytes),
            None => Err(bytes),
        };
        match pushed {
            Ok(()) => self.write_input(outbox),
            Err(bytes) => outbox.credit(self.id, bytes.len() as u64),
        }
    }

    /// Ends the process's input once all that is queued is written.
    pub(crate) fn close_input(&mut self, outbox: &mut Outbox) {
        if let Some(input) = &mut self.input {
            input.close();
            self.write_input(outbox);
        }
    }

    fn write_input(&mut self, outbox: &mut Outbox) {
        let Some(input) = &mut self.input else { return };
        if input.write(|bytes| outbox.credit(self.id, bytes)) == Written::Over {
            self.drop_input(outbox);
        }
    }

    fn drop_input(&mut self, outbox: &mut Outbox) {
        if let Some(input) = self.input.take() {
            outbox.credit(self.id, input.queued_bytes());
        }
    }
}
