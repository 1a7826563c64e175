//! What LXC's monitor runs when a container is gone, whether our monitor lives or not.

use std::fs::File;

use anyhow::Context as _;
use appcontainers::runtime;

use crate::arguments::ReapArguments;

/// Clears up after the start, in a process of its own: LXC's monitor waits for its hook, and must be able to end.
pub(crate) fn reap(arguments: &ReapArguments) -> anyhow::Result<()> {
    appcontainers_sys::process::close_inherited().context("cannot close what LXC's monitor left open")?;
    appcontainers_sys::process::daemonize().context("cannot leave LXC's hook")?;
    // LXC's monitor reads the hook's output to its end, so none may be kept open.
    let null = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    runtime::reap(&arguments.paths, &arguments.name, &arguments.start_id)
        .with_context(|| format!("cannot clear up after container {}", arguments.name))
}
