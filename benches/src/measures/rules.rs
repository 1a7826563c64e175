//! Changing the rules of containers that run, where ten and where ten thousand other rules are in the firewall.

use std::{fs, time::Duration};

use anyhow::Context as _;
use appcontainers::{
    ContainerName,
    network::{
        ReservationStore, ReserveOptions,
        policy::{Allow, Client, NetworkPolicy, Peer},
    },
    state::{Durability, HostLock},
};
use serde_json::{Value, json};

use crate::{
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::in_turns,
};

const ROUNDS: usize = 30;

/// What an operator is to wait for a rule at most, and for a link.
const RULE: Duration = Duration::from_millis(15);
const LINK: Duration = Duration::from_millis(50);

/// A command, the one that takes it back, and what it may take.
const CHANGES: [(&str, &[&str], &[&str], Duration); 3] = [
    ("`appc allow`", &["allow", "web", "db:80"], &["deny", "web", "db:80"], RULE),
    ("`appc publish`", &["publish", "8080", "db:80"], &["unpublish", "8080", "db"], RULE),
    ("`appc link`", &["link", "web", "store", "db:80"], &["unlink", "web", "store"], LINK),
];

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let many = with_rules(sandbox, "rules-many", 10_000)?;
    let few = with_rules(sandbox, "rules-few", 10)?;
    for (what, change, back, budget) in CHANGES {
        let turn = |installation: &Installation| {
            let time = installation.timed(change)?;
            installation.appc(back)?;
            Ok(time)
        };
        let medians = in_turns(ROUNDS, &mut [Box::new(|| turn(&many)), Box::new(|| turn(&few))])?;
        let what = format!("{what}, live, with 10,000 rules of others");
        let row = |beside, theirs, target| Row {
            what: &what,
            ours: Quantity::Time(medians[0]),
            beside,
            theirs: Quantity::Time(theirs),
            target: Some(target),
        };
        table.add(&row("with 10", medians[1], 1.5));
        table.add(&row("the budget", budget, 1.0));
    }
    for installation in [&many, &few] {
        installation.appc(&["stop", "--all"])?;
    }
    Ok(())
}

/// Two containers that run, and so many rules between others, which are reserved and were never made.
fn with_rules(sandbox: &Sandbox, name: &str, count: usize) -> anyhow::Result<Installation> {
    let installation = Installation::set_up(sandbox, name)?;
    installation.appc(&["base", "build", "busybox"])?;
    let mut held = Vec::with_capacity(count);
    {
        let lock = HostLock::acquire(installation.paths())?;
        let mut store = ReservationStore::open(installation.paths(), &lock)?;
        let options = ReserveOptions { privileged: false, durability: Durability::Volatile };
        for number in 0..count {
            let name: ContainerName = format!("held-{number}").parse()?;
            held.push(store.reserve(&name, options).with_context(|| format!("cannot reserve for {name}"))?);
        }
    }
    for (server, client) in held.iter().zip(held.iter().cycle().skip(1)) {
        let from = Client::Container(Peer::of(client));
        let allow = [Allow { from, port: "80".parse().ok() }].into();
        let mut rules = serde_json::to_value(NetworkPolicy { allow, ..NetworkPolicy::default() })?;
        rules.as_object_mut().context("rules are an object")?.insert("version".to_owned(), json!(1));
        write(&installation, &server.name, &rules)?;
    }
    for name in ["web", "db"] {
        installation.appc(&["provision", "--name", name])?;
        installation.appc(&["start", name])?;
    }
    // Says what of the firewall is not as the files have it, and mends that.
    installation.appc(&["setup"])?;
    Ok(installation)
}

fn write(installation: &Installation, name: &ContainerName, rules: &Value) -> anyhow::Result<()> {
    let directory = installation.paths().container(name);
    fs::create_dir_all(&directory)?;
    Ok(fs::write(directory.join("network.json"), rules.to_string())?)
}
