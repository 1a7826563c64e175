//! One shot: from the shell's fork to the exit of `true` in a new, confined, addressed container.

use std::{path::PathBuf, process::Command};

use crate::{
    installation::Installation,
    lxc_execute::LxcExecute,
    missing::Missing,
    podman::Podman,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::{Contender, in_turns, output},
};

const ROUNDS: usize = 30;

/// So many starts, one right after the other, count with their teardown.
const IN_A_ROW: u32 = 20;

const IMAGE: &str = "app";

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let ours = Installation::set_up(sandbox, "start")?;
    make_image(sandbox, &ours)?;
    // Stays for its address and ids, which the peer uses.
    ours.appc(&["load-image", IMAGE, "--name", "model"])?;
    ours.appc(&["start", "model"])?;
    let lxc =
        if missing.has("lxc-execute", "lxc") { Some(LxcExecute::modelled_on(sandbox, &ours, "model")?) } else { None };
    let podman = if missing.has("podman", "podman") {
        let podman = Podman::set_up(sandbox)?;
        podman.import("start", &tar_of(sandbox, &ours, "model")?, IMAGE)?;
        Some(podman)
    } else {
        None
    };
    ours.appc(&["stop", "model"])?;
    ours.wait_cleared_up()?;

    let mut contenders: Vec<Contender<'_>> = vec![Box::new(|| ours.time_start(IMAGE))];
    let mut peers = Vec::new();
    if let Some(lxc) = &lxc {
        contenders.push(Box::new(|| lxc.time_start()));
        peers.push(("lxc-execute, the same configuration", 0.8));
    }
    if let Some(podman) = &podman {
        contenders.push(Box::new(|| podman.time_run("start", &["--rm", IMAGE, "/bin/true"])));
        peers.push(("podman run --rm, its bridge", 0.12));
    }
    let medians = in_turns(ROUNDS, &mut contenders)?;
    for ((beside, target), theirs) in peers.iter().zip(&medians[1..]) {
        table.add(&Row {
            what: "`appc run --rm --image NAME -- true`",
            ours: Quantity::Time(medians[0]),
            beside,
            theirs: Quantity::Time(*theirs),
            target: Some(*target),
        });
    }
    if let Some(lxc) = &lxc {
        in_a_row(&ours, lxc, table)?;
    }
    if let Some(podman) = &podman {
        in_running(&ours, podman, table)?;
    }
    Ok(())
}

/// A command in a container that runs already.
fn in_running(ours: &Installation, podman: &Podman, table: &mut Table) -> anyhow::Result<()> {
    ours.appc(&["start", "model"])?;
    podman.time_run("start", &["--detach", "--name", "model", IMAGE, "/bin/sleep", "600"])?;
    let ours_in_running = || ours.timed(&["-c", "model", "run", "--", "true"]);
    let theirs_in_running = || podman.timed("start", &["exec", "model", "/bin/true"]);
    let medians = in_turns(ROUNDS, &mut [Box::new(ours_in_running), Box::new(theirs_in_running)])?;
    ours.appc(&["stop", "model"])?;
    podman.podman("start", &["rm", "--force", "--time", "0", "model"])?;
    ours.wait_cleared_up()?;
    table.add(&Row {
        what: "`appc -c NAME run -- true` in a container that runs",
        ours: Quantity::Time(medians[0]),
        beside: "podman exec",
        theirs: Quantity::Time(medians[1]),
        target: None,
    });
    Ok(())
}

/// Our answer comes before the teardown: this shows what a start costs the machine, not the one who waits for it.
fn in_a_row(ours: &Installation, lxc: &LxcExecute, table: &mut Table) -> anyhow::Result<()> {
    let ours_in_a_row = || {
        let begin = std::time::Instant::now();
        for _ in 0..IN_A_ROW {
            ours.timed(&["run", "--rm", "--image", IMAGE, "--", "true"])?;
        }
        ours.wait_cleared_up()?;
        Ok(begin.elapsed() / IN_A_ROW)
    };
    let theirs_in_a_row = || {
        (0..IN_A_ROW)
            .map(|_| lxc.time_start())
            .sum::<anyhow::Result<_>>()
            .map(|all: std::time::Duration| all / IN_A_ROW)
    };
    let medians = in_turns(5, &mut [Box::new(ours_in_a_row), Box::new(theirs_in_a_row)])?;
    table.add(&Row {
        what: "the same, 20 in a row with all teardown, each",
        ours: Quantity::Time(medians[0]),
        beside: "lxc-execute, the same configuration",
        theirs: Quantity::Time(medians[1]),
        target: None,
    });
    Ok(())
}

/// An image as a user makes it: a base and a layer of changes, loaded from its file.
fn make_image(sandbox: &Sandbox, ours: &Installation) -> anyhow::Result<()> {
    let file = sandbox.base.join("app.aimg").to_string_lossy().into_owned();
    ours.appc(&["provision", "--name", "maker"])?;
    ours.appc(&["-c", "maker", "run", "--", "sh", "-c", "echo app > /root/app"])?;
    ours.appc(&["-c", "maker", "save-image", &file, "--name", IMAGE])?;
    ours.appc(&["load-image", &file, "--name", "loaded"])?;
    for container in ["maker", "loaded"] {
        ours.appc(&["rm", container])?;
    }
    Ok(())
}

/// The files of a running container as a tar, all of them root's.
fn tar_of(sandbox: &Sandbox, ours: &Installation, container: &str) -> anyhow::Result<PathBuf> {
    let tar = sandbox.base.join("app.tar");
    let root = format!("/proc/{}/root", ours.processes(container)?.agent);
    let mut command = Command::new("tar");
    command.args(["--one-file-system", "--owner=0", "--group=0", "-C", &root, "-cf"]).arg(&tar).arg(".");
    output(&mut command)?;
    Ok(tar)
}
