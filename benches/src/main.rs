//! `make bench`: this project beside its peers, in one run on one machine.
//!
//! Prints Markdown: one row for each comparison, the medians of both sides, their ratio, and the ratio that is aimed
//! at. Only ratios count: both sides take turns, so what else the machine does hits both. All of it runs in network,
//! mount and pid namespaces of its own, with directories of its own.
//!
//! ```text
//! appcontainers-benches [start|size|images|snapshot|build|squashfs|provision|memory|output|gateway|network|rules|set|health]...    all unless some are named
//! appcontainers-benches scale    too long for all of them
//! ```

mod about;
mod app;
mod bare;
mod chain;
mod comparison;
mod debian;
mod host_state;
mod installation;
mod lxc_execute;
mod lxd;
mod measures;
mod missing;
mod ping_pong;
mod podman;
mod room;
mod sandbox;
mod table;
mod timing;

use anyhow::bail;

use crate::{missing::Missing, sandbox::Sandbox, table::Table};

fn main() -> anyhow::Result<()> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    match named.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some((chain::ARGUMENT, end)) => return chain::run_end(end),
        Some((ping_pong::ARGUMENT, end)) => return ping_pong::run_end(end),
        _ => {}
    }
    let known: Vec<_> = measures::ALL.iter().chain(&measures::LONG).collect();
    if let Some(unknown) = named.iter().find(|name| !known.iter().any(|(known, _)| known == name)) {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        bail!("no measure {unknown:?}; there are: {}", names.join(", "));
    }
    let Some(sandbox) = Sandbox::current()? else { return sandbox::enter(&named) };

    println!("{}", about::machine(&sandbox));
    let mut missing = Missing::default();
    let mut table = Table::begin();
    for (name, measure) in known {
        let is_long = measures::LONG.iter().any(|(long, _)| long == name);
        if named.iter().any(|wanted| wanted == name) || (named.is_empty() && !is_long) {
            measure(&sandbox, &mut table, &mut missing)?;
        }
    }
    println!("\n{missing}");
    Ok(())
}
