//! Gives a container its secrets: the one process that ever has them in plain text, and that ends as soon as it has written them.

use anyhow::Context as _;
use appcontainers::{ContainerName, Paths, secret};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Gives them; what fails is said to whoever started this process.
pub(crate) fn deliver(name: &ContainerName) -> anyhow::Result<()> {
    match give(name) {
        Ok(()) => Ok(()),
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    }
}

fn give(name: &ContainerName) -> anyhow::Result<()> {
    appcontainers_sys::process::close_inherited().context("cannot close what the caller left open")?;
    // Neither a core dump nor another user's debugger gets at its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("cannot forbid core dumps")?;
    Ok(secret::deliver(&Paths::from_env()?, name)?)
}
