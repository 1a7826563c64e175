//! What the trampoline changes about itself before it becomes the command.

use std::{fs, io, os::fd::AsFd, path::Path};

use appcontainers_wire::SpawnFailure;
use nix::sys::signal::SigSet;
use rustix::{
    fs::{FileType, Gid, Mode, Uid},
    process::DumpableBehavior,
};

use crate::user::{self, User, UserError};

/// Where the kernel has this process's inclination to be killed when memory runs out.
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";

/// Names the step that failed.
pub(super) fn step<T>(what: &str, result: io::Result<T>) -> Result<T, SpawnFailure> {
    result.map_err(|error| SpawnFailure::Other { why: format!("{what}: {error}") })
}

/// A session, a file mode mask, a signal mask and an out-of-memory score of its own.
pub(super) fn detach() -> Result<(), SpawnFailure> {
    step("cannot begin a session", rustix::process::setsid().map_err(io::Error::from))?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    step("cannot unblock signals", SigSet::empty().thread_set_mask().map_err(io::Error::from))?;
    step("cannot become killable when memory runs out", reset_oom_score())
}

/// The agent must not be what the kernel kills when memory runs out; its commands may be.
fn reset_oom_score() -> io::Result<()> {
    if !fs::read_to_string(OOM_SCORE_ADJ)?.starts_with('-') {
        return Ok(());
    }
    // The agent's file can't be read by the container, so this process's /proc files belong to the host's root. While it
    // is dumpable they belong to the process's user.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let written = fs::write(OOM_SCORE_ADJ, "0");
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    written
}

/// Finds who the command runs as.
pub(super) fn find_user(text: Option<&str>) -> Result<User, SpawnFailure> {
    user::find(text).map_err(user_failure)
}

/// Why a user or group was not found, as the agent tells it.
pub(super) fn user_failure(error: UserError) -> SpawnFailure {
    match error {
        UserError::NoSuchUser { user } => SpawnFailure::NoSuchUser { user },
        UserError::Unreadable { .. } => SpawnFailure::Other { why: error.to_string() },
    }
}

/// Gives the standard streams and this process to the user.
pub(super) fn become_user(user: &User) -> Result<(), SpawnFailure> {
    let what = format!("cannot become user {}:{}", user.uid, user.gid);
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if user.uid != 0 {
        step(&what, give_streams(uid))?;
    }
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let changed = rustix::thread::set_thread_groups(&groups)
        .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid));
    step(&what, changed.map_err(io::Error::from))
}

/// A command opens /dev/stdout or /proc/self/fd/1 anew and needs the permission for that; the pipes are root's.
fn give_streams(uid: Uid) -> io::Result<()> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode) == FileType::Fifo {
            rustix::fs::fchown(stream, Some(uid), None)?;
        }
    }
    Ok(())
}

/// Enters the working directory: the one that is asked for (from `/`), else the user's home, else, if there is no such,
/// `/`.
pub(super) fn enter(directory: Option<&str>, user: &User) -> Result<(), SpawnFailure> {
    let (path, is_default) = match directory {
        Some(directory) => (Path::new("/").join(directory), false),
        None => (Path::new("/").join(&user.home), true),
    };
    match std::env::set_current_dir(&path) {
        Err(error) if is_default && error.kind() == io::ErrorKind::NotFound => {
            step("cannot enter /", std::env::set_current_dir("/"))
        }
        Err(error) => Err(SpawnFailure::WorkingDir { path: path.display().to_string(), why: error.to_string() }),
        Ok(()) => Ok(()),
    }
}
