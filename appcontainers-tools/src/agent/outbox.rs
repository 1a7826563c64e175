//! Everything that the monitor must learn, and in which order: greeting, events of each process, its output. Pure:
//! the connection tells it what happens and takes what it offers.
//!
//! ```text
//!         connected          welcome
//!  Down ------------> Greeting ------> Up      Down: nothing is sent
//!    ^------- disconnected ---|--------|       Greeting: Hello, then nothing before Welcome
//! ```
//!
//! Each Welcome begins anew: the events of every process that the monitor has not noted as ended go out again, and its
//! streams go on from what the monitor has. So nothing is lost with a connection, and what comes twice carries the
//! offset or the process by which the monitor knows it.

use std::collections::BTreeMap;

use appcontainers_wire::{
    ExitStatus, ProcessId, SpawnFailure, Stream, WIRE_VERSION,
    agent::{FromAgent, StreamOffset},
};

use super::window::Window;

/// How many ended processes are remembered for a monitor that does not note their ends.
const MAX_ENDED: usize = 1024;

/// How the start of a process went.
#[derive(Debug)]
enum Start {
    Pending,
    Started { pid: u32 },
    Failed { failure: SpawnFailure },
}

/// How the process ended, and how much output there was of each stream by then.
#[derive(Debug, Clone, Copy)]
struct Exit {
    status: ExitStatus,
    ends: [u64; 2],
}

/// What the monitor is to learn of one process.
#[derive(Debug)]
struct Record {
    start: Start,
    start_sent: bool,
    streams: [Window; 2],
    /// The stream that goes first next time, so that neither starves the other.
    first: usize,
    /// Standard input that has come.
    input_bytes: u64,
    /// What of it the process took, and what of that the monitor has not heard.
    taken_bytes: u64,
    credit: u64,
    exit: Option<Exit>,
    exit_sent: bool,
    /// Both pipes are closed.
    closed: bool,
    noted: bool,
}

impl Record {
    fn new() -> Self {
        let streams = [Window::default(), Window::default()];
        let start = Start::Pending;
        Self {
            start,
            start_sent: false,
            streams,
            first: 0,
            input_bytes: 0,
            taken_bytes: 0,
            credit: 0,
            exit: None,
            exit_sent: false,
            closed: false,
            noted: false,
        }
    }

    fn has_ended(&self) -> bool {
        self.exit.is_some() || matches!(self.start, Start::Failed { .. })
    }

    /// Nothing more comes of it, and the monitor has all but perhaps its end.
    fn is_over(&self) -> bool {
        self.has_ended() && self.closed && self.streams.iter().all(Window::is_empty)
    }

    fn rewind(&mut self) {
        self.start_sent = self.noted;
        self.exit_sent = self.noted;
        for window in &mut self.streams {
            window.rewind(0);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Greeting { hello_sent: bool },
    Up,
}

/// What waits to be sent or acknowledged.
#[derive(Debug)]
pub(crate) struct Outbox {
    link: Link,
    records: BTreeMap<ProcessId, Record>,
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { link: Link::Down, records: BTreeMap::new() }
    }

    /// A connection stands.
    pub(crate) fn connected(&mut self) {
        self.link = Link::Greeting { hello_sent: false };
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.link = Link::Down;
    }

    /// Whether a monitor has answered on this connection.
    pub(crate) fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// The monitor has these offsets; what it does not name it has no newer word of.
    pub(crate) fn welcome(&mut self, streams: &[StreamOffset]) {
        match self.link {
            // Of a connection that is gone already.
            Link::Down | Link::Greeting { hello_sent: false } => return,
            Link::Greeting { hello_sent: true } | Link::Up => self.link = Link::Up,
        }
        for position in streams {
            self.acknowledge(*position);
        }
        for record in self.records.values_mut() {
            record.rewind();
        }
    }

    /// A command is about to be started; false if the name is taken.
    pub(crate) fn add(&mut self, process: ProcessId) -> bool {
        if self.records.contains_key(&process) {
            return false;
        }
        self.records.insert(process, Record::new());
        self.forget();
        true
    }

    /// The command runs.
    pub(crate) fn started(&mut self, process: ProcessId, pid: u32) {
        self.set_start(process, Start::Started { pid });
    }

    /// The command was not started.
    pub(crate) fn failed(&mut self, process: ProcessId, failure: SpawnFailure) {
        self.set_start(process, Start::Failed { failure });
        self.closed(process);
    }

    fn set_start(&mut self, process: ProcessId, start: Start) {
        if let Some(record) = self.records.get_mut(&process) {
            record.start = start;
        }
    }

    /// How many bytes of output may be pushed.
    pub(crate) fn room(&self, process: ProcessId, stream: Stream) -> usize {
        self.records.get(&process).map_or(0, |record| record.streams[index(stream)].room())
    }

    /// Output was read.
    pub(crate) fn push(&mut self, process: ProcessId, stream: Stream, bytes: Vec<u8>, time_ns: u64) {
        if let Some(record) = self.records.get_mut(&process) {
            record.streams[index(stream)].push(bytes, time_ns);
        }
    }

    /// Input for the process has come.
    pub(crate) fn received(&mut self, process: ProcessId, bytes: u64) {
        if let Some(record) = self.records.get_mut(&process) {
            record.input_bytes += bytes;
        }
    }

    /// The process took so much of its input.
    pub(crate) fn credit(&mut self, process: ProcessId, bytes: u64) {
        if let Some(record) = self.records.get_mut(&process) {
            record.taken_bytes += bytes;
            record.credit += bytes;
        }
    }

    /// The process has ended; all output of its own was pushed. Only the first word of it counts, and none of a process
    /// that was not started.
    pub(crate) fn exited(&mut self, process: ProcessId, status: ExitStatus) {
        if let Some(record) = self.records.get_mut(&process)
            && !record.has_ended()
        {
            let ends = record.streams.each_ref().map(Window::end);
            record.exit = Some(Exit { status, ends });
        }
    }

    /// No more output can come of the process.
    pub(crate) fn closed(&mut self, process: ProcessId) {
        if let Some(record) = self.records.get_mut(&process) {
            record.closed = true;
        }
        self.forget();
    }

    /// The monitor has everything of a stream before the offset.
    pub(crate) fn acknowledge(&mut self, position: StreamOffset) {
        if let Some(record) = self.records.get_mut(&position.process) {
            record.streams[index(position.stream)].acknowledge(position.offset);
            if record.is_over() {
                self.forget();
            }
        }
    }

    /// The monitor keeps that the process ended.
    pub(crate) fn noted(&mut self, process: ProcessId) {
        if let Some(record) = self.records.get_mut(&process) {
            record.noted = record.has_ended();
        }
        self.forget();
    }

    /// Whether the monitor has everything, so far as it tells.
    pub(crate) fn is_settled(&self) -> bool {
        self.records
            .values()
            .all(|record| record.is_over() && record.start_sent && (record.exit.is_none() || record.exit_sent))
    }

    /// How many bytes and events the monitor has not got; only for comparing with an earlier value.
    pub(crate) fn left(&self) -> usize {
        let unsent = |record: &Record| usize::from(!record.start_sent) + usize::from(!record.exit_sent);
        self.records
            .values()
            .map(|record| record.streams.iter().map(Window::held).sum::<usize>() + unsent(record))
            .sum()
    }

    fn forget(&mut self) {
        self.records.retain(|_, record| !(record.noted && record.is_over()));
        if self.records.len() > MAX_ENDED {
            let over =
                |record: &Record| record.is_over() && record.start_sent && (record.exit_sent || record.exit.is_none());
            let oldest = self.records.iter().find(|(_, record)| over(record)).map(|(process, _)| *process);
            if let Some(process) = oldest {
                self.records.remove(&process);
            }
        }
    }

    /// Offers `send` all that may go out now, in order, until it says that it takes no more. What it
    /// has taken is on its way.
    pub(crate) fn offer(&mut self, mut send: impl FnMut(&FromAgent, &[u8]) -> bool) {
        match self.link {
            Link::Down | Link::Greeting { hello_sent: true } => return,
            Link::Greeting { hello_sent: false } => {
                let hello = FromAgent::Hello { wire: WIRE_VERSION, version: env!("CARGO_PKG_VERSION").to_owned() };
                if send(&hello, &[]) {
                    self.link = Link::Greeting { hello_sent: true };
                }
                return;
            }
            Link::Up => {}
        }
        // One round gives each process one message of each kind; rounds go on while something is taken.
        let mut again = true;
        while again {
            again = false;
            for (process, record) in &mut self.records {
                match offer_one(*process, record, &mut send) {
                    Offered::Nothing => {}
                    Offered::Sent => again = true,
                    Offered::Full => return,
                }
            }
        }
    }
}

/// What became of an offer.
enum Offered {
    Nothing,
    Sent,
    Full,
}

fn offer_one(process: ProcessId, record: &mut Record, send: &mut impl FnMut(&FromAgent, &[u8]) -> bool) -> Offered {
    let mut offered = Offered::Nothing;
    if !record.start_sent {
        let message = match &record.start {
            Start::Pending => return Offered::Nothing,
            Start::Started { pid } => {
                let (input_bytes, taken_bytes) = (record.input_bytes, record.taken_bytes);
                FromAgent::Started { process, pid: *pid, input_bytes, taken_bytes }
            }
            Start::Failed { failure } => FromAgent::SpawnFailed { process, failure: failure.clone() },
        };
        if !send(&message, &[]) {
            return Offered::Full;
        }
        record.start_sent = true;
        record.credit = 0;
        offered = Offered::Sent;
    }
    if record.credit > 0 {
        if !send(&FromAgent::StdinCredit { process, bytes: record.credit }, &[]) {
            return Offered::Full;
        }
        record.credit = 0;
        offered = Offered::Sent;
    }
    for turn in 0..STREAMS.len() {
        let which = (record.first + turn) % STREAMS.len();
        let window = &mut record.streams[which];
        let Some(part) = window.next() else { continue };
        let header = FromAgent::Output { process, stream: STREAMS[which], offset: part.offset, time_ns: part.time_ns };
        if !send(&header, part.bytes) {
            record.first = which;
            return Offered::Full;
        }
        window.advance();
        offered = Offered::Sent;
    }
    if let Some(exit) = record.exit
        && !record.exit_sent
        && record.streams.iter().zip(exit.ends).all(|(window, end)| window.sent() >= end)
    {
        if !send(&FromAgent::Exited { process, status: exit.status }, &[]) {
            return Offered::Full;
        }
        record.exit_sent = true;
        offered = Offered::Sent;
    }
    offered
}

#[cfg(test)]
mod tests;
