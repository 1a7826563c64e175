//! The session's current container: what `appc provision` made is what `appc load-archive` goes into,
//! without a name.
//!
//! A session is the session id (setsid(2)) and its leader's start time: ids are used again, start times
//! tell them apart. It is that of the nearest ancestor that is not sudo, su or doas, because sudo gives
//! every command a session of its own (sudoers(5), use_pty).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    ContainerName, Paths,
    state::{self, Durability, StateError, Versioned},
};

/// Programs that run a command as another user, in a session of its own.
const SWITCHES: [&str; 3] = ["sudo", "su", "doas"];

/// How far up ancestors are looked for.
const MAX_ANCESTORS: usize = 64;

/// Why the current container is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// This process's ancestors can't be told.
    #[error("cannot find this session in {}; name the container: -c NAME", path.display())]
    Unknown {
        /// The kernel's file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The record can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The container that commands without a name are for; `None` if the session has none.
pub fn current_container(paths: &Paths) -> Result<Option<ContainerName>, SessionError> {
    let record = state::read::<Current>(&Session::find(Path::new("/proc"))?.record(paths))?;
    Ok(record.map(|record| record.container))
}

/// Makes this container the session's current one.
pub fn set_current_container(paths: &Paths, container: &ContainerName) -> Result<(), SessionError> {
    let path = Session::find(Path::new("/proc"))?.record(paths);
    state::create_run_directories(paths).map_err(|source| StateError::Write { path: paths.sessions(), source })?;
    let record = Current { container: container.clone() };
    Ok(state::write(&path, &record, Durability::Volatile)?)
}

/// Removes the records of sessions whose leaders are gone, and of container `removed` if there is one.
/// A record that can't be read is left.
pub fn forget(paths: &Paths, removed: Option<&ContainerName>) -> io::Result<()> {
    let entries = match fs::read_dir(paths.sessions()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let session = entry.file_name().to_str().and_then(Session::parse);
        let is_over = session.is_some_and(|session| !session.is_alive(Path::new("/proc")));
        let is_removed = removed.is_some_and(|removed| {
            let record = state::read::<Current>(&entry.path());
            record.is_ok_and(|record| record.is_some_and(|record| record.container == *removed))
        });
        // Another command may have removed it just now.
        if (is_over || is_removed)
            && let Err(error) = fs::remove_file(entry.path())
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Makes `new` the current container where `old` is. A record that can't be read is left.
pub(crate) fn follow(paths: &Paths, old: &ContainerName, new: &ContainerName) -> io::Result<()> {
    let entries = match fs::read_dir(paths.sessions()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if let Ok(Some(record)) = state::read::<Current>(&path)
            && record.container == *old
        {
            let record = Current { container: new.clone() };
            state::write(&path, &record, Durability::Volatile).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// What is kept of a session.
#[derive(Debug, Serialize, Deserialize)]
struct Current {
    container: ContainerName,
}

impl Versioned for Current {
    const KIND: &'static str = "record of a session";
    const VERSION: u32 = 1;
}

/// A session: its id, and when its leader started, in clock ticks since boot; 0 if the leader is gone already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    id: u32,
    leader_start: u64,
}

impl Session {
    fn find(proc: &Path) -> Result<Self, SessionError> {
        let read = |pid: &str| {
            let path = proc.join(pid).join("stat");
            let malformed = || io::Error::from(io::ErrorKind::InvalidData);
            fs::read_to_string(&path)
                .and_then(|text| Stat::parse(&text).ok_or_else(malformed))
                .map_err(|source| SessionError::Unknown { path, source })
        };
        let mut process = read("self")?;
        for _ in 0..MAX_ANCESTORS {
            if process.parent == 0 {
                break;
            }
            process = read(&process.parent.to_string())?;
            if !SWITCHES.contains(&process.program.as_str()) {
                break;
            }
        }
        let leader = read(&process.session.to_string()).ok();
        Ok(Self { id: process.session, leader_start: leader.map_or(0, |leader| leader.start) })
    }

    fn is_alive(self, proc: &Path) -> bool {
        let path = proc.join(self.id.to_string()).join("stat");
        match fs::read_to_string(path) {
            Ok(text) => Stat::parse(&text).is_some_and(|leader| leader.start == self.leader_start),
            // Whose leader was gone from the beginning may go on.
            Err(_) => self.leader_start == 0,
        }
    }

    fn record(self, paths: &Paths) -> PathBuf {
        paths.sessions().join(format!("{}-{}.json", self.id, self.leader_start))
    }

    fn parse(file_name: &str) -> Option<Self> {
        let (id, leader_start) = file_name.strip_suffix(".json")?.split_once('-')?;
        Some(Self { id: id.parse().ok()?, leader_start: leader_start.parse().ok()? })
    }
}

/// What is needed of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    program: String,
    parent: u32,
    session: u32,
    start: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name is in parentheses and may have any byte in it, parentheses too.
        let (before, rest) = text.rsplit_once(')')?;
        let (_, program) = before.split_once('(')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            program: program.to_owned(),
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A /proc with processes (pid, name, parent, session, start).
    fn proc(processes: &[(u32, &str, u32, u32, u64)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (index, (pid, name, parent, session, start)) in processes.iter().enumerate() {
            let between = "0 ".repeat(15);
            let stat = format!("{pid} ({name}) S {parent} {pid} {session} {between}{start} 0 0\n");
            for directory in [pid.to_string(), "self".to_owned()].iter().take(if index == 0 { 2 } else { 1 }) {
                fs::create_dir(proc.path().join(directory)).unwrap();
                fs::write(proc.path().join(directory).join("stat"), &stat).unwrap();
            }
        }
        proc
    }

    #[test]
    fn two_commands_of_one_shell_are_of_one_session_with_sudo_and_without() {
        let shell = (100, "bash", 1, 100, 5000);
        let plain = proc(&[(200, "appc", 100, 100, 6000), shell]);
        let sudo =
            proc(&[(302, "appc", 301, 301, 7002), (301, "sudo", 300, 301, 7001), (300, "sudo", 100, 100, 7000), shell]);
        let expected = Session { id: 100, leader_start: 5000 };
        assert_eq!(Session::find(plain.path()).unwrap(), expected);
        assert_eq!(Session::find(sudo.path()).unwrap(), expected);
    }

    #[test]
    fn a_session_whose_id_is_used_again_is_another_one() {
        let before = proc(&[(200, "appc", 100, 100, 6000), (100, "bash", 1, 100, 5000)]);
        let after = proc(&[(200, "appc", 100, 100, 9900), (100, "bash", 1, 100, 9000)]);
        let session = Session::find(before.path()).unwrap();
        assert_ne!(session, Session::find(after.path()).unwrap());
        assert!(session.is_alive(before.path()) && !session.is_alive(after.path()));
    }

    #[test]
    fn a_program_may_have_any_name() {
        let odd = proc(&[(200, "appc", 100, 100, 6000), (100, "a) S 1 (sudo", 1, 100, 5000)]);
        assert_eq!(Session::find(odd.path()).unwrap().leader_start, 5000);
    }

    #[test]
    fn a_process_without_a_parent_or_a_leader_has_a_session_too() {
        let alone = proc(&[(2, "appc", 0, 1, 6000)]);
        assert_eq!(Session::find(alone.path()).unwrap(), Session { id: 1, leader_start: 0 });
    }

    #[test]
    fn the_current_container_is_remembered_follows_its_name_and_is_forgotten_when_it_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path().join("root"), place.path().join("run"));
        assert_eq!(current_container(&paths).unwrap(), None);
        let web = "web".parse().unwrap();
        set_current_container(&paths, &web).unwrap();
        fs::write(paths.sessions().join("4194305-1.json"), "{}").unwrap();
        forget(&paths, None).unwrap();
        assert_eq!(current_container(&paths).unwrap(), Some(web.clone()));
        assert_eq!(fs::read_dir(paths.sessions()).unwrap().count(), 1, "a session that is over was kept");
        let shop = "shop".parse().unwrap();
        follow(&paths, &shop, &web).unwrap();
        follow(&paths, &web, &shop).unwrap();
        assert_eq!(current_container(&paths).unwrap(), Some(shop.clone()));
        forget(&paths, Some(&web)).unwrap();
        assert_eq!(current_container(&paths).unwrap(), Some(shop.clone()));
        forget(&paths, Some(&shop)).unwrap();
        assert_eq!(current_container(&paths).unwrap(), None);
    }
}
