//! Cells of what containers use.

use appcontainers::stats::Pids;

/// `2.5 %`, of one processor.
pub(crate) fn percent(percent: f64) -> String {
    format!("{percent:.1} %")
}

/// `3/4096`, or without a limit `3`.
pub(crate) fn pids(pids: Pids) -> String {
    match pids.limit {
        Some(limit) => format!("{}/{limit}", pids.current),
        None => pids.current.to_string(),
    }
}
