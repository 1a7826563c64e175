//! Values for programs: `docs/json.md` describes them.

use anyhow::Context as _;
use serde::Serialize;

/// `value` as indented JSON with a line end.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("cannot write the result as JSON")?;
    Ok(text + "\n")
}

/// `value` as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string(value).context("cannot write the result as JSON")?;
    Ok(text + "\n")
}

/// Asserts that `value` has the fields that `docs/json.md` shows under `heading`, no more and no fewer.
#[cfg(test)]
pub(crate) fn assert_documented(heading: &str, value: &impl Serialize) {
    let page = include_str!("../../../docs/json.md");
    let section = page.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("docs/json.md has no section {heading:?}"));
    let block = section.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let shown: serde_json::Value = serde_json::from_str(block.unwrap_or_default()).unwrap();
    let printed = serde_json::to_value(value).unwrap();
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&printed), fields(&shown), "docs/json.md, {heading}");
}
