//! What one check found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Fit,
    /// Containers run, but something is less than it could be.
    Warning,
    /// Containers don't run, or not safely.
    Unfit,
}

/// One thing that was looked at.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, Service, Verdict};
///
/// for check in Service::open(Paths::from_env()?).doctor() {
///     if check.verdict != Verdict::Fit {
///         println!("{}: {}; {}", check.name, check.detail, check.mend.unwrap_or_default());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: one short word or two with a `-`.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, on one line.
    pub detail: String,
    /// What to do about it, if there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    pub(super) fn fit(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fit, detail: detail.into(), mend: None }
    }

    pub(super) fn warning(name: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, detail: detail.into(), mend: Some(mend.into()) }
    }

    pub(super) fn unfit(name: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Unfit, detail: detail.into(), mend: Some(mend.into()) }
    }
}
