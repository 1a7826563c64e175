//! The journal of events: what happened to containers, one JSON object a line, numbered from 1.
//!
//! One file, `events/journal.jsonl`, appended under flock(2) by whoever has something to tell. There is no
//! fsync: after a power cut the last events may be gone, and with them a line that was not written to its
//! end. Such a tail never happened; the next writer cuts it off.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ContainerName, Paths};

/// The longest line, so that a writer finds the last one with one read.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Why an event could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The journal's file.
    #[error("cannot {action} the event journal {}", path.display())]
    Journal {
        /// What was being done.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The event is longer than a line may be.
    #[error("an event of {container} has {bytes} bytes, more than {MAX_LINE_BYTES}")]
    TooLong {
        /// Whose.
        container: ContainerName,
        /// How long it would be.
        bytes: usize,
    },
    /// A line that is no event, before the last.
    #[error("the event journal {} is damaged at byte {offset}; move it away, a new one begins", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
    },
}

/// A thing that happened to a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1, over all containers, without holes.
    pub number: u64,
    /// When it was written.
    pub time: Timestamp,
    /// To whom.
    pub container: ContainerName,
    /// What: `start`, `die`, `remove`, …
    pub kind: String,
    /// What there is to know besides.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// Writes an event and gives its number.
pub fn append(
    paths: &Paths,
    container: &ContainerName,
    kind: &str,
    details: Map<String, Value>,
) -> Result<u64, EventError> {
    let path = journal(paths);
    let failed = |action| move |source| EventError::Journal { action, path: journal(paths), source };
    let mut options = File::options();
    let opened = options.read(true).append(true).create(true).mode(0o600).open(&path);
    let mut file = opened.map_err(failed("open"))?;
    lock(&file).map_err(failed("lock"))?;
    let number = last_number(&mut file, &path)? + 1;
    let event = Event { number, time: Timestamp::now(), container: container.clone(), kind: kind.to_owned(), details };
    let mut line = serde_json::to_vec(&event).map_err(|error| failed("write to")(error.into()))?;
    line.push(b'\n');
    if line.len() as u64 > MAX_LINE_BYTES {
        return Err(EventError::TooLong { container: container.clone(), bytes: line.len() });
    }
    file.write_all(&line).map_err(failed("write to"))?;
    Ok(number)
}

/// Writes an event of a command that goes on also when that fails: what happened is more than the note of it.
pub(crate) fn note(paths: &Paths, container: &ContainerName, kind: &str, details: &[(&str, Value)]) {
    let details = details.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if let Err(error) = append(paths, container, kind, details) {
        tracing::warn!(%container, kind, %error, "an event was not written");
    }
}

/// The events after number `since` (0 for all), in order, at most `limit`.
pub fn read_since(paths: &Paths, since: u64, limit: usize) -> Result<Vec<Event>, EventError> {
    let path = journal(paths);
    let failed = |action| move |source| EventError::Journal { action, path: journal(paths), source };
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(failed("open"))?,
    };
    let mut reader = BufReader::new(file);
    let (mut events, mut offset, mut line) = (Vec::new(), 0, Vec::new());
    while events.len() < limit {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(failed("read"))?;
        // Without its end a line is not there yet, or never will be.
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let event: Event =
            serde_json::from_slice(&line).map_err(|_| EventError::Damaged { path: path.clone(), offset })?;
        if event.number > since {
            events.push(event);
        }
        offset += length as u64;
    }
    Ok(events)
}

fn journal(paths: &Paths) -> PathBuf {
    paths.events().join("journal.jsonl")
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// The number of the last whole line, after cutting off what is behind it.
fn last_number(file: &mut File, path: &Path) -> Result<u64, EventError> {
    #[derive(Deserialize)]
    struct Number {
        number: u64,
    }
    let failed = |action| move |source| EventError::Journal { action, path: path.to_owned(), source };
    let length = file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
    // A torn tail and the line before it fit into two lines' bytes.
    let from = length.saturating_sub(2 * MAX_LINE_BYTES);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from)).map_err(failed("read"))?;
    file.read_to_end(&mut tail).map_err(failed("read"))?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < tail.len() {
        let sound = from + whole as u64;
        tracing::warn!(journal = %path.display(), bytes = length - sound, "cut off a torn tail");
        file.set_len(sound).map_err(failed("cut"))?;
    }
    let lines = &tail[..whole];
    if lines.is_empty() {
        return if from == 0 { Ok(0) } else { Err(EventError::Damaged { path: path.to_owned(), offset: from }) };
    }
    let begin = lines[..whole - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    match serde_json::from_slice::<Number>(&lines[begin..]) {
        Ok(last) => Ok(last.number),
        Err(_) => Err(EventError::Damaged { path: path.to_owned(), offset: from + begin as u64 }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn place() -> (tempfile::TempDir, Paths) {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path(), place.path().join("run"));
        fs::create_dir(paths.events()).unwrap();
        (place, paths)
    }

    fn append_one(paths: &Paths, kind: &str) -> u64 {
        let details = Map::from_iter([("code".to_owned(), Value::from(3))]);
        append(paths, &"web".parse().unwrap(), kind, details).unwrap()
    }

    #[test]
    fn events_are_numbered_and_read_from_any_number_on() {
        let (_place, paths) = place();
        assert_eq!(read_since(&paths, 0, 10).unwrap(), []);
        assert_eq!(["start", "die", "remove"].map(|kind| append_one(&paths, kind)), [1, 2, 3]);
        let events = read_since(&paths, 1, 10).unwrap();
        assert_eq!(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["die", "remove"]);
        assert_eq!(events[0].details["code"], 3);
        assert_eq!(read_since(&paths, 0, 2).unwrap().len(), 2);
        assert_eq!(read_since(&paths, 3, 10).unwrap(), []);
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_its_number_is_given_again() {
        let (_place, paths) = place();
        append_one(&paths, "start");
        let whole = fs::read(journal(&paths)).unwrap();
        append_one(&paths, "die");
        let both = fs::read(journal(&paths)).unwrap();
        for cut in whole.len()..both.len() {
            fs::write(journal(&paths), &both[..cut]).unwrap();
            assert_eq!(read_since(&paths, 0, 10).unwrap().len(), 1, "cut at {cut}");
            assert_eq!(append_one(&paths, "again"), 2, "cut at {cut}");
            assert_eq!(read_since(&paths, 1, 10).unwrap()[0].kind, "again");
        }
    }

    #[test]
    fn a_line_in_the_middle_that_is_no_event_is_reported() {
        let (_place, paths) = place();
        append_one(&paths, "start");
        let mut bytes = b"nonsense\n".to_vec();
        bytes.extend(fs::read(journal(&paths)).unwrap());
        fs::write(journal(&paths), bytes).unwrap();
        assert!(matches!(read_since(&paths, 0, 10), Err(EventError::Damaged { offset: 0, .. })));
    }

    #[test]
    fn an_event_too_long_is_refused_whole() {
        let (_place, paths) = place();
        let details = Map::from_iter([("text".to_owned(), Value::from("x".repeat(MAX_LINE_BYTES as usize)))]);
        let error = append(&paths, &"web".parse().unwrap(), "start", details).unwrap_err();
        assert!(matches!(error, EventError::TooLong { .. }), "{error}");
        assert_eq!(append_one(&paths, "start"), 1);
    }

    #[test]
    fn writers_at_once_leave_no_hole_and_no_double() {
        let (_place, paths) = place();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..25).map(|_| append_one(&paths, "start")).max());
            }
        });
        let numbers: Vec<_> = read_since(&paths, 0, 1000).unwrap().into_iter().map(|event| event.number).collect();
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    }
}
