//! What the agent and the monitor say to each other, over `ipc://` (a DEALER of libzmq's in the agent; the monitor speaks
//! ZMTP as a ROUTER does).
//!
//! ```text
//! agent                                monitor
//!   Hello{wire}            ->
//!                          <-          Welcome{wire, streams}   go on from these offsets
//!                          <-          Spawn{process, spec}
//!   Started | SpawnFailed  ->
//!   Output + payload       ->                                   appended to the log, then
//!                          <-          Ack{process, stream, offset}
//!                          <-          Stdin + payload, StdinClose, Signal, Resize
//!   StdinCredit            ->                                   the process read so much
//!   Exited                 ->                                   after the last Output
//!                          <-          Noted{process}           its end is known: forget it
//!                          <-          Shutdown{grace_ms}       end all processes, then yourself
//! ```
//!
//! To the agent each message is one ZeroMQ frame ([`crate::frame::join`]): libzmq (4.3, `fq.cpp`) aborts a process that
//! uses `ZMQ_IMMEDIATE` and is between two frames of a message when it learns that its peer has gone, and the agent
//! must not end with a monitor. To the monitor it is two frames, header and payload.
//!
//! The agent holds what is not acknowledged and sends it again after a reconnect (go-back-N), within
//! [`OUTPUT_WINDOW_BYTES`] a stream; when that is full it stops reading the process's pipe.
//! `Started`, `SpawnFailed` and `Exited` come again after each `Welcome` until `Noted`: they say the same as
//! before; a `Spawn` that was lost with a connection comes again, and counts once. A process that left children behind which hold its output open may have `Output` after `Exited`.
//! Standard input has credit: the monitor sends at most [`STDIN_WINDOW_BYTES`] beyond what
//! `StdinCredit` has given back.

use serde::{Deserialize, Serialize};

use crate::{ExitStatus, ProcessId, ProcessSpec, SpawnFailure, Stream, TerminalSize};

/// How many bytes of one stream may be sent and not yet acknowledged.
pub const OUTPUT_WINDOW_BYTES: u64 = 1024 * 1024;

/// How many bytes of standard input may be on their way to one process.
pub const STDIN_WINDOW_BYTES: u64 = 1024 * 1024;

/// The most payload bytes of one `Output` or `Stdin` message.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// Where the agent finds its own files in the container: `agent` (itself) and `sock/a` (the monitor).
pub const AGENT_DIR: &str = "/dev/.appc";

/// The directory of the monitor's socket in the container.
pub const SOCKET_DIR: &str = "/dev/.appc/sock";

/// The name of the monitor's socket in its directory.
pub const SOCKET_NAME: &str = "a";

/// From the agent to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromAgent {
    /// The first message on a connection.
    Hello {
        /// [`crate::WIRE_VERSION`] of the agent.
        wire: u32,
        /// The agent's package version, for logs.
        version: String,
    },
    /// The command runs.
    Started {
        /// Which one.
        process: ProcessId,
        /// Its pid in the container.
        pid: u32,
        /// How many bytes of standard input have come for it: what was sent beyond was lost with a connection.
        #[serde(default)]
        input_bytes: u64,
        /// How many of them were given back as credit, now included.
        #[serde(default)]
        taken_bytes: u64,
    },
    /// The command was not started; nothing more comes of this process.
    SpawnFailed {
        /// Which one.
        process: ProcessId,
        /// Why.
        failure: SpawnFailure,
    },
    /// The payload is output.
    Output {
        /// Whose.
        process: ProcessId,
        /// Which stream.
        stream: Stream,
        /// How many bytes of this stream came before the payload's first.
        offset: u64,
        /// When it was read: nanoseconds since 1970, UTC.
        time_ns: u64,
    },
    /// The process took so much more of its standard input (or will never take it).
    StdinCredit {
        /// Which one.
        process: ProcessId,
        /// Bytes given back.
        bytes: u64,
    },
    /// The process ended and all its output was sent.
    Exited {
        /// Which one.
        process: ProcessId,
        /// How.
        status: ExitStatus,
    },
}

/// From the monitor to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToAgent {
    /// The answer to `Hello`: go on from here.
    Welcome {
        /// [`crate::WIRE_VERSION`] of the monitor.
        wire: u32,
        /// What the monitor has of each stream that it knows.
        streams: Vec<StreamOffset>,
    },
    /// Start a command.
    Spawn {
        /// Its name from now on.
        process: ProcessId,
        /// What to run.
        spec: ProcessSpec,
    },
    /// The payload is standard input.
    Stdin {
        /// For which process.
        process: ProcessId,
    },
    /// Standard input ends here.
    StdinClose {
        /// Of which process.
        process: ProcessId,
    },
    /// Send a signal to a process's group.
    Signal {
        /// Which one.
        process: ProcessId,
        /// The signal's number on this architecture.
        signal: u8,
    },
    /// The size of a process's terminal has changed.
    Resize {
        /// Whose.
        process: ProcessId,
        /// The new size.
        size: TerminalSize,
    },
    /// The log, or who takes the output instead, has this stream up to `offset`.
    Ack(StreamOffset),
    /// The monitor keeps that the process ended (`Exited` or `SpawnFailed`): the agent says it no more
    /// after a reconnect and forgets the process once its output is acknowledged.
    Noted {
        /// Which one.
        process: ProcessId,
    },
    /// End every process (TERM, and KILL after the grace), send what is left, exit.
    Shutdown {
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
}

/// A position in one process's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOffset {
    /// Whose stream.
    pub process: ProcessId,
    /// Which one.
    pub stream: Stream,
    /// Bytes from the stream's start.
    pub offset: u64,
}
