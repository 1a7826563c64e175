//! The journal of a container's processes: `processes.jsonl` in the container's directory, one JSON object a line.
//!
//! The monitor is its only writer; whoever wants to know of processes reads it, whether a monitor lives or not, and
//! whether the container runs. There is no fsync: a torn last line never happened.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use appcontainers_wire::ProcessId;
use jiff::Timestamp;

use super::table::{End, Entry, ProcessRecord, ProcessTable};
use crate::state::{Durability, replace};

/// The file's name in a container's directory.
const FILE: &str = "processes.jsonl";

/// How many processes that have ended are remembered.
const MOST_ENDED: usize = 1000;

/// The journal is written anew when it has grown to this size, if that was not much smaller the last time.
const FOLD_BYTES: u64 = 1024 * 1024;

/// Why the journal of processes could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the journal of processes {}", path.display())]
pub struct ProcessJournalError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProcessJournalError {
    move |source| ProcessJournalError { action, path: path.to_owned(), source }
}

/// The processes of the container in `directory`.
pub fn read_processes(directory: &Path) -> Result<ProcessTable, ProcessJournalError> {
    let path = directory.join(FILE);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ProcessTable::default()),
        text => text.map_err(failed("read", &path))?,
    };
    Ok(replay(&text).0)
}

/// The journal's file, to be watched.
pub fn journal_path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// What whole lines tell, and how many bytes they are.
fn replay(text: &[u8]) -> (ProcessTable, u64) {
    let mut table = ProcessTable::default();
    let mut whole = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        // A line that can't be read was cut off, or is of a later version: the rest is worth knowing all the same.
        if line.ends_with(b"\n") {
            whole += line.len() as u64;
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) if entry.process() == ProcessId(u32::MAX) => {
                    tracing::warn!("a process with the last number of all is passed over");
                }
                Ok(entry) => table.learn(entry),
                Err(error) => tracing::warn!(%error, "an entry of a journal of processes is passed over"),
            }
        }
    }
    (table, whole)
}

/// The journal as its writer has it, and the table that it adds up to.
#[derive(Debug)]
pub struct ProcessJournal {
    path: PathBuf,
    file: File,
    bytes: u64,
    fold_at: u64,
    table: ProcessTable,
}

impl ProcessJournal {
    /// Opens the journal of the container in `directory`, to go on with its processes.
    pub fn open(directory: &Path) -> Result<Self, ProcessJournalError> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => text.map_err(failed("read", &path))?,
        };
        let (table, bytes) = replay(&text);
        let file = File::options().append(true).create(true).mode(0o600).open(&path).map_err(failed("open", &path))?;
        file.set_len(bytes).map_err(failed("mend", &path))?;
        Ok(Self { path, file, bytes, fold_at: FOLD_BYTES, table })
    }

    /// Opens the journal for a new start of the container: what ran in the one before has ended with it.
    pub fn begin(directory: &Path) -> Result<Self, ProcessJournalError> {
        let mut journal = Self::open(directory)?;
        let time = Timestamp::now();
        let end = |record: &ProcessRecord| {
            let process = record.id;
            match record.ended {
                None => Some(Entry::Ended { process, time, end: End::Lost, position: u64::MAX }),
                Some(_) if journal.table.awaits_restart(record) => Some(Entry::EndWanted { process }),
                Some(_) => None,
            }
        };
        for entry in journal.table.records().filter_map(end).collect::<Vec<_>>() {
            journal.append(entry)?;
        }
        Ok(journal)
    }

    /// The processes.
    pub fn table(&self) -> &ProcessTable {
        &self.table
    }

    /// Writes what happened, and takes it into the table.
    pub fn append(&mut self, entry: Entry) -> Result<(), ProcessJournalError> {
        let mut line = serde_json::to_vec(&entry).map_err(|error| failed("write to", &self.path)(error.into()))?;
        line.push(b'\n');
        self.table.learn(entry);
        if let Err(error) = self.file.write_all(&line) {
            // A part of a line would hide the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(failed("write to", &self.path)(error));
        }
        self.bytes += line.len() as u64;
        if self.bytes >= self.fold_at { self.fold() } else { Ok(()) }
    }

    /// Writes the journal anew, without the oldest that have ended.
    fn fold(&mut self) -> Result<(), ProcessJournalError> {
        self.table.forget_oldest(MOST_ENDED);
        let mut text = Vec::new();
        for entry in self.table.entries() {
            serde_json::to_writer(&mut text, &entry).map_err(|error| failed("write", &self.path)(error.into()))?;
            text.push(b'\n');
        }
        // A container that was removed meanwhile has none any more; one that has its name now has another.
        let own = self.file.metadata().map_err(failed("look at", &self.path))?;
        if !fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            return Ok(());
        }
        replace(&self.path, &text, 0o600, Durability::Volatile).map_err(failed("write", &self.path))?;
        self.file = File::options().append(true).open(&self.path).map_err(failed("open", &self.path))?;
        self.bytes = text.len() as u64;
        self.fold_at = FOLD_BYTES.max(2 * self.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use appcontainers_wire::{ExitStatus, ProcessSpec, RestartPolicy};

    use super::{super::table::Role, *};

    fn spawn(journal: &mut ProcessJournal) -> ProcessId {
        let process = journal.table().next_id();
        let spec = ProcessSpec { argv: vec!["x".repeat(1000)], ..ProcessSpec::default() };
        let (time, role, restart) = (Timestamp::UNIX_EPOCH, Role::Background, RestartPolicy::No);
        let entry = Entry::Spawned {
            process,
            time,
            role,
            name: None,
            restart,
            instead_of: None,
            spec,
            token: None,
            position: 0,
        };
        journal.append(entry).unwrap();
        process
    }

    fn end(journal: &mut ProcessJournal, process: ProcessId) {
        let end = End::Exited(ExitStatus::Code(0));
        journal.append(Entry::Ended { process, time: Timestamp::UNIX_EPOCH, end, position: 0 }).unwrap();
    }

    #[test]
    fn whoever_opens_it_again_knows_the_same_and_a_torn_line_never_happened() {
        let place = tempfile::tempdir().unwrap();
        let mut journal = ProcessJournal::begin(place.path()).unwrap();
        let process = spawn(&mut journal);
        let before = journal.table().clone();
        end(&mut journal, process);
        assert_eq!(read_processes(place.path()).unwrap(), *journal.table());
        let path = journal_path(place.path());
        let length = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        assert_eq!(*ProcessJournal::open(place.path()).unwrap().table(), before);
        let journal = ProcessJournal::begin(place.path()).unwrap();
        assert_eq!(journal.table().get(process).unwrap().ended.as_ref().unwrap().end, End::Lost);
        assert_eq!(read_processes(place.path()).unwrap(), *journal.table());
    }

    #[test]
    fn a_process_with_the_last_number_of_all_is_passed_over_for_there_is_none_behind_it() {
        let place = tempfile::tempdir().unwrap();
        let mut journal = ProcessJournal::begin(place.path()).unwrap();
        spawn(&mut journal);
        drop(journal);
        let path = journal_path(place.path());
        let text = fs::read_to_string(&path).unwrap();
        let last = text.replace("\"process\":1", &format!("\"process\":{}", u32::MAX));
        fs::write(&path, format!("{text}{last}")).unwrap();
        let mut journal = ProcessJournal::open(place.path()).unwrap();
        assert_eq!(spawn(&mut journal), ProcessId(2));
    }

    #[test]
    fn it_stays_small_and_keeps_what_runs() {
        let place = tempfile::tempdir().unwrap();
        let mut journal = ProcessJournal::begin(place.path()).unwrap();
        let runs = spawn(&mut journal);
        for _ in 0..5000 {
            let process = spawn(&mut journal);
            end(&mut journal, process);
        }
        assert!(fs::metadata(journal_path(place.path())).unwrap().len() < 4 * FOLD_BYTES);
        let table = read_processes(place.path()).unwrap();
        assert_eq!(table, *journal.table());
        assert!(table.get(runs).unwrap().ended.is_none());
        assert_eq!(table.next_id(), ProcessId(5002));
    }
}
