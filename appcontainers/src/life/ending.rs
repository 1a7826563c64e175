//! The end of a start: whether anybody asked for it, and what follows.
//!
//! Whoever is about to end a container says so first, in its run directory. What is not said there was not asked for. The end itself
//! is looked at once, by whoever clears up after the start.

use std::{fs, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LastEnd, LifeState, NextRestart, OnUnhealthy, Restart, restart};
use crate::{
    ContainerName, Paths, event,
    record::ContainerRecord,
    runtime::{StartRecord, boot},
    state::{ContainerLock, Durability, StateError, Versioned, read, write},
};

/// Why a container that runs is about to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Somebody asked for it.
    Asked,
    /// The host goes down, or all containers are stopped as for that.
    Host,
    /// A start that did not come to its end is taken back.
    NotStarted,
    /// It is unhealthy.
    Unhealthy {
        /// What was found.
        why: String,
    },
    /// Its startup commands have failed.
    Failed {
        /// Which, and how.
        why: String,
    },
}

/// What is said before an end.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    ending: Ending,
}

impl Versioned for Noted {
    const KIND: &'static str = "reason of a container's end";
    const VERSION: u32 = 1;
}

fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
    paths.container_run(name).join("ending.json")
}

/// Says why a container that runs is about to end. What a person says goes over what its monitor found, and not the other way round.
pub fn note_ending(paths: &Paths, name: &ContainerName, ending: Ending) -> Result<(), StateError> {
    let path = path(paths, name);
    let is_found = matches!(ending, Ending::Unhealthy { .. } | Ending::Failed { .. } | Ending::NotStarted);
    let is_there = || path.parent().is_some_and(|directory| directory.is_dir());
    if !is_there() || (is_found && path.exists()) {
        return Ok(());
    }
    match write(&path, &Noted { ending }, Durability::Volatile) {
        // It has ended meanwhile, and was cleared up.
        Err(_) if !is_there() => Ok(()),
        written => written,
    }
}

/// Looks at the end of a start, before its traces are removed: keeps what has to be known of it, and says when the container is
/// started again. Twice is as once.
pub(crate) fn ended(
    paths: &Paths,
    lock: &ContainerLock,
    record: &ContainerRecord,
    start: &StartRecord,
) -> Result<(), StateError> {
    let (name, life) = (lock.name(), &record.settings.life);
    if !life.remembers_ends() || !start.kept || start.boot != boot::id() {
        return Ok(());
    }
    let noted: Option<Noted> = read(&path(paths, name))?;
    let mut state = LifeState::load(paths, name)?.unwrap_or_default();
    if state.last_end.as_ref().is_some_and(|end| end.start == start.id) {
        return Ok(());
    }
    let (why, is_told, is_wanted) = match noted.map(|noted| noted.ending) {
        Some(Ending::Asked) => {
            (state.stopped, state.next, state.untold) = (true, None, false);
            // So that the next boot of the host knows.
            return state.store(paths, name, record.overlay.durability());
        }
        Some(Ending::Host | Ending::NotStarted) => return Ok(()),
        Some(Ending::Unhealthy { why }) => {
            let on_failure = life.health.as_ref().map_or(OnUnhealthy::None, |check| check.on_failure);
            (why, true, Some(on_failure == OnUnhealthy::Restart))
        }
        Some(Ending::Failed { why }) => (why, true, None),
        None => {
            let why = "its process 1 ended, and nobody had asked for that".to_owned();
            event::note(paths, name, "fail", &[("error", why.as_str().into())]);
            (why, false, None)
        }
    };
    state.untold = !is_told && life.on.fail.is_some();
    state.last_end = Some(LastEnd { time: Timestamp::now(), why, start: start.id.clone() });
    if ran_for(start).is_none_or(|time| time >= restart::CALM) {
        state.failures = 0;
    }
    match is_wanted {
        Some(false) => state.next = None,
        // By its health check, also without a policy.
        Some(true) if life.restart.is_no() => plan(paths, name, Restart::Always, &mut state),
        Some(true) | None => plan(paths, name, life.restart, &mut state),
    }
    state.store(paths, name, Durability::Volatile)
}

/// Says when the container, which has failed once more, is started again, or that this is over.
pub(super) fn plan(paths: &Paths, name: &ContainerName, policy: Restart, state: &mut LifeState) {
    let before = state.failures;
    state.failures = before.saturating_add(1);
    state.next = None;
    if policy.allows(before) {
        let pause = restart::pause(before);
        let time = Timestamp::now() + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        state.next = Some(NextRestart { time, boot: boot::id(), pause_ms, waiter: None });
    } else if !policy.is_no() {
        let error = format!("it failed {} times in a row and is not started again ({policy})", state.failures);
        event::note(paths, name, "fail", &[("error", error.into()), ("restarts", Value::from(state.restarts))]);
    }
}

/// How long a start's init was there; none if that is not known.
fn ran_for(start: &StartRecord) -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let started = start.init?.start_time as f64 / ticks;
    Duration::try_from_secs_f64((uptime - started).max(0.0)).ok()
}
