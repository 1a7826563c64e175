//! Where something is put in a container, and with which permissions: in the words of a command line, checked once.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// The kernel's and the agent's in every container: nothing is put there.
pub(crate) const RESERVED: &[&str] = &["/dev/.appc", "/proc", "/sys"];

/// Longest path, in bytes (`PATH_MAX`, with its end).
const MAX_BYTES: usize = 4095;

/// What can't be a place in a container, or permissions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInside {
    /// A path that is relative, or leads upwards, or can't be written down.
    #[error(
        "{text:?} is no path in a container: use an absolute one without '..' and control characters, as /etc/app.conf"
    )]
    Path {
        /// What was said.
        text: String,
    },
    /// A path of the kernel's, or of this program's.
    #[error("{text:?} is the kernel's or the agent's in every container: choose another place")]
    Taken {
        /// What was said.
        text: String,
    },
    /// Not octal, or more than permissions.
    #[error("{text:?} is no mode: use octal digits, 0 to 0777, as 0640")]
    Mode {
        /// What was said.
        text: String,
    },
    /// No user, or no group.
    #[error("{text:?} is no owner: use USER, USER:GROUP or numbers, as app:www or 1000:1000")]
    Owner {
        /// What was said.
        text: String,
    },
}

/// A file's path in a container: absolute, not `/` itself, without `.` and `..`.
///
/// # Examples
///
/// ```
/// use appcontainers::InsidePath;
///
/// let path: InsidePath = "/etc//app/./app.conf".parse()?;
/// assert_eq!(path.to_string(), "/etc/app/app.conf");
/// assert!("../shadow".parse::<InsidePath>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InsidePath(PathBuf);

impl InsidePath {
    /// As a path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Without the leading `/`.
    pub fn relative(&self) -> &Path {
        self.0.strip_prefix("/").unwrap_or(&self.0)
    }
}

impl FromStr for InsidePath {
    type Err = InvalidInside;

    fn from_str(text: &str) -> Result<Self, InvalidInside> {
        let bad = || InvalidInside::Path { text: text.to_owned() };
        let path = Path::new(text);
        let is_plain = |part| matches!(part, Component::RootDir | Component::CurDir | Component::Normal(_));
        let has_no_end = path.file_name().is_none() || text.ends_with('/');
        if !path.is_absolute() || has_no_end || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return Err(bad());
        }
        if !path.components().all(is_plain) {
            return Err(bad());
        }
        let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        if RESERVED.iter().any(|top| path.starts_with(top)) {
            return Err(InvalidInside::Taken { text: text.to_owned() });
        }
        Ok(Self(path))
    }
}

impl TryFrom<String> for InsidePath {
    type Error = InvalidInside;

    fn try_from(text: String) -> Result<Self, InvalidInside> {
        text.parse()
    }
}

impl From<InsidePath> for String {
    fn from(path: InsidePath) -> String {
        path.to_string()
    }
}

impl fmt::Display for InsidePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It came from text.
        write!(f, "{}", self.0.display())
    }
}

/// A file's permissions, at most 0777. In JSON as text, `"0640"`.
///
/// # Examples
///
/// ```
/// use appcontainers::FileMode;
///
/// let mode: FileMode = "640".parse()?;
/// assert_eq!((mode.bits(), mode.to_string().as_str()), (0o640, "0640"));
/// assert!("4755".parse::<FileMode>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// For its owner to read, and for nobody else.
    pub const OWNER_READS: FileMode = FileMode(0o400);

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = InvalidInside;

    fn from_str(text: &str) -> Result<Self, InvalidInside> {
        let is_octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= 0o777);
        bits.map(Self).ok_or_else(|| InvalidInside::Mode { text: text.to_owned() })
    }
}

impl TryFrom<String> for FileMode {
    type Error = InvalidInside;

    fn try_from(text: String) -> Result<Self, InvalidInside> {
        text.parse()
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> String {
        mode.to_string()
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Whether this can name a user, or a user and a group. Whether they are there, the container knows.
pub(crate) fn check_owner(text: &str) -> Result<(), InvalidInside> {
    let bad = || InvalidInside::Owner { text: text.to_owned() };
    let mut parts = text.split(':');
    let is_name = |part: &str| {
        !part.is_empty() && part.len() <= 255 && !part.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/')
    };
    let is_id = |part: &str| !part.bytes().all(|byte| byte.is_ascii_digit()) || part.parse::<u32>().is_ok();
    if parts.clone().count() > 2 || !parts.all(|part| is_name(part) && is_id(part)) {
        return Err(bad());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_relative_or_leads_upwards_is_none() {
        for bad in ["", "/", "a", "a/b", "../a", "/a/../b", "/..", "/a/", "/a\nb", "/a/.."] {
            assert!(matches!(bad.parse::<InsidePath>(), Err(InvalidInside::Path { .. })), "{bad:?}");
        }
        for taken in ["/proc/1/x", "/sys/x", "/dev/.appc/agent"] {
            assert!(matches!(taken.parse::<InsidePath>(), Err(InvalidInside::Taken { .. })), "{taken:?}");
        }
        let path: InsidePath = "//a/./b c".parse().unwrap();
        assert_eq!((path.to_string().as_str(), path.relative()), ("/a/b c", Path::new("a/b c")));
    }

    #[test]
    fn a_mode_is_octal_and_grants_no_rights() {
        for (text, bits) in [("0", 0), ("400", 0o400), ("0400", 0o400), ("777", 0o777)] {
            assert_eq!(text.parse::<FileMode>().unwrap().bits(), bits, "{text}");
        }
        for bad in ["", "8", "0o400", "+400", "-1", "1777", "4755", "00400", "rw"] {
            assert!(bad.parse::<FileMode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_owner_is_one_or_two_names_or_numbers() {
        for good in ["root", "0", "app:www", "1000:1000", "app:0"] {
            assert_eq!(check_owner(good), Ok(()), "{good}");
        }
        for bad in ["", ":", "a:", ":b", "a:b:c", "a b", "99999999999", "a/b", "a\nb"] {
            assert!(check_owner(bad).is_err(), "{bad}");
        }
    }
}
