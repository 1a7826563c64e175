//! What is mounted into a container beyond its image: volumes, and files and directories of the host. Values alone; who mounts
//! them is [`crate::runtime`].

mod error;

use std::{
    fmt, io,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

pub use error::MountError;

use crate::{ContainerName, InvalidName, VolumeName, inside::RESERVED};

/// A container with more mounts than this would start slowly for no use.
pub const MAX_MOUNTS: usize = 256;

/// One thing that is mounted into a container.
///
/// # Examples
///
/// ```
/// use appcontainers::{Mount, MountSource};
///
/// let mount = Mount::volume("data:/var/lib/app")?;
/// assert_eq!(mount.source, MountSource::Volume("data".parse()?));
/// let mount = Mount::bind("/srv/site:/var/www:ro")?;
/// assert!(mount.read_only && mount.path.as_str() == "/var/www");
/// assert!(Mount::bind("/srv/site:/proc/x").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    #[serde(flatten)]
    pub source: MountSource,
    /// Where, in the container.
    pub path: MountPath,
    /// Whether nobody in the container can write to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A directory or a file of the host's, by its absolute path.
    Bind(PathBuf),
    /// A volume.
    Volume(VolumeName),
}

/// An absolute path in a container at which something may be mounted: without `.` and `..`, no control character in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPath(String);

/// Text that says no mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMount {
    /// It has not the parts that it must have.
    #[error("{text:?} is no mount: use {form}")]
    Form {
        /// What was said.
        text: String,
        /// What should be.
        form: &'static str,
    },
    /// A path in the container at which nothing can be mounted.
    #[error("nothing can be mounted at {text:?} in a container: {why}")]
    Path {
        /// The path.
        text: String,
        /// Why not.
        why: &'static str,
    },
    /// A volume's name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl Mount {
    /// `SRC:PATH[:ro]`: a file or directory of the host's. The source is taken as it stands: [`crate::Container::mount`] and its
    /// like make it absolute and follow its links, once.
    pub fn bind(text: &str) -> Result<Self, InvalidMount> {
        const FORM: &str = "SRC:PATH[:ro], as /srv/site:/var/www:ro";
        let (source, path, read_only) = split(text, FORM)?;
        Ok(Self { source: MountSource::Bind(source.into()), path, read_only })
    }

    /// `NAME:PATH[:ro]`: a volume.
    pub fn volume(text: &str) -> Result<Self, InvalidMount> {
        const FORM: &str = "NAME:PATH[:ro], as data:/var/lib/app";
        let (source, path, read_only) = split(text, FORM)?;
        Ok(Self { source: MountSource::Volume(source.parse()?), path, read_only })
    }

    /// With its source as it is kept: absolute, and no symbolic link in it. It is never followed again: whoever may write
    /// beside it could else show the container another one at its next start.
    pub(crate) fn resolved(self) -> Result<Self, MountError> {
        let MountSource::Bind(path) = &self.source else { return Ok(self) };
        let no_source = |source| MountError::NoSource { path: path.clone(), source };
        let real = path.canonicalize().map_err(no_source)?;
        let kind = real.metadata().map_err(no_source)?.file_type();
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_block_device() || kind.is_char_device() {
            return Err(no_source(io::Error::other("it is a device, which no container can use there")));
        }
        match real.to_str() {
            Some(text) if !text.chars().any(char::is_control) => {}
            _ => return Err(MountError::BadSource { path: real }),
        }
        Ok(Self { source: MountSource::Bind(real), ..self })
    }

    /// The volume that is mounted, if it is one.
    pub fn volume_name(&self) -> Option<&VolumeName> {
        match &self.source {
            MountSource::Volume(name) => Some(name),
            MountSource::Bind(_) => None,
        }
    }
}

/// An error if two of a container's mounts have one place.
pub(crate) fn check_all(name: &ContainerName, mounts: &[Mount]) -> Result<(), MountError> {
    if mounts.len() > MAX_MOUNTS {
        return Err(MountError::TooMany);
    }
    for (position, mount) in mounts.iter().enumerate() {
        if mounts.iter().take(position).any(|other| other.path == mount.path) {
            let path = mount.path.clone();
            return Err(MountError::Taken { name: name.clone(), other: path.clone(), path });
        }
    }
    Ok(())
}

fn split<'a>(text: &'a str, form: &'static str) -> Result<(&'a str, MountPath, bool), InvalidMount> {
    let wrong = || InvalidMount::Form { text: text.to_owned(), form };
    let (rest, read_only) = match text.rsplit_once(':') {
        Some((rest, "ro")) => (rest, true),
        Some((rest, "rw")) => (rest, false),
        _ => (text, false),
    };
    let (source, path) = rest.rsplit_once(':').ok_or_else(wrong)?;
    if source.is_empty() || !path.starts_with('/') {
        return Err(wrong());
    }
    Ok((source, path.parse()?, read_only))
}

impl MountPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for MountPath {
    type Err = InvalidMount;
    fn from_str(text: &str) -> Result<Self, InvalidMount> {
        let bad = |why| Err(InvalidMount::Path { text: text.to_owned(), why });
        if !text.starts_with('/') {
            return bad("the path must be absolute");
        }
        if text.chars().any(char::is_control) || text.len() > 1024 {
            return bad("it holds a control character, or is too long");
        }
        let is_plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
        // `components` leaves `.` out.
        let has_dots = text.split('/').any(|name| name == ".");
        if has_dots || !Path::new(text).components().all(is_plain) {
            return bad("the path must have no '.' and no '..'");
        }
        let clean = text.split('/').filter(|name| !name.is_empty()).fold(String::new(), |path, name| path + "/" + name);
        if clean.is_empty()
            || clean == "/dev"
            || RESERVED.iter().any(|reserved| Path::new(&clean).starts_with(reserved))
        {
            return bad("what is there belongs to the kernel, to the agent, or is all there is");
        }
        Ok(Self(clean))
    }
}

impl TryFrom<String> for MountPath {
    type Error = InvalidMount;
    fn try_from(text: String) -> Result<Self, InvalidMount> {
        text.parse()
    }
}

impl From<MountPath> for String {
    fn from(path: MountPath) -> String {
        path.0
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountSource::Bind(path) => path.display().fmt(f),
            MountSource::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_a_source_a_path_and_maybe_ro() {
        let mount = Mount::bind("/a:b:/c//d/:ro").unwrap();
        assert_eq!(
            (mount.source, mount.path.as_str(), mount.read_only),
            (MountSource::Bind("/a:b".into()), "/c/d", true)
        );
        assert!(!Mount::volume("data:/x:rw").unwrap().read_only);
        for bad in ["data", "data:", ":/x", "data:x", "data:/x:rx", "Data:/x", "../x:/x"] {
            assert!(Mount::volume(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_kernel_and_the_agent_need_is_not_covered() {
        for bad in [
            "/",
            "//",
            "/.",
            "/a/../b",
            "/a/./b",
            "a",
            "/proc",
            "/proc/1",
            "/sys/x",
            "/dev",
            "/dev/.appc/sock",
            "/a\nb",
        ] {
            assert!(bad.parse::<MountPath>().is_err(), "{bad:?}");
        }
        for good in ["/data", "/process", "/dev/shm", "/srv/..data"] {
            assert_eq!(good.parse::<MountPath>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_mount_reads_as_it_was_written() {
        let mount = Mount::volume("data:/x:ro").unwrap();
        let text = serde_json::to_string(&mount).unwrap();
        assert_eq!(text, r#"{"volume":"data","path":"/x","read_only":true}"#);
        assert_eq!(serde_json::from_str::<Mount>(&text).unwrap(), mount);
        let mount = Mount::bind("/srv:/x").unwrap();
        let text = serde_json::to_string(&mount).unwrap();
        assert_eq!(text, r#"{"bind":"/srv","path":"/x"}"#);
        assert_eq!(serde_json::from_str::<Mount>(&text).unwrap(), mount);
        assert!(serde_json::from_str::<Mount>(r#"{"volume":"a","path":"/proc"}"#).is_err());
    }
}
