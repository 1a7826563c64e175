//! The host's side of a copy: the agent's own program as a child. It is made for hostile files: what it reads it reads
//! by open directories, and before it writes it gives up all of the file system but the place that it writes to.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::said::Listener;
use crate::{
    Error,
    error::io_error,
    runtime::{RuntimeError, programs},
};

/// A child that packs or unpacks.
pub(super) struct HostProgram {
    path: PathBuf,
    child: Child,
    listener: Listener,
}

impl HostProgram {
    /// Packs a path of the host's.
    pub(super) fn pack(path: &Path) -> Result<(Self, ChildStdout), Error> {
        let mut program = Self::start("tar", |command| command.arg(path).stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = program.child.stdout.take().ok_or_else(|| program.broken())?;
        Ok((program, stdout))
    }

    /// Unpacks one tree to a path of the host's; in a directory it is called `name`, or, without one, goes there itself.
    pub(super) fn unpack(path: &Path, name: Option<&str>, keep_privileges: bool) -> Result<(Self, ChildStdin), Error> {
        let mut program = Self::start("untar", |command| {
            command.arg("--to").arg(path).arg("--confine").stdin(Stdio::piped()).stdout(Stdio::null());
            command.args(name.map(|name| ["--top", name]).into_iter().flatten());
            command.args(keep_privileges.then_some("--keep-privileges"))
        })?;
        let stdin = program.child.stdin.take().ok_or_else(|| program.broken())?;
        Ok((program, stdin))
    }

    fn start(word: &str, complete: impl FnOnce(&mut Command) -> &mut Command) -> Result<Self, Error> {
        let path = programs::agent().map_err(RuntimeError::from)?;
        let mut command = Command::new(&path);
        command.arg(word).env_clear().current_dir("/").stderr(Stdio::piped());
        let mut child = complete(&mut command).spawn().map_err(io_error("run", &path))?;
        let Some(stderr) = child.stderr.take() else {
            return Err(io_error("run", &path)(io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Self { path, child, listener: Listener::start(stderr) })
    }

    /// Waits for the child's end; its words are the error if it failed, and warnings otherwise. Its stream is closed.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let status = self.child.wait().map_err(io_error("wait for", &self.path))?;
        let said = self.listener.finish();
        if status.success() {
            said.warn();
            return Ok(());
        }
        let said = said.line().unwrap_or_else(|| format!("{} ended with {status}", self.path.display()));
        Err(Error::HostFileOperation { said })
    }

    fn broken(&self) -> Error {
        io_error("run", &self.path)(io::ErrorKind::BrokenPipe.into())
    }
}

/// A path of the host's for the child, which is elsewhere. Its end is kept: `/.` and `/` there mean something.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let here = env::current_dir().map_err(io_error("find", Path::new("the current directory")))?;
    let path = if path.as_os_str().is_empty() { Path::new(OsStr::new(".")) } else { path };
    Ok(here.join(path))
}
