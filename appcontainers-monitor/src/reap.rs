//! What LXC's monitor runs when a container is gone, whether our monitor lives or not: it clears up, and starts the container again
//! where that is wanted.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::Context as _;
use appcontainers::{ContainerName, Paths, life, runtime};

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
    let ReapArguments { paths, name, start_id } = arguments;
    let reaped = runtime::reap(paths, name, start_id);
    // Where the container is started again it is this process that waits for that: small, and without locks.
    if let Err(error) = life::enter_hosts_mounts(paths) {
        tracing::warn!(%name, %error, "cannot leave the container's mounts");
    }
    life::wait_and_restart(paths, name).with_context(|| format!("cannot start container {name} again"))?;
    reaped.with_context(|| format!("cannot clear up after container {name}"))
}

/// Waits for a restart that is due, in a process of its own.
pub(crate) fn revive(name: &ContainerName) -> anyhow::Result<()> {
    appcontainers_sys::process::close_inherited().context("cannot close what the caller left open")?;
    appcontainers_sys::process::daemonize().context("cannot leave the caller's session")?;
    let paths = Paths::from_env()?;
    // Whoever calls may be about to end, and take along what is in their cgroup.
    if let Err(error) = runtime::enter_scope(&paths) {
        tracing::warn!("{:#}", anyhow::Error::new(error));
    }
    life::wait_and_restart(&paths, name).with_context(|| format!("cannot start container {name} again"))
}

/// Removes a directory, in a process of its own.
pub(crate) fn discard(directory: &Path) -> anyhow::Result<()> {
    appcontainers_sys::process::close_inherited().context("cannot close what the caller left open")?;
    appcontainers_sys::process::daemonize().context("cannot leave the caller's session")?;
    fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}
