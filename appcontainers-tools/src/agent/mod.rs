//! PID 1, or a process beside it: starts and watches processes for the monitor, reaps everything, sends what they write.
//!
//! One thread and one poll: on libzmq's sockets, the signals' descriptor and each process's pipes. Nothing in the loop
//! blocks. [`Outbox`] owns what is to be sent, [`Process`] a process's descriptors, [`Shutdown`] the end.

mod connection;
mod input;
mod outbox;
mod output;
mod place;
mod process;
mod shutdown;
mod signals;
mod terminal;
mod window;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, SpawnFailure, WIRE_VERSION, agent::ToAgent};
use nix::sys::signal::Signal;
use rustix::{
    io::Errno,
    process::{DumpableBehavior, WaitOptions, WaitStatus, set_dumpable_behavior},
};
use zmq::PollItem;

use self::{
    connection::{Change, Connection},
    outbox::Outbox,
    process::{Process, Source},
    shutdown::{Shutdown, Step},
    signals::{Request, Signals},
    terminal::Terminals,
};
use crate::{exec::Trampoline, report};

pub(crate) use self::place::{BESIDE, Place};

/// What processes get between TERM and KILL when the host ends the container with a signal.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// How many messages of the monitor are taken before pipes have their turn again.
const MESSAGES_A_TURN: usize = 64;

/// Runs until the monitor or the host says `Shutdown`.
pub(crate) fn run(socket_dir: &Path, place: Place) -> ExitCode {
    match Agent::open(socket_dir, place).and_then(Agent::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(format_args!("cannot go on, socket directory {}: {error}", socket_dir.display()));
            ExitCode::FAILURE
        }
    }
}

struct Agent {
    place: Place,
    /// The monitor has greeted this agent.
    is_known: bool,
    connection: Connection,
    signals: Signals,
    trampoline: Trampoline,
    terminals: Terminals,
    outbox: Outbox,
    processes: BTreeMap<ProcessId, Process>,
    shutdown: Option<Shutdown>,
    /// Whether there may be children.
    alive: bool,
}

impl Agent {
    fn open(socket_dir: &Path, place: Place) -> io::Result<Self> {
        place.settle()?;
        // What the container's root can't read it can't trace either. In a privileged one it is the host's root and can.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        // Signals first: libzmq's threads inherit the mask.
        let signals = Signals::open(place)?;
        let trampoline = Trampoline::open()?;
        let terminals = Terminals::open();
        let connection = Connection::open(socket_dir)?;
        Ok(Self {
            place,
            is_known: false,
            connection,
            signals,
            trampoline,
            terminals,
            outbox: Outbox::new(),
            processes: BTreeMap::new(),
            shutdown: None,
            alive: false,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            let Self { connection, outbox, .. } = &mut self;
            outbox.offer(|message, payload| connection.send(message, payload));
            let Some(timeout) = self.advance_shutdown() else { return Ok(()) };
            for (process, source) in self.wait(timeout)? {
                if let Some(process) = self.processes.get_mut(&process) {
                    process.ready(source, &mut self.outbox);
                }
            }
            self.take_signals();
            self.take_messages();
            for process in self.processes.values_mut() {
                process.settle_end(&mut self.outbox);
            }
            self.processes.retain(|_, process| !process.is_over());
        }
    }

    /// Waits until something is ready; tells which of the processes' descriptors are.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<(ProcessId, Source)>> {
        let sources: Vec<_> = self
            .processes
            .iter()
            .flat_map(|(id, process)| process.sources(&self.outbox).map(|(source, fd)| (*id, source, fd)))
            .collect();
        let mut items: Vec<PollItem<'_>> = sources
            .iter()
            .map(|(_, source, fd)| {
                PollItem::from_fd(*fd, if *source == Source::Input { zmq::POLLOUT } else { zmq::POLLIN })
            })
            .collect();
        items.push(PollItem::from_fd(self.signals.raw_fd(), zmq::POLLIN));
        items.extend(self.connection.poll_items());
        let milliseconds = timeout.map_or(-1, |timeout| timeout.as_millis().min(1_000_000) as i64 + 1);
        match zmq::poll(&mut items, milliseconds) {
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // An error on a descriptor (the other end is closed) is for its reader or writer to see.
        let is_ready = |item: &PollItem<'_>| !item.get_revents().is_empty();
        Ok(sources
            .iter()
            .zip(&items)
            .filter(|(_, item)| is_ready(item))
            .map(|((id, source, _), _)| (*id, *source))
            .collect())
    }

    fn take_signals(&mut self) {
        while let Some(request) = self.signals.next() {
            match request {
                Request::Reap => self.reap(),
                Request::Reconnect => self.connection.hurry(),
                Request::Shutdown => self.shut_down(DEFAULT_GRACE),
            }
        }
    }

    fn take_messages(&mut self) {
        while let Some(change) = self.connection.change() {
            match change {
                Change::Connected => self.outbox.connected(),
                Change::Disconnected => self.outbox.disconnected(),
            }
        }
        for _ in 0..MESSAGES_A_TURN {
            let Some((message, payload)) = self.connection.receive() else { return };
            self.take_message(message, payload);
        }
    }

    fn take_message(&mut self, message: ToAgent, payload: Vec<u8>) {
        let Self { outbox, processes, .. } = self;
        match message {
            ToAgent::Welcome { wire: WIRE_VERSION, streams } => {
                outbox.welcome(&streams);
                if !std::mem::replace(&mut self.is_known, true) {
                    self.place.tell_init();
                }
            }
            ToAgent::Welcome { wire, .. } => {
                report::error(format_args!("the monitor speaks version {wire}, this agent {WIRE_VERSION}"));
            }
            ToAgent::Spawn { process, spec } => self.spawn(process, &spec),
            ToAgent::Stdin { process } => {
                outbox.received(process, payload.len() as u64);
                match processes.get_mut(&process) {
                    Some(running) => running.queue_input(payload, outbox),
                    None => outbox.credit(process, payload.len() as u64),
                }
            }
            ToAgent::StdinClose { process } => {
                if let Some(running) = processes.get_mut(&process) {
                    running.close_input(outbox);
                }
            }
            ToAgent::Signal { process, signal } => {
                if let (Some(running), Ok(signal)) = (processes.get(&process), Signal::try_from(i32::from(signal))) {
                    running.signal(signal);
                }
            }
            ToAgent::Resize { process, size } => {
                if let Some(running) = processes.get(&process) {
                    running.resize(size);
                }
            }
            ToAgent::Ack(position) => outbox.acknowledge(position),
            ToAgent::Noted { process } => outbox.noted(process),
            ToAgent::Shutdown { grace_ms } => self.shut_down(Duration::from_millis(grace_ms)),
        }
    }

    fn spawn(&mut self, id: ProcessId, spec: &ProcessSpec) {
        if !self.outbox.add(id) {
            // The monitor asks again because the connection broke: the answer is on its way.
            return;
        }
        let refuse = |why: String| SpawnFailure::Other { why };
        if self.shutdown.is_some() {
            return self.outbox.failed(id, refuse("the container is shutting down".to_owned()));
        }
        match Process::start(id, spec, &self.trampoline, &self.terminals) {
            Ok(process) => {
                self.processes.insert(id, process);
                self.alive = true;
            }
            Err(error) => self.outbox.failed(id, refuse(format!("cannot start a process in the container: {error}"))),
        }
    }

    /// Takes every ended child: processes, and what was left to PID 1 by their ends.
    fn reap(&mut self) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid.as_raw_nonzero().get() as u32, status),
                Err(Errno::INTR) => {}
                Ok(None) => return self.alive = true,
                Err(_) => return self.alive = false,
            }
        }
    }

    fn ended(&mut self, pid: u32, status: WaitStatus) {
        let status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::Code(code as u8),
            (None, Some(signal)) => ExitStatus::Signal(signal as u8),
            (None, None) => return,
        };
        if let Some(process) = self.processes.values_mut().find(|process| process.is_alive() && process.pid() == pid) {
            process.ended(status, &mut self.outbox);
        }
    }

    fn shut_down(&mut self, grace: Duration) {
        let now = Instant::now();
        match &mut self.shutdown {
            Some(shutdown) => shutdown.hasten(now, grace),
            None => {
                self.shutdown = Some(Shutdown::begin(now, grace));
                // A stopped process takes TERM only once it goes on. There may be no process at all.
                self.place.signal_all(Signal::SIGTERM);
                self.place.signal_all(Signal::SIGCONT);
                // A shell that somebody types into takes no TERM.
                for process in self.processes.values().filter(|process| process.has_terminal()) {
                    process.signal(Signal::SIGHUP);
                }
            }
        }
    }

    /// How long to wait for events, for ever if absent; the outer is absent when the agent may end.
    fn advance_shutdown(&mut self) -> Option<Option<Duration>> {
        let Some(shutdown) = &mut self.shutdown else { return Some(None) };
        loop {
            let left = if self.outbox.is_settled() { 0 } else { self.outbox.left().max(1) };
            match shutdown.step(Instant::now(), self.alive, left, self.outbox.is_up()) {
                Step::Wait(duration) => return Some(Some(duration)),
                Step::Kill => self.place.signal_all(Signal::SIGKILL),
                Step::Done => return None,
            }
        }
    }
}
