//! Much output at once, and many short lines, through a command in a container that runs, logged; and watchers.

mod host;
mod program;
mod watchers;

use std::{fs, time::Duration};

use anyhow::Context as _;

use self::{
    host::Host,
    program::{LINES, MAKE_TEXT, MUCH, PART, Program},
};
use crate::{
    app::{App, CONTAINER, IMAGE},
    comparison::Comparison,
    installation::Installation,
    missing::Missing,
    podman::Podman,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
};

const ROUNDS: usize = 5;

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let app = App::make(sandbox, "output", MAKE_TEXT)?;
    let podman = app.in_podman(sandbox, missing)?;
    let (ours, host) = (&app.ours, Host::set_up(sandbox, &app)?);

    run(ours, &MUCH)?;
    let peak_at_first = monitor_peak(ours)?;
    through_run(ours, &host, podman.as_ref(), table)?;
    if let Some(podman) = &podman {
        through_exec(ours, podman, table)?;
    }
    lines(ours, &host, table)?;
    watchers::measure(ours, "1,000,000 lines of `appc spawn`, ten `appc attach`", &LINES, table)?;
    watchers::measure(ours, "128 MiB of `appc spawn`, ten `appc attach`", &PART, table)?;
    let (what, beside) = ("the monitor's peak memory after all that", "after the first GiB");
    table.add(&Row { what, ours: monitor_peak(ours)?, beside, theirs: peak_at_first, target: None });
    Ok(())
}

fn through_run(ours: &Installation, host: &Host, podman: Option<&Podman>, table: &mut Table) -> anyhow::Result<()> {
    let much = || run(ours, &MUCH);
    let mut comparison = Comparison::of("1 GiB through `appc -c NAME run`, logged", Box::new(much));
    let chain = || host.through_chain(&MUCH);
    comparison.beside("pipe → DEALER → ROUTER → file → reader", Some(1.3), Box::new(chain));
    if let Some(podman) = podman {
        comparison.beside("podman run, logged", Some(0.2), Box::new(|| podman_run(podman, &MUCH)));
    }
    comparison.run(ROUNDS, table)
}

fn through_exec(ours: &Installation, podman: &Podman, table: &mut Table) -> anyhow::Result<()> {
    podman.time_run("output", &["--detach", "--name", CONTAINER, IMAGE, "/bin/sleep", "600"])?;
    let much = || exec(ours, &MUCH);
    let mut comparison = Comparison::of("1 GiB through `appc -c NAME exec`, logged", Box::new(much));
    comparison.beside("podman exec, not logged", Some(0.5), Box::new(|| podman_exec(podman, &MUCH)));
    comparison.run(ROUNDS, table)?;
    podman.podman("output", &["rm", "--force", "--time", "0", CONTAINER]).map(drop)
}

fn lines(ours: &Installation, host: &Host, table: &mut Table) -> anyhow::Result<()> {
    let lines = || run(ours, &LINES);
    let mut comparison = Comparison::of("1,000,000 lines through `appc -c NAME run`, logged", Box::new(lines));
    let sum = || Ok(host.before_cat(&LINES)? + host.through_chain(&LINES)?);
    comparison.beside("into `cat` + through that chain", Some(1.5), Box::new(sum));
    comparison.run(ROUNDS, table)
}

/// Its output to `appc`'s standard output.
fn run(ours: &Installation, program: &Program) -> anyhow::Result<Duration> {
    rustix::fs::sync();
    ours.timed(&[&["-c", CONTAINER, "run", "--"][..], &program.arguments("/")].concat())
}

fn exec(ours: &Installation, program: &Program) -> anyhow::Result<Duration> {
    rustix::fs::sync();
    ours.timed(&[&["-c", CONTAINER, "exec", "--"][..], &program.arguments("/")].concat())
}

fn podman_exec(podman: &Podman, program: &Program) -> anyhow::Result<Duration> {
    rustix::fs::sync();
    podman.timed("output", &[&["exec", CONTAINER][..], &program.arguments("/")].concat())
}

fn podman_run(podman: &Podman, program: &Program) -> anyhow::Result<Duration> {
    rustix::fs::sync();
    // Where journald runs, that would be the log.
    let run = ["--rm", "--log-driver", "k8s-file", IMAGE];
    podman.time_run("output", &[&run[..], &program.arguments("/")].concat())
}

/// The most that the container's monitor has had in memory so far.
fn monitor_peak(ours: &Installation) -> anyhow::Result<Quantity> {
    let path = format!("/proc/{}/status", ours.processes(CONTAINER)?.monitor);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map(|kib: f64| Quantity::Bytes(kib * 1024.0)).with_context(|| format!("no VmHWM in {path}"))
}
