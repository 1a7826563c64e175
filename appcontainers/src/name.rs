//! Names of containers and images, valid from the moment they exist.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest name, in bytes.
const MAX_BYTES: usize = 63;

/// A string that is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a name: use 1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit")]
pub struct InvalidName {
    text: String,
}

fn check(text: &str) -> Result<(), InvalidName> {
    // Bytes, not characters: thousands of names are checked while a user waits, and nothing beyond ASCII is valid.
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = text.len() <= MAX_BYTES
        && text.as_bytes().first().is_some_and(is_alphanumeric)
        && text.as_bytes().iter().all(|byte| is_alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-'));
    if valid { Ok(()) } else { Err(InvalidName { text: text.to_owned() }) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// Names a container: `[a-z0-9][a-z0-9._-]{0,62}`.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::ContainerName;
    ///
    /// let name: ContainerName = "web-1".parse()?;
    /// assert_eq!(name.as_str(), "web-1");
    /// assert!("../etc".parse::<ContainerName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ContainerName
}

name_type! {
    /// Names an image or a base: `[a-z0-9][a-z0-9._-]{0,62}`.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::ImageName;
    ///
    /// let name: ImageName = "shop_v1.2".parse()?;
    /// assert_eq!(name.as_str(), "shop_v1.2");
    /// assert!("Shop".parse::<ImageName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ImageName
}

name_type! {
    /// Names a process of a container beside its number: as a container's name.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::ProcessName;
    ///
    /// let name: ProcessName = "server".parse()?;
    /// assert_eq!(name.as_str(), "server");
    /// assert!("".parse::<ProcessName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ProcessName
}

name_type! {
    /// Names a secret: as a container's name.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::SecretName;
    ///
    /// let name: SecretName = "db_password".parse()?;
    /// assert_eq!(name.as_str(), "db_password");
    /// assert!("../key".parse::<SecretName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SecretName
}

name_type! {
    /// Names a snapshot of a container: as a container's name.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::SnapshotName;
    ///
    /// let name: SnapshotName = "before-upgrade".parse()?;
    /// assert_eq!(name.as_str(), "before-upgrade");
    /// assert!(".new".parse::<SnapshotName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SnapshotName
}

name_type! {
    /// Names a cursor of [`Hooks`](crate::life::Hooks): as a container's name.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::CursorName;
    ///
    /// assert_eq!("pager".parse::<CursorName>()?.as_str(), "pager");
    /// assert!("../pager".parse::<CursorName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    CursorName
}

name_type! {
    /// Names a volume: as a container's name.
    ///
    /// # Examples
    ///
    /// ```
    /// use appcontainers::VolumeName;
    ///
    /// let name: VolumeName = "data".parse()?;
    /// assert_eq!(name.as_str(), "data");
    /// assert!(".data".parse::<VolumeName>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    VolumeName
}

/// A host name as in RFC 1123: 1 to 63 of `a-z`, `A-Z`, `0-9` and `-`, with no `-` at either end.
///
/// # Examples
///
/// ```
/// use appcontainers::Hostname;
///
/// assert_eq!(Hostname::of(&"my_app.v1".parse()?).as_str(), "my-app-v1");
/// assert!("a_b".parse::<Hostname>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

/// A string that is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host name: use 1 to 63 letters, digits and '-', with no '-' at either end (RFC 1123)")]
pub struct InvalidHostname {
    text: String,
}

impl Hostname {
    /// The host name that a container has unless it is given one: its name with `_` and `.` as `-`.
    pub fn of(container: &ContainerName) -> Self {
        Self(container.as_str().replace(['_', '.'], "-").trim_matches('-').to_owned())
    }

    /// The host name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = InvalidHostname;
    fn from_str(text: &str) -> Result<Self, InvalidHostname> {
        let valid = (1..=MAX_BYTES).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidHostname { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for Hostname {
    type Error = InvalidHostname;
    fn try_from(text: String) -> Result<Self, InvalidHostname> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> String {
        name.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_directory_or_a_line_are_refused() {
        for bad in ["", ".", "..", "a/b", "-a", "A", "ä", "a b", "a\n", "a\0", &"a".repeat(64)] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
        for good in ["a", "0", "web-1", "a.b_c", &"a".repeat(63)] {
            assert_eq!(good.parse::<ContainerName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_name_from_a_file_is_checked_too() {
        assert!(serde_json::from_str::<ImageName>("\"../etc\"").is_err());
    }

    #[test]
    fn a_host_name_has_no_dots_or_underscores() {
        assert_eq!(Hostname::of(&"my_app.v1".parse().unwrap()).as_str(), "my-app-v1");
        assert_eq!(Hostname::of(&"app.".parse().unwrap()).as_str(), "app");
        assert!("a.b".parse::<Hostname>().is_err());
    }
}
