//! `make bench`: this project beside its peers, in one run on one machine.
//!
//! Prints Markdown: one row for each comparison, the medians of both sides, their ratio, and the ratio that is aimed
//! at. Only ratios count: both sides take turns, so what else the machine does hits both. All of it runs in network,
//! mount and pid namespaces of its own, with directories of its own.
//!
//! ```text
//! appcontainers-benches [start|size|images|squashfs|provision|memory|output|gateway]...    all of them unless some are named
//! ```

mod about;
mod app;
mod chain;
mod comparison;
mod debian;
mod host_state;
mod installation;
mod lxc_execute;
mod lxd;
mod measures;
mod missing;
mod podman;
mod room;
mod sandbox;
mod table;
mod timing;

use anyhow::bail;

use crate::{missing::Missing, sandbox::Sandbox, table::Table};

fn main() -> anyhow::Result<()> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    if let Some((chain::ARGUMENT, end)) = named.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return chain::run_end(end);
    }
    if let Some(unknown) = named.iter().find(|name| !measures::ALL.iter().any(|(known, _)| known == name)) {
        bail!("no measure {unknown:?}; there are: {}", measures::ALL.map(|(name, _)| name).join(", "));
    }
    let Some(sandbox) = Sandbox::current()? else { return sandbox::enter(&named) };

    println!("{}", about::machine(&sandbox));
    let mut missing = Missing::default();
    let mut table = Table::begin();
    for (name, measure) in measures::ALL {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            measure(&sandbox, &mut table, &mut missing)?;
        }
    }
    println!("\n{missing}");
    Ok(())
}
