//! Restarts that are due and for which nobody waits.

use std::fs;

use super::Check;
use crate::{ContainerName, Paths, life::LifeState, runtime::boot};

const NAME: &str = "restarts";

/// Containers that are to be started again, and whose waiting process was killed; nothing where there are none.
pub(super) fn restarts(paths: &Paths) -> Option<Check> {
    let entries = fs::read_dir(paths.containers()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerName>().ok());
    let is_left = |name: &ContainerName| {
        let state = LifeState::load(paths, name).ok().flatten();
        state.and_then(|state| state.next).is_some_and(|next| next.boot == boot::id() && !next.is_awaited())
    };
    let mut left: Vec<String> = names.filter(is_left).map(String::from).collect();
    if left.is_empty() {
        return None;
    }
    left.sort();
    let detail = format!("nobody waits any more to start these again: {}", left.join(", "));
    Some(Check::warning(NAME, detail, "run: appc gc"))
}
