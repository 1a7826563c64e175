//! What LXC's monitor runs when a container is gone, whether our monitor lives or not.

use anyhow::Context as _;
use appcontainers::runtime;

use crate::arguments::ReapArguments;

/// Clears up after the start, in a process of its own: LXC's monitor waits for its hook, and must be able to end.
pub(crate) fn reap(arguments: &ReapArguments) -> anyhow::Result<()> {
    appcontainers_sys::process::daemonize().context("cannot leave LXC's hook")?;
    runtime::reap(&arguments.paths, &arguments.name, &arguments.start_id)
        .with_context(|| format!("cannot clear up after container {}", arguments.name))
}
