//! The path that is asked for to find out whether a container is well.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const MAX_BYTES: usize = 1024;

/// A path of a URL, with or without a query: `/`, then visible ASCII characters other than braces, in which Caddy would look for
/// placeholders.
///
/// # Examples
///
/// ```
/// use appcontainers::gateway::HealthPath;
///
/// assert_eq!("/healthz?deep=1".parse::<HealthPath>()?.as_str(), "/healthz?deep=1");
/// assert!("healthz".parse::<HealthPath>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HealthPath(String);

/// A text that is no such path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a path to ask for; use one that begins with '/' and has no blanks, braces or '#', as /healthz"
)]
pub struct InvalidHealthPath {
    text: String,
}

impl HealthPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HealthPath {
    type Err = InvalidHealthPath;
    fn from_str(text: &str) -> Result<Self, InvalidHealthPath> {
        let valid = text.len() <= MAX_BYTES
            && text.starts_with('/')
            && !text.starts_with("//")
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}#\\\"".contains(&byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidHealthPath { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for HealthPath {
    type Error = InvalidHealthPath;
    fn try_from(text: String) -> Result<Self, InvalidHealthPath> {
        text.parse()
    }
}

impl From<HealthPath> for String {
    fn from(path: HealthPath) -> String {
        path.0
    }
}

impl fmt::Display for HealthPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_no_blank_and_no_placeholder() {
        for bad in
            ["", "a", "//host/a", "/a b", "/a\r\nX: 1", "/{env.HOME}", "/ä", "/a#b", &format!("/{}", "a".repeat(1024))]
        {
            assert!(bad.parse::<HealthPath>().is_err(), "{bad:?}");
        }
    }
}
