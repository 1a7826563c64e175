//! What a container is given of a secret: which, where, and who may read it there.

use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{FileMode, InsidePath, InvalidInside, InvalidName, SecretName, inside::check_owner};

/// Where secrets are in a container unless it is said otherwise.
pub const SECRETS_DIRECTORY: &str = "/run/secrets";

/// A secret that a container is given. As text: `NAME[:PATH[:MODE[:OWNER]]]`.
///
/// # Examples
///
/// ```
/// use appcontainers::SecretGrant;
///
/// let grant: SecretGrant = "db".parse()?;
/// assert_eq!(grant.to_string(), "db:/run/secrets/db:0400:root");
/// let grant: SecretGrant = "tls:/etc/app/key.pem:0440:app:www".parse()?;
/// assert_eq!(grant.owner, "app:www");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    /// Which.
    pub name: SecretName,
    /// The file that it is in the container: in `/run/secrets`, or anywhere else, one file alone.
    pub path: InsidePath,
    /// That file's permissions.
    pub mode: FileMode,
    /// That file's owner, by the container's own names and numbers: `USER[:GROUP]`.
    pub owner: String,
}

/// A text that is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidGrant {
    /// The secret's name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The path, the mode or the owner.
    #[error(transparent)]
    Inside(#[from] InvalidInside),
    /// A path in a directory below `/run/secrets`, or that directory itself.
    #[error("{path} can't be: {SECRETS_DIRECTORY} has no directories; use {SECRETS_DIRECTORY}/NAME, or another place")]
    Below {
        /// The path.
        path: InsidePath,
    },
}

impl SecretGrant {
    /// `name` at its usual place: `/run/secrets/NAME`, for the container's root alone to read.
    pub fn usual(name: SecretName) -> Result<Self, InvalidGrant> {
        let path = format!("{SECRETS_DIRECTORY}/{name}").parse()?;
        Ok(Self { name, path, mode: FileMode::OWNER_READS, owner: "root".to_owned() })
    }

    /// Whether it is seen in `/run/secrets`.
    pub(super) fn is_shown(&self) -> bool {
        self.path.as_path().parent() == Some(Path::new(SECRETS_DIRECTORY))
    }

    /// The name of its file among those of its kind.
    pub(super) fn file_name(&self) -> &str {
        let name = self.path.as_path().file_name().and_then(|name| name.to_str()).filter(|_| self.is_shown());
        name.unwrap_or(self.name.as_str())
    }
}

impl FromStr for SecretGrant {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let mut parts = text.splitn(4, ':');
        let mut grant = Self::usual(parts.next().unwrap_or_default().parse()?)?;
        if let Some(path) = parts.next().filter(|path| !path.is_empty()) {
            grant.path = path.parse()?;
        }
        if let Some(mode) = parts.next().filter(|mode| !mode.is_empty()) {
            grant.mode = mode.parse()?;
        }
        if let Some(owner) = parts.next() {
            check_owner(owner)?;
            grant.owner = owner.to_owned();
        }
        if grant.path.as_path().starts_with(SECRETS_DIRECTORY) && !grant.is_shown() {
            return Err(InvalidGrant::Below { path: grant.path });
        }
        Ok(grant)
    }
}

impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.name, self.path, self.mode, self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_usual() {
        for (text, whole) in [
            ("db", "db:/run/secrets/db:0400:root"),
            ("db:/etc/key", "db:/etc/key:0400:root"),
            ("db::0440", "db:/run/secrets/db:0440:root"),
            ("db:::app", "db:/run/secrets/db:0400:app"),
            ("db:/run/secrets/other:0444:1:2", "db:/run/secrets/other:0444:1:2"),
        ] {
            assert_eq!(text.parse::<SecretGrant>().unwrap().to_string(), whole, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "",
            "DB",
            "../x",
            "db:key",
            "db:/a/../b",
            "db:/proc/x",
            "db:/run/secrets",
            "db:/run/secrets/a/b",
            "db:/a:9",
            "db:/a:4755",
            "db:/a:400:",
            "db:/a:400:a:b:c",
        ] {
            assert!(bad.parse::<SecretGrant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_of_its_own_is_named_by_its_secret() {
        let name = |text: &str| text.parse::<SecretGrant>().unwrap().file_name().to_owned();
        assert_eq!([name("a:/run/secrets/b"), name("a:/etc/b")], ["b", "a"]);
    }
}
