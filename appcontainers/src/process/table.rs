//! What is known of a container's processes, those that have ended included. Pure: the table is what the journal's
//! entries add up to.
//!
//! ```text
//! Starting --Started--> Running --Ended--> Ended
//!     \_______________ Ended (not started) ___^
//! ```

use std::{collections::BTreeMap, fmt, str::FromStr};

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, RestartPolicy, SpawnFailure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ProcessName;

/// Who a process belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A client waits for it, and it goes with that client.
    Foreground,
    /// The container.
    Background,
    /// The container, which starts it whenever it is started itself.
    Startup,
    /// The container, at a turn of its life: its start, its failure, its stop.
    Script,
    /// A client, which has an operation on the container's files done.
    FileOperation,
}

/// How a process came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With a code, or by a signal.
    Exited(ExitStatus),
    /// It never ran.
    NotStarted(SpawnFailure),
    /// With its container, and nobody was there to see how.
    Lost,
}

/// One line of a container's process journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// A process is asked for.
    Spawned {
        /// Its number.
        process: ProcessId,
        /// When.
        time: Timestamp,
        /// Whose it is.
        role: Role,
        /// What it is called, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<ProcessName>,
        /// What happens when it ends.
        #[serde(default)]
        restart: RestartPolicy,
        /// The process that had ended and that this one is started for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead_of: Option<ProcessId>,
        /// What is run.
        spec: ProcessSpec,
        /// By what its client knows it that has not heard its number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<u64>,
        /// Its output comes at or behind this position of the log.
        position: u64,
    },
    /// It runs.
    Started {
        /// Its number.
        process: ProcessId,
        /// Its pid in the container.
        pid: u32,
    },
    /// Somebody wants it to end: it is not started again.
    EndWanted {
        /// Its number.
        process: ProcessId,
    },
    /// It has ended.
    Ended {
        /// Its number.
        process: ProcessId,
        /// When.
        time: Timestamp,
        /// How.
        end: End,
        /// Its last output is before this position of the log.
        position: u64,
    },
}

impl Entry {
    /// Whose entry it is.
    pub(super) fn process(&self) -> ProcessId {
        match self {
            Entry::Spawned { process, .. }
            | Entry::Started { process, .. }
            | Entry::EndWanted { process }
            | Entry::Ended { process, .. } => *process,
        }
    }
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessRecord {
    /// Its number.
    pub id: ProcessId,
    /// What it is called, if anything.
    pub name: Option<ProcessName>,
    /// Whose it is.
    pub role: Role,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// The process that had ended and that this one was started for.
    pub instead_of: Option<ProcessId>,
    /// How many times it was started again by then, under other numbers.
    pub restarts: u32,
    /// What is run.
    #[serde(skip)]
    pub spec: ProcessSpec,
    /// By what its client knows it that has not heard its number.
    #[serde(skip)]
    pub token: Option<u64>,
    /// When it was asked for.
    pub spawned: Timestamp,
    /// Its output comes at or behind this position of the log.
    pub position: u64,
    /// Its pid in the container, once it runs.
    pub pid: Option<u32>,
    /// Whether somebody wants it to end: it is not started again.
    pub end_wanted: bool,
    /// Its end, when it has ended.
    pub ended: Option<Ended>,
}

/// When and how a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// When.
    pub time: Timestamp,
    /// How.
    pub end: End,
    /// Its last output is before this position of the log.
    pub position: u64,
}

impl ProcessRecord {
    /// Whether it has ended in a way after which it is to be started again.
    fn wants_restart(&self) -> bool {
        let Some(ended) = &self.ended else { return false };
        match (self.restart, &ended.end) {
            _ if self.end_wanted => false,
            (RestartPolicy::No, _) | (_, End::NotStarted(_) | End::Lost) => false,
            (RestartPolicy::Always, End::Exited(_)) => true,
            (RestartPolicy::OnFailure, End::Exited(status)) => *status != ExitStatus::Code(0),
        }
    }
}

/// A container's processes.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, Service, process::ProcessRef};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let processes = web.processes()?;
/// if let Some(server) = processes.find(&"server".parse::<ProcessRef>()?) {
///     println!("process {} has pid {:?} and was started again {} times", server.id, server.pid, server.restarts);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessTable(BTreeMap<ProcessId, ProcessRecord>);

impl ProcessTable {
    /// Takes in what happened next.
    pub fn learn(&mut self, entry: Entry) {
        match entry {
            Entry::Spawned { process: id, time: spawned, role, name, restart, instead_of, spec, token, position } => {
                let before = instead_of.and_then(|before| self.0.get(&before));
                let restarts = before.map_or(0, |before| before.restarts + 1);
                let (pid, end_wanted, ended) = (None, false, None);
                let record = ProcessRecord {
                    id,
                    name,
                    role,
                    restart,
                    instead_of,
                    restarts,
                    spec,
                    token,
                    spawned,
                    position,
                    pid,
                    end_wanted,
                    ended,
                };
                self.0.insert(id, record);
            }
            Entry::Started { process, pid } => {
                if let Some(record) = self.0.get_mut(&process) {
                    record.pid = Some(pid);
                }
            }
            Entry::EndWanted { process } => {
                if let Some(record) = self.0.get_mut(&process) {
                    record.end_wanted = true;
                }
            }
            Entry::Ended { process, time, end, position } => {
                if let Some(record) = self.0.get_mut(&process) {
                    record.ended.get_or_insert(Ended { time, end, position });
                }
            }
        }
    }

    /// The entries that add up to this table.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.values().flat_map(|record| {
            let record = record.clone();
            let process = record.id;
            let spawned = Entry::Spawned {
                process,
                time: record.spawned,
                role: record.role,
                name: record.name,
                restart: record.restart,
                instead_of: record.instead_of,
                spec: record.spec,
                token: record.token,
                position: record.position,
            };
            let started = record.pid.map(|pid| Entry::Started { process, pid });
            let wanted = record.end_wanted.then_some(Entry::EndWanted { process });
            let ended = record.ended.map(|Ended { time, end, position }| Entry::Ended { process, time, end, position });
            [Some(spawned), started, wanted, ended].into_iter().flatten()
        })
    }

    /// Forgets the oldest processes that have ended, so that at most `most` of those are left. The newest process of all
    /// stays: its number is never given again.
    pub(super) fn forget_oldest(&mut self, most: usize) {
        let newest = self.0.keys().next_back().copied();
        let ended = self.0.values().filter(|record| record.ended.is_some() && Some(record.id) != newest);
        let ended: Vec<_> = ended.map(|record| record.id).collect();
        for id in &ended[..ended.len().saturating_sub(most)] {
            self.0.remove(id);
        }
    }

    /// All of them, in the order in which they were asked for.
    pub fn records(&self) -> impl Iterator<Item = &ProcessRecord> {
        self.0.values()
    }

    /// One of them.
    pub fn get(&self, id: ProcessId) -> Option<&ProcessRecord> {
        self.0.get(&id)
    }

    /// The one that is meant: of a name, the last process that had it.
    pub fn find(&self, which: &ProcessRef) -> Option<&ProcessRecord> {
        match which {
            ProcessRef::Id(id) => self.get(*id),
            ProcessRef::Name(name) => self.0.values().rev().find(|record| record.name.as_ref() == Some(name)),
        }
    }

    /// The one of this name that runs, or that is to be started again.
    pub fn living_with_name(&self, name: &ProcessName) -> Option<&ProcessRecord> {
        let mut named = self.0.values().filter(|record| record.name.as_ref() == Some(name));
        named.find(|record| record.ended.is_none() || self.awaits_restart(record))
    }

    /// The one that was asked for with this token.
    pub fn with_token(&self, token: u64) -> Option<&ProcessRecord> {
        self.0.values().rev().find(|record| record.token == Some(token))
    }

    /// Whether a process has ended and has yet to be started again.
    pub fn awaits_restart(&self, record: &ProcessRecord) -> bool {
        record.wants_restart() && !self.0.range(record.id..).any(|(_, later)| later.instead_of == Some(record.id))
    }

    /// The number that the next process gets.
    pub fn next_id(&self) -> ProcessId {
        ProcessId(self.0.keys().next_back().map_or(1, |last| last.0.saturating_add(1)))
    }
}

/// A process by number or by name.
///
/// # Examples
///
/// ```
/// use appcontainers::{ProcessId, process::ProcessRef};
///
/// assert_eq!("7".parse::<ProcessRef>()?, ProcessRef::Id(ProcessId(7)));
/// assert_eq!("server".parse::<ProcessRef>()?, ProcessRef::Name("server".parse()?));
/// assert!("no name".parse::<ProcessRef>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessRef {
    /// By its number.
    Id(ProcessId),
    /// By its name; of several, the last.
    Name(ProcessName),
}

/// A text that names no process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no process: give its number or its name, as `appc ps` shows them")]
pub struct InvalidProcessRef {
    text: String,
}

impl FromStr for ProcessRef {
    type Err = InvalidProcessRef;
    fn from_str(text: &str) -> Result<Self, InvalidProcessRef> {
        let invalid = || InvalidProcessRef { text: text.to_owned() };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(|id| Self::Id(ProcessId(id))).map_err(|_| invalid());
        }
        text.parse().map(Self::Name).map_err(|_| invalid())
    }
}

impl fmt::Display for ProcessRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessRef::Id(id) => id.fmt(f),
            ProcessRef::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawned(id: u32, name: Option<&str>, restart: RestartPolicy) -> Entry {
        Entry::Spawned {
            process: ProcessId(id),
            time: Timestamp::UNIX_EPOCH,
            role: Role::Background,
            name: name.map(|name| name.parse().unwrap()),
            restart,
            instead_of: None,
            spec: ProcessSpec { argv: vec!["true".to_owned()], ..ProcessSpec::default() },
            token: None,
            position: 7,
        }
    }

    fn ended(id: u32, end: End) -> Entry {
        Entry::Ended { process: ProcessId(id), time: Timestamp::UNIX_EPOCH, end, position: 9 }
    }

    #[test]
    fn a_table_is_what_its_entries_add_up_to() {
        let mut table = ProcessTable::default();
        table.learn(spawned(1, Some("web"), RestartPolicy::Always));
        table.learn(Entry::Started { process: ProcessId(1), pid: 17 });
        table.learn(spawned(2, Some("web"), RestartPolicy::No));
        table.learn(Entry::EndWanted { process: ProcessId(1) });
        table.learn(ended(1, End::Exited(ExitStatus::Signal(15))));
        let mut again = ProcessTable::default();
        table.entries().for_each(|entry| again.learn(entry));
        assert_eq!(again, table);
        assert_eq!(table.find(&"web".parse().unwrap()).unwrap().id, ProcessId(2));
        assert_eq!(table.find(&"1".parse().unwrap()).unwrap().pid, Some(17));
        assert_eq!(table.next_id(), ProcessId(3));
    }

    #[test]
    fn a_process_is_started_again_as_its_policy_says_unless_somebody_wanted_its_end() {
        let code = |code| End::Exited(ExitStatus::Code(code));
        for (restart, end, again) in [
            (RestartPolicy::No, code(1), false),
            (RestartPolicy::OnFailure, code(0), false),
            (RestartPolicy::OnFailure, code(1), true),
            (RestartPolicy::OnFailure, End::Exited(ExitStatus::Signal(9)), true),
            (RestartPolicy::Always, code(0), true),
            (RestartPolicy::Always, End::Lost, false),
        ] {
            let mut table = ProcessTable::default();
            table.learn(spawned(1, None, restart));
            table.learn(ended(1, end.clone()));
            assert_eq!(table.awaits_restart(table.get(ProcessId(1)).unwrap()), again, "{restart:?} {end:?}");
            table.learn(Entry::EndWanted { process: ProcessId(1) });
            assert!(!table.awaits_restart(table.get(ProcessId(1)).unwrap()));
        }
    }

    #[test]
    fn the_oldest_are_forgotten_and_no_number_is_given_twice() {
        let mut table = ProcessTable::default();
        for id in 1..=10 {
            table.learn(spawned(id, None, RestartPolicy::No));
            if id != 3 {
                table.learn(ended(id, End::Lost));
            }
        }
        table.forget_oldest(2);
        assert_eq!(table.records().map(|record| record.id.0).collect::<Vec<_>>(), [3, 8, 9, 10]);
        table.forget_oldest(0);
        assert_eq!(table.next_id(), ProcessId(11));
    }
}
