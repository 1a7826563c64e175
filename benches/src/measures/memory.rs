//! What an idle container keeps in the host's memory beside the program in it.

use std::fs;

use anyhow::Context as _;

use crate::{
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
};

/// The marginal cost is that of the second half of these.
const CONTAINERS: usize = 20;

/// The most that the three may take together.
pub(super) const BUDGET_BYTES: f64 = 3.5e6;

/// Proportional set sizes, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) agent: f64,
    pub(super) lxc: f64,
    pub(super) monitor: f64,
}

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let ours = Installation::set_up(sandbox, "memory")?;
    let mut names = Vec::new();
    let mut at_half = Usage::default();
    for number in 0..CONTAINERS {
        if number == CONTAINERS / 2 {
            at_half = usage(&ours, &names)?;
        }
        let name = format!("idle-{number}");
        ours.appc(&["provision", "--name", &name])?;
        ours.appc(&["start", &name])?;
        names.push(name);
    }
    let all = usage(&ours, &names)?;
    for name in &names {
        ours.appc(&["rm", "-f", name])?;
    }
    ours.wait_cleared_up()?;
    let marginal = |part: fn(&Usage) -> f64| (part(&all) - part(&at_half)) / (CONTAINERS / 2) as f64;
    let theirs = Quantity::Bytes(BUDGET_BYTES);
    let mut add = |what, part, target| {
        let ours = Quantity::Bytes(marginal(part));
        table.add(&Row { what, ours, beside: "the budget for all three", theirs, target });
    };
    add("marginal PSS of an idle container at 20: agent", |usage| usage.agent, None);
    add("… our monitor", |usage| usage.monitor, None);
    add("… LXC's monitor", |usage| usage.lxc, None);
    add("… together", |usage| usage.agent + usage.monitor + usage.lxc, Some(1.0));
    Ok(())
}

/// What these containers' processes take together.
pub(super) fn usage(installation: &Installation, containers: &[String]) -> anyhow::Result<Usage> {
    containers.iter().try_fold(Usage::default(), |sum, name| {
        let processes = installation.processes(name)?;
        Ok(Usage {
            agent: sum.agent + pss(processes.agent)?,
            lxc: sum.lxc + pss(processes.lxc)?,
            monitor: sum.monitor + pss(processes.monitor)?,
        })
    })
}

fn pss(pid: u64) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map(|kib: f64| kib * 1024.0).with_context(|| format!("no Pss in {path}"))
}
