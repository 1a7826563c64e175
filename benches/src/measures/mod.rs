//! The comparisons, one file a subject. Each adds its rows.

mod build;
mod gateway;
mod health;
mod images;
mod memory;
mod network;
mod output;
mod provision;
mod rules;
mod scale;
mod set;
mod size;
mod snapshot;
mod squashfs;
mod start;

use crate::{missing::Missing, sandbox::Sandbox, table::Table};

/// Adds a subject's rows; rows whose peer is not there are left out, and the peer is noted.
type Measure = fn(&Sandbox, &mut Table, &mut Missing) -> anyhow::Result<()>;

/// All subjects by name, in the order in which they are measured.
pub(crate) const ALL: &[(&str, Measure)] = &[
    ("start", start::measure),
    ("size", size::measure),
    ("images", images::measure),
    ("snapshot", snapshot::measure),
    ("build", build::measure),
    ("squashfs", squashfs::measure),
    ("provision", provision::measure),
    ("memory", memory::measure),
    ("output", output::measure),
    ("health", health::measure),
    ("gateway", gateway::measure),
    ("network", network::measure),
    ("rules", rules::measure),
    ("set", set::measure),
];

/// Those that are measured only when they are named: they fill the machine.
pub(crate) const LONG: [(&str, Measure); 1] = [("scale", scale::measure)];
