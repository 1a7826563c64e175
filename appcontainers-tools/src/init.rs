//! `appc-agent init`: process 1 of a container with an init of its own. It starts the agent, waits until the monitor knows it, and
//! becomes that init: so the agent is there before anything of the container's runs, and nothing can take its place.

use std::{
    convert::Infallible,
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Command, ExitCode, Stdio},
};

use rustix::fs::{Access, access};

use crate::{agent, report};

/// The argument that makes this program that.
pub(crate) const WORD: &str = "init";

/// Where an operating system has its init.
const INIT: &str = "/sbin/init";

/// Becomes the container's init.
pub(crate) fn run() -> ExitCode {
    let Err(error) = become_init();
    report::error(format_args!("cannot become {INIT}: {error}"));
    ExitCode::FAILURE
}

fn become_init() -> io::Result<Infallible> {
    access(INIT, Access::EXEC_OK)?;
    let agent = Command::new("/proc/self/exe").arg0("appc-agent").arg(agent::BESIDE).stdout(Stdio::piped()).spawn()?;
    if let Some(mut ready) = agent.stdout {
        ready.read_exact(&mut [0])?;
    }
    Err(Command::new(INIT).exec())
}
