//! Whether the secrets that there are can be used.

use super::Check;
use crate::{Paths, error::chain, secret};

/// The check, where there are secrets.
pub(super) fn check(paths: &Paths) -> Option<Check> {
    const NAME: &str = "secrets";
    const MEND: &str = "put the key back from a backup; containers that are given a secret do not start without it";
    match secret::unusable(paths) {
        Ok((0, errors)) if errors.is_empty() => None,
        Ok((count, errors)) => Some(match errors.first() {
            None => Check::fit(NAME, format!("{count}, key {}", secret::key_holder(paths).display())),
            Some(error) => Check::unfit(NAME, chain(error), MEND),
        }),
        Err(error) => Some(Check::unfit(NAME, chain(&error), MEND)),
    }
}
