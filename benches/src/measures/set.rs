//! Changing the limits of a container that runs.

use std::time::Duration;

use crate::{
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::in_turns,
};

const ROUNDS: usize = 30;

/// What an operator is to wait for a limit at most.
const BUDGET: Duration = Duration::from_millis(20);

/// Limits and those that take their places.
const CHANGES: [(&str, &[&str], &[&str]); 4] = [
    ("`appc set memory=`", &["memory=64M"], &["memory=65M"]),
    (
        "`appc set cpus= cpuset= pids= io.write=`",
        &["cpus=1", "cpuset=0", "pids=100", "io.write=10M"],
        &["cpus=", "cpuset=", "pids=", "io.write="],
    ),
    ("`appc set nofile=`", &["nofile=100"], &["nofile=101"]),
    ("`appc set net.egress= net.ingress=`", &["net.egress=1M", "net.ingress=1M"], &["net.egress=2M", "net.ingress=2M"]),
];

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let installation = Installation::set_up(sandbox, "limits")?;
    installation.appc(&["base", "build", "busybox"])?;
    installation.appc(&["provision", "--name", "web"])?;
    installation.appc(&["start", "web"])?;
    for (what, change, back) in CHANGES {
        let words = |words: &'static [&'static str]| [&["set", "web"], words].concat();
        let turn = || {
            let time = installation.timed(&words(change))?;
            installation.appc(&words(back))?;
            Ok(time)
        };
        let medians = in_turns(ROUNDS, &mut [Box::new(turn)])?;
        table.add(&Row {
            what: &format!("{what}, live"),
            ours: Quantity::Time(medians[0]),
            beside: "the budget",
            theirs: Quantity::Time(BUDGET),
            target: Some(1.0),
        });
    }
    installation.appc(&["stop", "--all"])?;
    Ok(())
}
