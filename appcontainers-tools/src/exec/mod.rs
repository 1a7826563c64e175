//! The trampoline: what the agent starts for each process. It becomes the command, or says why it can't.
//!
//! A process of its own because everything between fork and exec that is not a bare system call would be unsafe in the
//! agent, which has threads (libzmq's).

mod control;
mod environment;
mod limits;
mod lookup;
mod program;
mod setup;
mod terminal;

pub(crate) use control::{Outcome, Trampoline, outcome};

use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use appcontainers_wire::{ProcessSpec, SpawnFailure};

use self::program::Program;
use crate::{tail, tar, untar};

/// The argument that makes this program the trampoline.
pub(crate) const WORD: &str = "exec";

/// Becomes the command that the agent hands over on descriptor 0.
pub(crate) fn run() -> ExitCode {
    let (control, spec) = match control::Control::take() {
        Ok(taken) => taken,
        Err(error) => {
            crate::report::error(format_args!("exec is for the agent itself: {error}"));
            return ExitCode::from(2);
        }
    };
    let done = if spec.file_operation { operate(&spec) } else { become_command(&spec).map(|never| match never {}) };
    match done {
        Ok(operation) => {
            drop(control);
            operation()
        }
        Err(failure) => {
            control.report(&failure);
            ExitCode::from(failure.shell_code())
        }
    }
}

/// The file operation that the spec names, to be run in this process, as the container's root.
fn operate(spec: &ProcessSpec) -> Result<impl FnOnce() -> ExitCode, SpawnFailure> {
    let mut words = spec.argv.iter();
    let operation = match words.next().map(String::as_str) {
        Some(tail::WORD) => tail::run,
        Some(tar::WORD) => tar::run,
        Some(untar::WORD) => untar::run,
        other => return Err(SpawnFailure::NotFound { program: other.unwrap_or_default().to_owned() }),
    };
    setup::detach()?;
    let operands: Vec<OsString> = words.map(OsString::from).collect();
    Ok(move || operation(&operands))
}

/// Does not come back unless it fails.
fn become_command(spec: &ProcessSpec) -> Result<Infallible, SpawnFailure> {
    let mut environment = environment::Environment::new(&spec.env)?;
    setup::detach()?;
    let user = setup::find_user(spec.user.as_deref())?;
    environment.complete(&user);
    if spec.tty.is_some() {
        terminal::take_over(&user)?;
        environment.complete_terminal();
    }
    if spec.login_shell {
        environment.complete_login(&user, program::shell_of(&user));
    }
    limits::set(&spec.rlimits)?;
    setup::become_user(&user)?;
    setup::enter(spec.working_dir.as_deref(), &user)?;
    let program = match spec.login_shell {
        true => Program::login_shell(spec, &user)?,
        false => Program::find(spec, environment.path())?,
    };
    let mut command = Command::new(&program.path);
    // Command::exec also gives SIGPIPE, which the Rust runtime ignores, its default action back.
    let error = command.arg0(&program.arg0).args(program.arguments).env_clear().envs(environment).exec();
    Err(exec_failure(program, &error))
}

fn exec_failure(program: Program<'_>, error: &io::Error) -> SpawnFailure {
    let Program { name: program, path, .. } = program;
    match error.kind() {
        io::ErrorKind::NotFound if path.exists() => {
            SpawnFailure::NotExecutable { program, why: "its interpreter or loader is not in the container".to_owned() }
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SpawnFailure::NotFound { program },
        _ => SpawnFailure::NotExecutable { program, why: error.to_string() },
    }
}
