//! What LXC's monitor runs when a container is gone, whether our monitor lives or not.

use std::fs::File;

use anyhow::Context as _;
use appcontainers::runtime;

use crate::arguments::ReapArguments;

/// Clears up after the start, in a process of its own: LXC's monitor waits for its hook, and must be able to end.
pub(crate) fn reap(arguments: &ReapArguments) -> anyhow::Result<()> {
    appcontainers_sys::process::daemonize().context("cannot leave LXC's hook")?;
    // LXC's monitor reads what its hook says until the last writer is gone, and this process waits for LXC's monitor.
    let nowhere = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    runtime::reap(&arguments.paths, &arguments.name, &arguments.start_id)
        .with_context(|| format!("cannot clear up after container {}", arguments.name))
}
