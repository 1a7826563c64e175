//! One process: its pipes, and what is between it and the [`Outbox`].

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::{SystemTime, UNIX_EPOCH},
};

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, Stream, agent::CHUNK_BYTES};
use rustix::{
    fs::OFlags,
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use super::outbox::Outbox;
use crate::exec::{Outcome, Trampoline, outcome};

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

/// The read end of an output pipe.
#[derive(Debug)]
struct Pipe {
    stream: Stream,
    /// None once nothing holds the other end.
    fd: Option<OwnedFd>,
    /// When the process has ended: how many bytes it left in the pipe. Those that come later are its children's.
    left: u64,
}

/// The write end of the input pipe.
#[derive(Debug)]
struct Input {
    fd: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    /// How much of the queue's first is written.
    written: usize,
    /// No more will be queued.
    closing: bool,
}

/// A process that the agent has started.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    pid: u32,
    /// The trampoline's socket, until it is known how the start went.
    start: Option<OwnedFd>,
    input: Option<Input>,
    pipes: [Pipe; 2],
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a trampoline for the command.
    pub(crate) fn start(id: ProcessId, spec: &ProcessSpec, trampoline: &Trampoline) -> io::Result<Self> {
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (input_end, input) = if spec.stdin {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (Some(read), Some(write))
        } else {
            (None, None)
        };
        for fd in [Some(&stdout), Some(&stderr), input.as_ref()].into_iter().flatten() {
            rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK)?;
        }
        let (pid, start) = trampoline.start(spec, input_end, stdout_end, stderr_end)?;
        let pipe = |stream, fd| Pipe { stream, fd: Some(fd), left: 0 };
        Ok(Self {
            id,
            pid,
            start: Some(start),
            input: input.map(|fd| Input { fd, queue: VecDeque::new(), written: 0, closing: false }),
            pipes: [pipe(Stream::Stdout, stdout), pipe(Stream::Stderr, stderr)],
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

    /// Whether nothing more can come of it.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some() && self.pipes.iter().all(|pipe| pipe.fd.is_none())
    }

    /// What to wait for now. Not for output that there is no room for.
    pub(crate) fn sources(&self, outbox: &Outbox) -> impl Iterator<Item = (Source, RawFd)> {
        let start = self.start.as_ref().map(|fd| (Source::Start, fd.as_raw_fd()));
        let input = self.input.as_ref().filter(|input| !input.queue.is_empty());
        let input = input.map(|input| (Source::Input, input.fd.as_raw_fd()));
        let output = self.pipes.each_ref().map(|pipe| {
            let fd = pipe.fd.as_ref().filter(|_| outbox.room(self.id, pipe.stream) > 0)?;
            Some((Source::Output(pipe.stream), fd.as_raw_fd()))
        });
        [start, input].into_iter().chain(output).flatten()
    }

    /// One of its descriptors is ready.
    pub(crate) fn ready(&mut self, source: Source, outbox: &mut Outbox) {
        match source {
            Source::Start => self.settle_start(outbox),
            Source::Input => self.write_input(outbox),
            Source::Output(_) => self.read_output(source, outbox),
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
                for pipe in &mut self.pipes {
                    pipe.fd = None;
                }
            }
        }
        self.start = None;
    }

    fn read_output(&mut self, source: Source, outbox: &mut Outbox) {
        for pipe in &mut self.pipes {
            if source == Source::Output(pipe.stream) {
                pipe.read(self.id, outbox);
            }
        }
        self.settle_end(outbox);
    }

    /// The process has ended: from here on its pipes hold what it left, and then what its children write.
    pub(crate) fn ended(&mut self, status: ExitStatus, outbox: &mut Outbox) {
        self.settle_start(outbox);
        if self.start.take().is_some() {
            outbox.started(self.id, self.pid);
        }
        self.drop_input(outbox);
        self.ended = Some(status);
        for pipe in &mut self.pipes {
            pipe.left = pipe.fd.as_ref().and_then(|fd| rustix::io::ioctl_fionread(fd).ok()).unwrap_or(0);
            pipe.read(self.id, outbox);
        }
        self.settle_end(outbox);
    }

    fn settle_end(&mut self, outbox: &mut Outbox) {
        if let Some(status) = self.ended
            && self.pipes.iter().all(|pipe| pipe.fd.is_none() || pipe.left == 0)
        {
            outbox.exited(self.id, status);
            if self.is_over() {
                outbox.closed(self.id);
            }
        }
    }

    /// Takes input for the process. What it can't take any more it gets credit for all the same.
    pub(crate) fn queue_input(&mut self, bytes: Vec<u8>, outbox: &mut Outbox) {
        match &mut self.input {
            Some(input) if !input.closing => {
                input.queue.push_back(bytes);
                self.write_input(outbox);
            }
            _ => outbox.credit(self.id, bytes.len() as u64),
        }
    }

    /// Closes the process's input once all that is queued is written.
    pub(crate) fn close_input(&mut self, outbox: &mut Outbox) {
        if let Some(input) = &mut self.input {
            input.closing = true;
            self.write_input(outbox);
        }
    }

    fn write_input(&mut self, outbox: &mut Outbox) {
        let Some(input) = &mut self.input else { return };
        while let Some(first) = input.queue.front() {
            match rustix::io::write(&input.fd, &first[input.written..]) {
                Ok(count) => {
                    outbox.credit(self.id, count as u64);
                    input.written += count;
                    if input.written == first.len() {
                        input.queue.pop_front();
                        input.written = 0;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Nobody reads it any more.
                Err(_) => return self.drop_input(outbox),
            }
        }
        if input.closing {
            self.input = None;
        }
    }

    fn drop_input(&mut self, outbox: &mut Outbox) {
        if let Some(input) = self.input.take() {
            let queued = input.queue.iter().map(Vec::len).sum::<usize>() - input.written;
            outbox.credit(self.id, queued as u64);
        }
    }
}

impl Pipe {
    /// Reads once, no more than there is room for.
    fn read(&mut self, id: ProcessId, outbox: &mut Outbox) {
        let Some(fd) = &self.fd else { return };
        let room = outbox.room(id, self.stream).min(CHUNK_BYTES);
        if room == 0 {
            return;
        }
        // As much memory as there are bytes; at least one, to see the end.
        let waiting = rustix::io::ioctl_fionread(fd).unwrap_or(0) as usize;
        let mut bytes = Vec::with_capacity(waiting.clamp(1, room));
        match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => {
                self.fd = None;
                self.left = 0;
            }
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                outbox.push(id, self.stream, bytes, now_ns());
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.fd = None;
                self.left = 0;
            }
        }
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
