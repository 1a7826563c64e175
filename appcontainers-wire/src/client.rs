//! What a client (an `appc` command, a program that uses the library) and a container's monitor say
//! to each other, over a unix stream socket that only the host's root can reach.
//!
//! A command's output does not come this way: a client reads the container's log with a cursor of its own, and
//! `Logged` tells it how far the log goes. Only a file operation's output does (`Output`), as it may be any number of
//! gigabytes. That the connection ends says that the client is gone.

use serde::{Deserialize, Serialize};

use crate::{ExitStatus, ProcessId, ProcessSpec, RestartPolicy, SpawnFailure, Stream, TerminalSize};

/// From a client to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromClient {
    /// Run a command in the foreground: it ends (HUP, then KILL) when this connection does.
    Run {
        /// What to run.
        spec: ProcessSpec,
        /// Stop the container when the command has ended and no other such `Run` is under way.
        stop_after: bool,
        /// Drawn by chance: by it the client finds the command if the monitor dies before it has answered.
        token: u64,
    },
    /// Run a command in the background: it belongs to the container, not to this connection.
    Spawn {
        /// What to run.
        spec: ProcessSpec,
        /// What it is called beside its number, if anything.
        name: Option<String>,
        /// What happens when it ends.
        restart: RestartPolicy,
        /// As in `Run`.
        token: u64,
    },
    /// Go on as the client of a foreground command whose monitor has died; the answer is `Claimed`.
    Claim {
        /// The command.
        process: ProcessId,
    },
    /// A signal for any command's process group; the answer is `Done`.
    SignalProcess {
        /// For which one.
        process: ProcessId,
        /// The signal's number.
        signal: u8,
    },
    /// The payload is standard input of this connection's command.
    Stdin,
    /// Standard input ends here.
    StdinClose,
    /// A signal for this connection's command.
    Signal {
        /// The signal's number.
        signal: u8,
    },
    /// The size of the terminal of this connection's command has changed.
    Resize {
        /// The new size.
        size: TerminalSize,
    },
    /// How far the client has come; what is before may be dropped, and the command may print more.
    Consumed {
        /// A position in the log, as in `Logged`: what is before is read.
        position: u64,
        /// Bytes of this connection's command, both streams together, that are passed on (or will never be).
        passed_bytes: u64,
    },
    /// This client asks for nothing; that the connection ends tells it that the monitor has.
    Watch,
    /// Let the container outlive the commands that it was started for, and run its startup commands.
    Keep {
        /// The startup commands.
        startup: Vec<ProcessSpec>,
    },
    /// Stop the container: TERM to all processes, KILL after the grace.
    Stop {
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
    /// Hold the ports of the host that the container publishes now, and no others; the answer is `Done`.
    HoldPorts,
    /// The container's limits have changed: commands are started with those of its configuration now; the answer is `Done`.
    LimitsChanged,
    /// Have all processes stand still until `Unpause` or `Stop`; the answer is `Done`.
    Pause,
    /// Have a paused container go on; the answer is `Done`.
    Unpause,
    /// Read what is asked of the container's life (restart policy, health check, scripts) anew; the answer is `Done`.
    ReadLife,
    /// Freeze all processes until this connection ends or sends `Thaw`.
    Freeze,
    /// End this connection's freeze.
    Thaw,
}

/// From the monitor to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToClient {
    /// First message on every connection, when the container runs and its agent has answered.
    Ready {
        /// [`crate::WIRE_VERSION`] of the monitor.
        wire: u32,
        /// The pid of the container's init, in the host's pid namespace.
        init_pid: u32,
    },
    /// The container could not be started, or what the client asked for failed.
    Failed {
        /// What was done, to what, why, and what to do.
        message: String,
    },
    /// The container is on its way down; `Stopped` follows. What was asked for and not begun has to be asked for again
    /// when it has ended.
    Stopping,
    /// The command of `Run` or `Spawn` has this name; its output comes at or after this position of the log.
    Accepted {
        /// The name.
        process: ProcessId,
        /// Position in the log.
        position: u64,
    },
    /// The command runs.
    Started {
        /// Its pid in the container.
        pid: u32,
    },
    /// The command was not started.
    SpawnFailed {
        /// Why.
        failure: SpawnFailure,
    },
    /// The payload is output of this connection's file operation; the client says `Consumed` with position 0.
    Output {
        /// Which stream.
        stream: Stream,
    },
    /// The answer to `Claim`: its output comes at or after this position of the log.
    Claimed {
        /// Position in the log.
        position: u64,
        /// How many bytes of standard input the command's agent has: the client sends again what is beyond.
        input_bytes: u64,
        /// How many of them the command has taken.
        taken_bytes: u64,
    },
    /// The answer to `SignalProcess`, `HoldPorts`, `LimitsChanged`, `Pause`, `Unpause` and `ReadLife`.
    Done,
    /// The log goes up to here.
    Logged {
        /// Position in the log.
        position: u64,
    },
    /// So many more bytes of standard input may be sent (the first such message gives the first credit).
    StdinCredit {
        /// Bytes.
        bytes: u64,
    },
    /// The command ended; its last output is before this position.
    Exited {
        /// How.
        status: ExitStatus,
        /// Position in the log.
        position: u64,
    },
    /// The answer to `Keep`.
    Kept {
        /// Whether it would have gone on anyway: nothing was done.
        was_kept: bool,
    },
    /// The container's processes stand still.
    Frozen,
    /// The container's init has ended.
    Stopped,
}
