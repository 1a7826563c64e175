//! A process in the background that prints, alone and with watchers.

use std::{
    fs::File,
    io::Seek as _,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{ROUNDS, program::Program};
use crate::{app::CONTAINER, comparison::Comparison, installation::Installation, table::Table};

const WATCHERS: usize = 10;

/// In the container: the process waits until somebody has written into it.
const GO: &str = "/run/go";

/// Adds the row of one program.
pub(super) fn measure(ours: &Installation, what: &str, program: &Program, table: &mut Table) -> anyhow::Result<()> {
    ours.appc(&["-c", CONTAINER, "run", "--", "rm", "-f", GO])?;
    ours.appc(&["-c", CONTAINER, "run", "--", "mkfifo", GO])?;
    let mut comparison = Comparison::of(what, Box::new(|| time(ours, program, WATCHERS)));
    comparison.beside("nobody watches", Some(1.5), Box::new(|| time(ours, program, 0)));
    comparison.run(ROUNDS, table)
}

/// How long the process takes when so many watch it, who have to get all of it.
fn time(ours: &Installation, program: &Program, count: usize) -> anyhow::Result<Duration> {
    rustix::fs::sync();
    let script = format!("read -r go < {GO}; {}", program.script);
    let process = ours.appc(&["-c", CONTAINER, "spawn", "--", "busybox", "sh", "-c", &script, "/"])?;
    let watchers: Vec<_> = (0..count).map(|_| watch(ours, &process)).collect::<anyhow::Result<_>>()?;
    let begin = Instant::now();
    ours.appc(&["-c", CONTAINER, "run", "--", "sh", "-c", &format!("echo go > {GO}")])?;
    ours.appc(&["-c", CONTAINER, "wait", &process])?;
    let time = begin.elapsed();
    for (mut watcher, mut said) in watchers {
        let status = watcher.wait()?;
        // It says so if the log was not long enough for it.
        ensure!(status.success() && said.stream_position()? == 0, "a watcher did not get all: {status}");
    }
    Ok(time)
}

/// A watcher, and what it says beside the output.
fn watch(ours: &Installation, process: &str) -> anyhow::Result<(Child, File)> {
    let said = tempfile::tempfile()?;
    let mut command = ours.command(&["-c", CONTAINER, "attach", process]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    Ok((command.spawn()?, said))
}
