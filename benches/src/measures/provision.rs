//! Provisioning where ten and where ten thousand containers hold reservations.

use std::time::Duration;

use anyhow::Context as _;
use appcontainers::{
    ContainerName,
    network::{ReservationStore, ReserveOptions},
    state::{Durability, HostLock},
};

use crate::{
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::in_turns,
};

const ROUNDS: usize = 30;

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let many = with_reservations(sandbox, "provision-many", 10_000)?;
    let few = with_reservations(sandbox, "provision-few", 10)?;
    let medians = in_turns(ROUNDS, &mut [Box::new(|| provision(&many)), Box::new(|| provision(&few))])?;
    table.add(&Row {
        what: "`provision` with 10,000 reservations held",
        ours: Quantity::Time(medians[0]),
        beside: "with 10",
        theirs: Quantity::Time(medians[1]),
        target: Some(1.5),
    });
    Ok(())
}

fn provision(installation: &Installation) -> anyhow::Result<Duration> {
    let time = installation.timed(&["provision", "--name", "new"])?;
    installation.appc(&["rm", "new"])?;
    Ok(time)
}

/// An installation in which so many containers are reserved that were never made.
fn with_reservations(sandbox: &Sandbox, name: &str, count: usize) -> anyhow::Result<Installation> {
    let installation = Installation::set_up(sandbox, name)?;
    installation.appc(&["base", "build", "busybox"])?;
    let lock = HostLock::acquire(installation.paths())?;
    let mut store = ReservationStore::open(installation.paths(), &lock)?;
    let options = ReserveOptions { privileged: false, durability: Durability::Volatile };
    for number in 0..count {
        let name: ContainerName = format!("held-{number}").parse()?;
        store.reserve(&name, options).with_context(|| format!("cannot reserve for {name}"))?;
    }
    Ok(installation)
}
