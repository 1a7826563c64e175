//! What a process is, where its output goes and how it ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ResourceLimit;

/// Names a process of a container; given by the monitor, counted from 1, never used twice while the container is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u32);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of a process's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output (file descriptor 1).
    Stdout,
    /// Standard error (file descriptor 2).
    Stderr,
}

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// What happens when a background process ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It is started again if it ended with another code than 0, or with a signal.
    OnFailure,
    /// It is started again.
    Always,
}

/// A command to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// Program and arguments; the program is looked up in the `PATH` of `env` unless it has a slash. Of a login shell
    /// only the arguments.
    pub argv: Vec<String>,
    /// The whole environment, `KEY=VALUE` in order; a later one wins. The agent adds `HOME`, `USER`
    /// and `PATH` where they are missing.
    pub env: Vec<String>,
    /// Where the command starts; the user's home directory if absent.
    pub working_dir: Option<String>,
    /// `USER`, `UID`, `USER:GROUP` or `UID:GID`, looked up in the container's own `/etc/passwd` and
    /// `/etc/group`; root if absent.
    pub user: Option<String>,
    /// Whether the client will send standard input; `/dev/null` otherwise.
    pub stdin: bool,
    /// The command gets a terminal of this size: its standard streams are one, and what it prints is stdout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<TerminalSize>,
    /// Run the user's login shell, the one that the container's `/etc/passwd` names, else `/bin/sh`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub login_shell: bool,
    /// Limits of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<ResourceLimit>,
    /// Run this file operation of the agent's own instead of a command; `argv` holds its arguments. Its output goes
    /// to its client and not to the log.
    pub file_operation: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// It ended by itself with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

impl ExitStatus {
    /// The status as a shell tells it: the code, or 128 + the signal's number.
    pub fn shell_code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// Why a command was not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum SpawnFailure {
    /// No such program: shells say 127.
    NotFound {
        /// What was looked for.
        program: String,
    },
    /// The program is there and can't be executed: shells say 126.
    NotExecutable {
        /// The program.
        program: String,
        /// What the kernel said.
        why: String,
    },
    /// The user or group is not in the container's files.
    NoSuchUser {
        /// What was asked for.
        user: String,
    },
    /// The working directory can't be entered.
    WorkingDir {
        /// What was asked for.
        path: String,
        /// What the kernel said.
        why: String,
    },
    /// A step before the command failed.
    Other {
        /// The step and what the kernel said.
        why: String,
    },
}

impl SpawnFailure {
    /// The exit code that shells give for this failure: 127, 126, or 125 where shells have none.
    pub fn shell_code(&self) -> u8 {
        match self {
            SpawnFailure::NotFound { .. } => 127,
            SpawnFailure::NotExecutable { .. } => 126,
            SpawnFailure::NoSuchUser { .. } | SpawnFailure::WorkingDir { .. } | SpawnFailure::Other { .. } => 125,
        }
    }
}

impl fmt::Display for SpawnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnFailure::NotFound { program } => write!(f, "{program}: command not found in the container"),
            SpawnFailure::NotExecutable { program, why } => write!(f, "{program}: cannot be executed: {why}"),
            SpawnFailure::NoSuchUser { user } => {
                write!(f, "user {user} is not in the container's /etc/passwd or /etc/group")
            }
            SpawnFailure::WorkingDir { path, why } => write!(f, "cannot enter the working directory {path}: {why}"),
            SpawnFailure::Other { why } => f.write_str(why),
        }
    }
}
