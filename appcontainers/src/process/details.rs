//! One process as listings and answers show it. Pure.

use appcontainers_wire::{ExitStatus, ProcessId};
use jiff::Timestamp;
use serde::Serialize;

use super::table::{End, ProcessRecord, Role};
use crate::ProcessName;

/// What is known of a process; `docs/json.md` describes it under `appc ps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessDetails {
    /// Its number.
    pub process: ProcessId,
    /// What it is called, if anything.
    pub name: Option<ProcessName>,
    /// `starting`, `running`, `exited`, `failed` or `lost`.
    pub state: &'static str,
    /// Its pid in the container, while it runs.
    pub pid: Option<u32>,
    /// The code with which it exited.
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<u8>,
    /// Why it was not started.
    pub failure: Option<String>,
    /// Whose it is.
    pub role: Role,
    /// How many times it was started again by then, under other numbers.
    pub restarts: u32,
    /// Who it runs as, if that was asked for.
    pub user: Option<String>,
    /// When it was asked for.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Program and arguments.
    pub command: Vec<String>,
}

impl From<&ProcessRecord> for ProcessDetails {
    fn from(record: &ProcessRecord) -> Self {
        let end = record.ended.as_ref().map(|ended| &ended.end);
        let (exit_code, signal, failure) = match end {
            Some(End::Exited(ExitStatus::Code(code))) => (Some(*code), None, None),
            Some(End::Exited(ExitStatus::Signal(signal))) => (None, Some(*signal), None),
            Some(End::NotStarted(failure)) => (None, None, Some(failure.to_string())),
            Some(End::Lost) | None => (None, None, None),
        };
        Self {
            process: record.id,
            name: record.name.clone(),
            state: match (end, record.pid) {
                (None, None) => "starting",
                (None, Some(_)) => "running",
                (Some(End::Exited(_)), _) => "exited",
                (Some(End::NotStarted(_)), _) => "failed",
                (Some(End::Lost), _) => "lost",
            },
            pid: record.pid.filter(|_| end.is_none()),
            exit_code,
            signal,
            failure,
            role: record.role,
            restarts: record.restarts,
            user: record.spec.user.clone(),
            started: record.spawned,
            ended: record.ended.as_ref().map(|ended| ended.time),
            command: record.spec.argv.clone(),
        }
    }
}
