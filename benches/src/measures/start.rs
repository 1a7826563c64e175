//! One shot: from the shell's fork to the exit of `true` in a new, confined, addressed container. And `true` in one
//! that runs already.

use std::{
    iter,
    time::{Duration, Instant},
};

use crate::{
    app::{App, CHANGE, CONTAINER, IMAGE},
    comparison::Comparison,
    installation::Installation,
    lxc_execute::LxcExecute,
    lxd::Lxd,
    missing::Missing,
    podman::Podman,
    sandbox::Sandbox,
    table::Table,
};

const ROUNDS: usize = 30;

/// So many starts, one right after the other, count with their teardown.
const IN_A_ROW: u32 = 20;

/// LXD's commands wait for the teardown, so fewer tell as much, and sooner.
const IN_A_ROW_LXD: u32 = 3;

/// A container of LXD's that ends in the round.
const SHOT: &str = "shot";

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let app = App::make(sandbox, "start", CHANGE)?;
    let ours = &app.ours;
    // It stays for its address and ids, which the peer uses.
    let lxc =
        if missing.has("lxc-execute", "lxc") { Some(LxcExecute::modelled_on(sandbox, ours, CONTAINER)?) } else { None };
    let podman = app.in_podman(sandbox, missing)?;
    let lxd = app.in_lxd(sandbox, missing)?;
    ours.appc(&["stop", CONTAINER])?;
    ours.wait_cleared_up()?;

    one_shot(ours, lxc.as_ref(), podman.as_ref(), lxd.as_ref(), table)?;
    in_a_row(ours, lxc.as_ref(), lxd.as_ref(), table)?;
    in_running(ours, podman.as_ref(), lxd.as_ref(), table)
}

fn one_shot(
    ours: &Installation,
    lxc: Option<&LxcExecute>,
    podman: Option<&Podman>,
    lxd: Option<&Lxd>,
    table: &mut Table,
) -> anyhow::Result<()> {
    let start = || ours.time_start(IMAGE);
    let mut comparison = Comparison::of("`appc run --rm --image NAME -- true`", Box::new(start));
    if let Some(lxc) = lxc {
        comparison.beside("lxc-execute, the same configuration", Some(0.8), Box::new(|| lxc.time_start()));
    }
    if let Some(podman) = podman {
        let run = || podman.time_run("start", &["--rm", IMAGE, "/bin/true"]);
        comparison.beside("podman run --rm, its bridge", Some(0.12), Box::new(run));
    }
    if let Some(lxd) = lxd {
        let launch = || {
            let time = launch(lxd)?;
            lxd.lxc(&["delete", "--force", SHOT])?;
            Ok(time)
        };
        comparison.beside("lxc launch + lxc exec of LXD, its bridge", None, Box::new(launch));
    }
    comparison.run(ROUNDS, table)
}

/// Our answer comes before the teardown: this shows what a start costs the machine, not the one who waits for it.
fn in_a_row(ours: &Installation, lxc: Option<&LxcExecute>, lxd: Option<&Lxd>, table: &mut Table) -> anyhow::Result<()> {
    let ours_in_a_row = || {
        let begin = Instant::now();
        for _ in 0..IN_A_ROW {
            ours.timed(&["run", "--rm", "--image", IMAGE, "--", "true"])?;
        }
        ours.wait_cleared_up()?;
        Ok(begin.elapsed() / IN_A_ROW)
    };
    let mut comparison = Comparison::of("the same, 20 in a row with all teardown, each", Box::new(ours_in_a_row));
    if let Some(lxc) = lxc {
        let row = || mean(IN_A_ROW, || lxc.time_start());
        comparison.beside("lxc-execute, the same configuration", None, Box::new(row));
    }
    if let Some(lxd) = lxd {
        let row = || mean(IN_A_ROW_LXD, || Ok(launch(lxd)? + lxd.timed(&["delete", "--force", SHOT])?));
        comparison.beside("lxc launch + lxc exec + lxc delete of LXD", None, Box::new(row));
    }
    comparison.run(5, table)
}

/// A command in a container that runs already.
fn in_running(
    ours: &Installation,
    podman: Option<&Podman>,
    lxd: Option<&Lxd>,
    table: &mut Table,
) -> anyhow::Result<()> {
    ours.appc(&["start", CONTAINER])?;
    let exec = || ours.timed(&["-c", CONTAINER, "exec", "--", "true"]);
    let mut comparison = Comparison::of("`appc -c NAME exec -- true`", Box::new(exec));
    if let Some(podman) = podman {
        podman.time_run("start", &["--detach", "--name", CONTAINER, IMAGE, "/bin/sleep", "600"])?;
        let exec = || podman.timed("start", &["exec", CONTAINER, "/bin/true"]);
        comparison.beside("podman exec", Some(0.1), Box::new(exec));
    }
    if let Some(lxd) = lxd {
        lxd.lxc(&["launch", IMAGE, CONTAINER])?;
        let exec = || lxd.timed(&["exec", CONTAINER, "--", "/bin/true"]);
        comparison.beside("lxc exec of LXD", Some(0.3), Box::new(exec));
    }
    comparison.run(ROUNDS, table)?;
    ours.appc(&["stop", CONTAINER])?;
    if let Some(podman) = podman {
        podman.podman("start", &["rm", "--force", "--time", "0", CONTAINER])?;
    }
    if let Some(lxd) = lxd {
        lxd.lxc(&["delete", "--force", CONTAINER])?;
    }
    ours.wait_cleared_up()
}

/// LXD has no command for one shot.
fn launch(lxd: &Lxd) -> anyhow::Result<Duration> {
    Ok(lxd.timed(&["launch", IMAGE, SHOT])? + lxd.timed(&["exec", SHOT, "--", "/bin/true"])?)
}

fn mean(count: u32, start: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let all: Duration = iter::repeat_with(start).take(count as usize).sum::<anyhow::Result<_>>()?;
    Ok(all / count)
}
