//! Appends events.
//!
//! ```text
//! lock -> the last segment's end -> cut off a torn tail -> (full: sync it, begin another, drop the oldest) -> append
//! ```
//! A writer that is killed between two of these leaves a journal that the next one goes on with.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use appcontainers_wire::{ExitStatus, ProcessId};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Event, EventError, MAX_LINE_BYTES, segment};
use crate::{ContainerName, Paths, state::JournalLock};

/// How much the journal keeps, and how long a writer waits.
pub(super) struct Limits {
    pub(super) segment_bytes: u64,
    pub(super) segments: usize,
    /// Another writer holds the journal for microseconds, unless it was stopped in the middle.
    pub(super) wait: Duration,
}

pub(super) const LIMITS: Limits = Limits { segment_bytes: 4 * 1024 * 1024, segments: 8, wait: Duration::from_secs(5) };

/// What happened, before it is in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent<'a> {
    /// To which container.
    pub container: &'a ContainerName,
    /// What.
    pub kind: &'a str,
    /// To which process of the container.
    pub process: Option<ProcessId>,
    /// The name that the process was given.
    pub name: Option<&'a str>,
    /// How the process ended.
    pub status: Option<ExitStatus>,
    /// What there is to know besides.
    pub details: Map<String, Value>,
}

impl<'a> NewEvent<'a> {
    /// An event of a container, of which there is no more to know.
    pub fn new(container: &'a ContainerName, kind: &'a str) -> Self {
        Self { container, kind, process: None, name: None, status: None, details: Map::new() }
    }

    fn numbered(&self, number: u64) -> Event {
        Event {
            number,
            time: Timestamp::now(),
            container: self.container.clone(),
            kind: self.kind.to_owned(),
            process: self.process,
            name: self.name.map(str::to_owned),
            status: self.status,
            details: self.details.clone(),
        }
    }
}

fn line(event: &Event) -> Result<Vec<u8>, EventError> {
    // A map with keys that are text, as all of an event is, can't fail to become JSON.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    match line.len() {
        bytes if bytes > MAX_LINE_BYTES => Err(EventError::TooLong { container: event.container.clone(), bytes }),
        _ => Ok(line),
    }
}

/// Writes an event and gives it as it is in the journal. It takes a few dozen microseconds, holds nothing open and syncs
/// nothing (but once in 4 MiB): cheap enough for a monitor to call for every process.
pub fn append(paths: &Paths, event: &NewEvent<'_>) -> Result<Event, EventError> {
    append_within(paths, event, &LIMITS)
}

/// Writes an event of a command that goes on also when that fails: what happened is more than the note of it.
pub(crate) fn note(paths: &Paths, container: &ContainerName, kind: &str, details: &[(&str, Value)]) {
    let details = details.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if let Err(error) = append(paths, &NewEvent { details, ..NewEvent::new(container, kind) }) {
        tracing::warn!(%container, kind, %error, "an event was not written");
    }
}

pub(super) fn append_within(paths: &Paths, event: &NewEvent<'_>, limits: &Limits) -> Result<Event, EventError> {
    let _lock = JournalLock::acquire_within(paths, limits.wait)?;
    let directory = paths.events();
    let mut segments = segment::list(&directory)?;
    let first = segments.last().copied().unwrap_or(1);
    let path = segment::path(&directory, first);
    let mut file = open(&path, false)?;
    let end = segment::end(&file, &path, first)?;
    cut_tail(&file, &path, end.bytes)?;
    let event = event.numbered(end.number + 1);
    if !segment::is_number(event.number) {
        return Err(EventError::Damaged { path, offset: end.bytes });
    }
    let line = line(&event)?;
    if end.bytes > 0 && end.bytes + line.len() as u64 > limits.segment_bytes {
        // Or a power cut could take the end of this one and leave the next: a hole.
        file.sync_data().map_err(failed("sync", &path))?;
        file = open(&segment::path(&directory, event.number), true)?;
        segments.push(event.number);
        drop_oldest(&directory, &segments, limits.segments)?;
    }
    file.write_all(&line).map_err(failed("write to", &path))?;
    Ok(event)
}

fn open(path: &Path, new: bool) -> Result<File, EventError> {
    let mut options = File::options();
    options.read(true).append(true).create(true).create_new(new).mode(0o600);
    options.open(path).map_err(failed("open", path))
}

fn cut_tail(file: &File, path: &Path, end: u64) -> Result<(), EventError> {
    let length = file.metadata().map_err(failed("read", path))?.len();
    if length > end {
        tracing::warn!(journal = %path.display(), bytes = length - end, "cut off a torn tail");
        file.set_len(end).map_err(failed("cut", path))?;
    }
    Ok(())
}

fn drop_oldest(directory: &Path, segments: &[u64], kept: usize) -> Result<(), EventError> {
    for first in &segments[..segments.len().saturating_sub(kept)] {
        let path = segment::path(directory, *first);
        fs::remove_file(&path).map_err(failed("remove the oldest part of", &path))?;
    }
    Ok(())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EventError {
    move |source| EventError::Journal { action, path: path.to_owned(), source }
}
