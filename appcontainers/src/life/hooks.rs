//! Callbacks of a program on what happens to containers. What happened while the program was away is delivered when it is back.

use std::{collections::BTreeMap, fmt};

use super::hook_cursor::{Cursor, CursorFile, OutputCursor};
use crate::{
    Container, ContainerName, CursorName, Error, Event, LogPiece, LogQuery, Paths,
    event::{EventError, Events, Since, WatchedFiles},
    record::ContainerRecord,
    state::StateError,
};

/// Why a callback could not do its work.
pub type HookFailure = Box<dyn std::error::Error + Send + Sync>;

/// Why hooks can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// Two programs with one cursor.
    #[error("another program is at work with the cursor {cursor}; end it, or use another cursor")]
    Busy {
        /// The cursor.
        cursor: CursorName,
    },
    /// Events that the journal has dropped before they were delivered.
    #[error(
        "the journal has dropped events {first} to {last} before cursor {cursor} came to them; to go on behind them: Hooks::skip_gap"
    )]
    Gap {
        /// The cursor.
        cursor: CursorName,
        /// The first that is gone.
        first: u64,
        /// The last that is gone.
        last: u64,
    },
    /// The journal is behind the cursor: a power cut has taken its last events, and their numbers are given again.
    #[error(
        "cursor {cursor} is at event {at}, but the last one is {last}: a power cut took those after it; to go on: Hooks::skip_gap"
    )]
    SetBack {
        /// The cursor.
        cursor: CursorName,
        /// Where it is.
        at: u64,
        /// The journal's last event.
        last: u64,
    },
    /// A callback failed: what it was called for is delivered again.
    #[error("the callback for event {number} ({kind} of {container}) failed")]
    Callback {
        /// The event's number.
        number: u64,
        /// What happened.
        kind: String,
        /// To which container.
        container: ContainerName,
        /// What the callback said.
        #[source]
        source: HookFailure,
    },
    /// A callback for output failed: it is delivered again.
    #[error("the callback for output of {container} failed")]
    Output {
        /// Whose output.
        container: ContainerName,
        /// What the callback said.
        #[source]
        source: HookFailure,
    },
    /// A cursor's file.
    #[error("cannot use the cursor {}", path.display())]
    Cursor {
        /// The file.
        path: std::path::PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A cursor's file, as it is written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Output for a callback.
#[derive(Debug)]
pub struct HookOutput<'a> {
    /// Whose.
    pub container: &'a ContainerName,
    /// What it printed, or how much of that is gone.
    pub piece: LogPiece<'a>,
}

type OnEvent<'a> = Box<dyn FnMut(&Event) -> Result<(), HookFailure> + 'a>;
type OnOutput<'a> = Box<dyn FnMut(&HookOutput<'_>) -> Result<(), HookFailure> + 'a>;

/// Callbacks of one program, with a cursor that is kept by its name.
///
/// Each event is delivered at least once, in order, to all callbacks that are for its kind; the cursor is stored when they have all
/// returned `Ok`. If one returns an error, [`Hooks::run`] returns that, and the event is delivered again by the next call. If the
/// program is killed, what was under way is delivered again.
///
/// A cursor's first use begins with what happens from then on. Output is delivered for each container in order, and beside the events
/// in no order; what a container printed goes with it when it is removed.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, Service};
///
/// let service = Service::open(Paths::from_env()?);
/// let mut hooks = service
///     .hooks("pager")?
///     .on_exit(|event| Ok(println!("a process of {} ended: {:?}", event.container, event.status)))
///     .on_oom(|event| Ok(println!("{} needs more memory", event.container)))
///     .on_health(|event| Ok(println!("{} is {}", event.container, event.details["status"])));
/// hooks.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Hooks<'a> {
    paths: Paths,
    name: CursorName,
    only: Option<ContainerName>,
    on_events: Vec<(Option<String>, OnEvent<'a>)>,
    on_output: Option<OnOutput<'a>>,
    file: CursorFile,
    cursor: Cursor,
    events: Option<Events>,
    files: Option<WatchedFiles>,
}

impl fmt::Debug for Hooks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("name", &self.name).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl<'a> Hooks<'a> {
    pub(crate) fn open(paths: &Paths, name: CursorName) -> Result<Self, Error> {
        let file = CursorFile::open(paths, &name)?;
        let cursor = match file.load()? {
            Some(cursor) => cursor,
            None => {
                let cursor = Cursor { event: Events::open(paths, Since::Now)?.number(), outputs: None };
                file.store(&cursor)?;
                cursor
            }
        };
        let (only, on_events, on_output, events, files) = (None, Vec::new(), None, None, None);
        Ok(Self { paths: paths.clone(), name, only, on_events, on_output, file, cursor, events, files })
    }

    /// Only what happens to this container.
    #[must_use]
    pub fn of(self, container: ContainerName) -> Self {
        Self { only: Some(container), ..self }
    }

    /// For every event.
    #[must_use]
    pub fn on_any(mut self, callback: impl FnMut(&Event) -> Result<(), HookFailure> + 'a) -> Self {
        self.on_events.push((None, Box::new(callback)));
        self
    }

    /// For events of this kind; `docs/json.md` has them all.
    #[must_use]
    pub fn on(mut self, kind: &str, callback: impl FnMut(&Event) -> Result<(), HookFailure> + 'a) -> Self {
        self.on_events.push((Some(kind.to_owned()), Box::new(callback)));
        self
    }

    /// When a container has started.
    #[must_use]
    pub fn on_start(self, callback: impl FnMut(&Event) -> Result<(), HookFailure> + 'a) -> Self {
        self.on("start", callback)
    }

    /// When a process of a container has ended.
    #[must_use]
    pub fn on_exit(self, callback: impl FnMut(&Event) -> Result<(), HookFailure> + 'a) -> Self {
        self.on("process-exit", callback)
    }

    /// When the kernel has ended a process of a container because there was no memory left for it.
    #[must_use]
    pub fn on_oom(self, callback: impl FnMut(&Event) -> Result<(), HookFailure> + 'a) -> Self {
        self.on("oom", callback)
    }

    /// When a container has become healthy or unhealthy.
    #[must_use]
    pub fn on_health(self, callback: impl FnMut(&Event) -> Result<(), HookFailure> + 'a) -> Self {
        self.on("health", callback)
    }

    /// For what containers print.
    #[must_use]
    pub fn on_output(mut self, callback: impl FnMut(&HookOutput<'_>) -> Result<(), HookFailure> + 'a) -> Self {
        self.on_output = Some(Box::new(callback));
        self
    }

    /// Delivers what is there, and all that comes; ends with an error alone.
    pub fn run(&mut self) -> Result<std::convert::Infallible, Error> {
        loop {
            self.watch()?;
            self.run_once()?;
            if let Some(files) = &self.files {
                files.wait()?;
            }
        }
    }

    /// Delivers what is there: how many events and pieces of output that were.
    pub fn run_once(&mut self) -> Result<u64, Error> {
        Ok(self.deliver_events()? + self.deliver_outputs()?)
    }

    /// Goes on behind events that are gone ([`HookError::Gap`], [`HookError::SetBack`]): with the first that is there, or that
    /// comes. How many were left out, as far as that is known.
    pub fn skip_gap(&mut self) -> Result<u64, Error> {
        self.events = None;
        let to = match self.open_events() {
            Err(Error::Hook(HookError::Gap { last, .. })) => last,
            Err(Error::Hook(HookError::SetBack { last, .. })) => last,
            other => return other.map(|_| 0),
        };
        let skipped = to.saturating_sub(self.cursor.event);
        self.cursor.event = to;
        self.file.store(&self.cursor)?;
        Ok(skipped)
    }

    fn open_events(&self) -> Result<Events, Error> {
        let (cursor, at) = (self.name.clone(), self.cursor.event);
        Events::open(&self.paths, Since::Number(at)).map_err(|error| self.gap(error, cursor, at))
    }

    fn gap(&self, error: EventError, cursor: CursorName, at: u64) -> Error {
        match error {
            EventError::Gone { first, .. } => HookError::Gap { cursor, first: at + 1, last: first - 1 }.into(),
            EventError::NotYet { last, .. } => HookError::SetBack { cursor, at, last }.into(),
            error => error.into(),
        }
    }

    fn deliver_events(&mut self) -> Result<u64, Error> {
        let mut events = match self.events.take() {
            Some(events) => events,
            None => self.open_events()?,
        };
        let mut delivered = 0;
        for event in events.by_ref() {
            let event = event.map_err(|error| self.gap(error, self.name.clone(), self.cursor.event))?;
            if self.deliver(&event)? {
                delivered += 1;
                self.cursor.event = event.number;
                self.file.store(&self.cursor)?;
            }
        }
        if events.number() > self.cursor.event {
            self.cursor.event = events.number();
            self.file.store(&self.cursor)?;
        }
        // Not where something failed: from the cursor on, it all comes again.
        self.events = Some(events);
        Ok(delivered)
    }

    /// Calls those who want to know; whether there was one.
    fn deliver(&mut self, event: &Event) -> Result<bool, HookError> {
        if self.only.as_ref().is_some_and(|only| *only != event.container) {
            return Ok(false);
        }
        let mut is_wanted = false;
        for (kind, callback) in &mut self.on_events {
            if kind.as_ref().is_none_or(|kind| *kind == event.kind) {
                is_wanted = true;
                let (number, kind, container) = (event.number, event.kind.clone(), event.container.clone());
                callback(event).map_err(|source| HookError::Callback { number, kind, container, source })?;
            }
        }
        Ok(is_wanted)
    }

    fn deliver_outputs(&mut self) -> Result<u64, Error> {
        if self.on_output.is_none() {
            return Ok(0);
        }
        let mut before = self.cursor.outputs.take();
        let is_first = before.is_none();
        let (mut outputs, mut delivered) = (BTreeMap::new(), 0);
        let mut records = Vec::new();
        for name in self.containers()? {
            if let Ok(Some(record)) = ContainerRecord::load(&self.paths, &name) {
                let known = before.as_mut().and_then(|before| before.remove(&name));
                let known = known.filter(|known| known.created == record.created);
                let position = match known {
                    Some(known) => known.position,
                    None if is_first => self.logs(&name, LogQuery { tail: Some(0), ..LogQuery::default() })?.position(),
                    None => 0,
                };
                outputs.insert(name.clone(), OutputCursor { created: record.created, position });
                records.push(name);
            }
        }
        self.cursor.outputs = Some(outputs);
        if is_first {
            self.file.store(&self.cursor)?;
        }
        for name in records {
            delivered += self.deliver_output(&name)?;
        }
        Ok(delivered)
    }

    fn deliver_output(&mut self, name: &ContainerName) -> Result<u64, Error> {
        let Some(known) = self.cursor.outputs.as_ref().and_then(|outputs| outputs.get(name)).cloned() else {
            return Ok(0);
        };
        let mut logs = match self.logs(name, LogQuery::default()) {
            Ok(logs) => logs,
            // It was removed meanwhile.
            Err(_) if !self.paths.container(name).exists() => return Ok(0),
            Err(error) => return Err(error),
        };
        logs.seek(known.position);
        let mut delivered = 0;
        while let Some(piece) = logs.next_piece()? {
            if let Some(callback) = &mut self.on_output {
                let failed = |source| HookError::Output { container: name.clone(), source };
                callback(&HookOutput { container: name, piece }).map_err(failed)?;
            }
            delivered += 1;
            let position = logs.position();
            if let Some(output) = self.cursor.outputs.as_mut().and_then(|outputs| outputs.get_mut(name)) {
                output.position = position;
            }
            self.file.store(&self.cursor)?;
        }
        Ok(delivered)
    }

    fn logs(&self, name: &ContainerName, query: LogQuery) -> Result<crate::Logs, Error> {
        Container::open(&self.paths, name)?.logs(query)
    }

    fn containers(&self) -> Result<Vec<ContainerName>, Error> {
        let directory = self.paths.containers();
        let entries = std::fs::read_dir(&directory).map_err(crate::error::io_error("list", &directory))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut names: Vec<_> = names.filter(|name| self.only.as_ref().is_none_or(|only| only == name)).collect();
        names.sort();
        Ok(names)
    }

    /// Sees what is written from now on to what is looked at.
    fn watch(&mut self) -> Result<(), Error> {
        let files = match self.files.take() {
            Some(files) => files,
            None => WatchedFiles::new(&self.paths.events())?,
        };
        if self.on_output.is_some() {
            for name in self.containers()? {
                files.add(&self.paths.container_log(&name))?;
            }
        }
        self.files = Some(files);
        Ok(())
    }
}
