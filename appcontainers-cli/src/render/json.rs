//! Values for programs: `docs/json.md` describes them.

use anyhow::Context as _;
use serde::Serialize;

/// `value` as indented JSON with a line end.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("cannot write the result as JSON")?;
    Ok(text + "\n")
}
