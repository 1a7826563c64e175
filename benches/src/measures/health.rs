//! What looking at a container's health costs: processor time for one check, held against what may be used if there is one a second.

use std::{fs, thread, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
};

/// Between two checks here: more of them in the same time.
const INTERVAL_MS: u32 = 100;

/// How many checks are measured.
const CHECKS: u32 = 150;

/// Of one processor, if there is a check a second.
const MOST_FOR_COMMAND: Duration = Duration::from_micros(5000);
const MOST_FOR_TCP: Duration = Duration::from_micros(500);

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let ours = Installation::set_up(sandbox, "health")?;
    ours.appc(&["provision", "--name", "checked", "--health-interval", "100ms", "--health-cmd", "true"])?;
    ours.appc(&["-c", "checked", "startup-command", "add", "exec httpd -f -p 80"])?;
    ours.appc(&["start", "checked", "--wait", "healthy"])?;
    // A port's answer is the container's own work: of that, the monitor's time is what counts.
    for (what, probe, most, counts_inside) in [
        ("processor time of a health check by command", ["--health-cmd", "true"], MOST_FOR_COMMAND, true),
        ("… by TCP", ["--health-tcp", "80"], MOST_FOR_TCP, false),
        ("… by HTTP", ["--health-http", "80/"], MOST_FOR_COMMAND, false),
    ] {
        ours.appc(&["set", "checked", probe[0], probe[1]])?;
        // `/` is not there to be listed: what is answered is not the point of it.
        let before = used(&ours, counts_inside)?;
        thread::sleep(Duration::from_millis(u64::from(INTERVAL_MS * CHECKS)));
        let time = used(&ours, counts_inside)?.saturating_sub(before) / CHECKS;
        let (ours, theirs) = (Quantity::Time(time), Quantity::Time(most));
        table.add(&Row { what, ours, beside: "the budget for one a second", theirs, target: Some(1.0) });
    }
    ours.appc(&["rm", "-f", "checked"])?;
    ours.wait_cleared_up()
}

/// What the monitor has used and, if that counts, all that is in the container.
fn used(installation: &Installation, counts_inside: bool) -> anyhow::Result<Duration> {
    let monitor = installation.processes("checked")?.monitor;
    let path = format!("/proc/{monitor}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let monitor: u64 =
        text.split_ascii_whitespace().next().and_then(|time| time.parse().ok()).context("no time in it")?;
    if !counts_inside {
        return Ok(Duration::from_nanos(monitor));
    }
    let stats: Value = serde_json::from_str(&installation.appc(&["stats", "checked", "--json"])?)?;
    let inside = stats[0]["cpu"]["usage_ns"].as_u64().context("the host counts no processor time")?;
    Ok(Duration::from_nanos(monitor + inside))
}
