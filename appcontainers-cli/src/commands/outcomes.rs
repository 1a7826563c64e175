//! What became of several containers: those that failed, each with its reason.

use anyhow::bail;
use appcontainers::Outcome;

use crate::{failure, stdio};

/// Says why containers did not do what `verb` asked of them, one line each; an error if there were any.
pub(super) fn report(verb: &str, outcomes: Vec<Outcome>) -> anyhow::Result<()> {
    let (mut failed, all) = (0, outcomes.len());
    for Outcome { name, result } in outcomes {
        if let Err(error) = result {
            failed += 1;
            stdio::note(&format!("cannot {verb} {name}: {}", failure::one_line(&error.into())));
        }
    }
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {all} containers did not {verb}"),
    }
}
