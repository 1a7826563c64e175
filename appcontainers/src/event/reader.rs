//! Reads events with a cursor, as they were written, and waits for more.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{Event, EventError, MAX_LINE_BYTES, segment, watch::Watch};
use crate::{ContainerName, Paths};

/// How much is read at once; a line fits into it.
const BUFFER_BYTES: usize = 4 * MAX_LINE_BYTES;

/// From where on events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    /// From the oldest that is there.
    #[default]
    Oldest,
    /// Those after the one with this number; 0 for all that ever were.
    Number(u64),
    /// From the first on that was written at this time or later.
    Time(Timestamp),
    /// Those to come.
    Now,
}

/// A cursor in the journal. The iteration ends where the journal does for now, and goes on when there is more. What it has
/// not read is kept for it only as long as the journal keeps it for all.
///
/// # Examples
///
/// What others do, as they do it:
///
/// ```no_run
/// use appcontainers::{Paths, Service, event::Since};
///
/// let service = Service::open(Paths::from_env()?);
/// let mut events = service.events(Since::Oldest)?.of("web".parse()?);
/// loop {
///     for event in &mut events {
///         println!("{}", event?.kind);
///     }
///     events.wait(None)?;
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// Events of a program's own stand between those of the library:
///
/// ```
/// use appcontainers::{
///     Paths,
///     event::{Events, NewEvent, Since, append},
/// };
///
/// let place = tempfile::tempdir()?;
/// let paths = Paths::new(place.path(), place.path().join("run"));
/// # std::fs::create_dir(paths.events())?;
/// append(&paths, &NewEvent::new(&"web".parse()?, "deployed"))?;
/// let mut events = Events::open(&paths, Since::Number(0))?;
/// assert_eq!(events.next().expect("one")?.kind, "deployed");
/// assert!(events.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Events {
    directory: PathBuf,
    /// The number of the next event.
    next: u64,
    not_before: Option<Timestamp>,
    only: Option<ContainerName>,
    segment: Option<Segment>,
    watch: Option<Watch>,
}

/// The segment in which the cursor is, and what was read of it.
#[derive(Debug)]
struct Segment {
    first: u64,
    path: PathBuf,
    file: File,
    /// The next line's number.
    next: u64,
    /// Where it begins.
    offset: u64,
    /// Whole lines from there on: a part of one may be a tail that is still to be cut off.
    lines: Vec<u8>,
    taken: usize,
}

impl Events {
    /// A cursor in the journal of the installation at `paths`. A number whose successor is gone, or that no event has
    /// yet, is an error.
    pub fn open(paths: &Paths, since: Since) -> Result<Self, EventError> {
        let directory = paths.events();
        let segments = segment::list(&directory)?;
        let oldest = segments.first().copied().unwrap_or(1);
        let (next, not_before) = match since {
            Since::Oldest => (oldest, None),
            Since::Time(time) => (oldest, Some(time)),
            Since::Now => (last_number(&directory, &segments)? + 1, None),
            Since::Number(number) => {
                let last = last_number(&directory, &segments)?;
                if number > last {
                    return Err(EventError::NotYet { number, last });
                }
                (number + 1, None)
            }
        };
        if next < oldest {
            return Err(EventError::Gone { number: next, first: oldest });
        }
        Ok(Self { directory, next, not_before, only: None, segment: None, watch: None })
    }

    /// From now on only those of this container.
    #[must_use]
    pub fn of(self, container: ContainerName) -> Self {
        Self { only: Some(container), ..self }
    }

    /// The number of the last event before the cursor: what [`Since::Number`] takes to go on here.
    pub fn number(&self) -> u64 {
        self.next - 1
    }

    /// Waits until the journal may have more, for ever without `timeout`; whether it may. The first call returns at once.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, EventError> {
        match &self.watch {
            Some(watch) => watch.wait(timeout),
            None => {
                // What was written between the last reading and now would wake nobody.
                self.watch = Some(Watch::new(&self.directory)?);
                Ok(true)
            }
        }
    }

    /// A descriptor that is readable when the journal may have more, for programs that wait for other things too;
    /// [`Events::wait`] makes it unreadable again. Have it before reading: it does not tell what was written before.
    pub fn watch(&mut self) -> Result<BorrowedFd<'_>, EventError> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => Watch::new(&self.directory)?,
        };
        Ok(Watch::as_fd(self.watch.insert(watch)))
    }

    fn read(&mut self) -> Result<Option<Event>, EventError> {
        loop {
            let Some(event) = self.read_any()? else { return Ok(None) };
            if self.not_before.is_some_and(|time| event.time < time) {
                continue;
            }
            // Clocks are set back at times; events are not sorted anew for that.
            self.not_before = None;
            if self.only.as_ref().is_none_or(|only| *only == event.container) {
                return Ok(Some(event));
            }
        }
    }

    /// The event at the cursor, and moves the cursor behind it.
    fn read_any(&mut self) -> Result<Option<Event>, EventError> {
        loop {
            while let Some(segment) = &mut self.segment {
                let Some(event) = segment.next()? else { break };
                // The first segment may begin long before the cursor.
                if event.number == self.next {
                    self.next += 1;
                    return Ok(Some(event));
                }
            }
            if !self.go_on()? {
                return Ok(None);
            }
        }
    }

    /// Goes to the segment of the next event when the present one was read to its end; whether there is more to read.
    fn go_on(&mut self) -> Result<bool, EventError> {
        loop {
            let segments = segment::list(&self.directory)?;
            let following = match &self.segment {
                Some(segment) => segments.into_iter().find(|first| *first > segment.first),
                None => segments.iter().rev().find(|first| **first <= self.next).or(segments.first()).copied(),
            };
            let Some(first) = following else { return Ok(false) };
            // With one behind it, it does not change any more. It may have since it was read.
            if let Some(segment) = &mut self.segment
                && segment.fill()?
            {
                return Ok(true);
            }
            if first > self.next {
                return Err(EventError::Gone { number: self.next, first });
            }
            let path = segment::path(&self.directory, first);
            match File::open(&path) {
                Ok(file) => {
                    self.segment = Some(Segment::new(first, path, file));
                    return Ok(true);
                }
                // Dropped since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(EventError::Journal { action: "open", path, source }),
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, EventError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl Segment {
    fn new(first: u64, path: PathBuf, file: File) -> Self {
        Self { first, path, file, next: first, offset: 0, lines: Vec::new(), taken: 0 }
    }

    /// The next event; none if there is no whole line for now.
    fn next(&mut self) -> Result<Option<Event>, EventError> {
        if !self.fill()? {
            return Ok(None);
        }
        let rest = &self.lines[self.taken..];
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let event = serde_json::from_slice::<Event>(&rest[..length]).ok();
        let event = event.filter(|event| event.number == self.next && segment::is_number(event.number));
        let event = event.ok_or_else(|| EventError::Damaged { path: self.path.clone(), offset: self.offset })?;
        self.taken += length;
        self.offset += length as u64;
        self.next += 1;
        Ok(Some(event))
    }

    /// Reads whole lines if all that were read are given out; whether there are some.
    fn fill(&mut self) -> Result<bool, EventError> {
        if self.taken < self.lines.len() {
            return Ok(true);
        }
        self.lines.resize(BUFFER_BYTES, 0);
        self.taken = 0;
        let read = self.file.read_at(&mut self.lines, self.offset);
        let read = read.map_err(|source| EventError::Journal { action: "read", path: self.path.clone(), source })?;
        let whole = self.lines[..read].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.lines.truncate(whole);
        Ok(whole > 0)
    }
}

/// The number of the journal's last event; 0 if there is none.
fn last_number(directory: &Path, segments: &[u64]) -> Result<u64, EventError> {
    let Some(first) = segments.last() else { return Ok(0) };
    let path = segment::path(directory, *first);
    let file =
        File::open(&path).map_err(|source| EventError::Journal { action: "open", path: path.clone(), source })?;
    Ok(segment::end(&file, &path, *first)?.number)
}
