//! What a path names, opened once: nothing is looked up through the path again.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

/// A file or tree by its name in an open directory.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) directory: OwnedFd,
    pub(super) name: OsString,
    /// What it is called in the archive: `.` if only its contents are meant.
    pub(super) top: Vec<u8>,
}

impl Source {
    /// Opens an absolute path. Symbolic links on the way are followed; the last name is taken as it is, unless a slash
    /// behind it asks for the directory that it leads to. `DIR/.` and what has no name, like `/` and `..`, mean the
    /// contents.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let bytes = path.as_os_str().as_bytes();
        let trimmed = without_slashes(bytes);
        let last = trimmed.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if matches!(last, b"" | b"." | b"..") {
            return Ok(Self { directory: open(path)?, name: ".".into(), top: b".".to_vec() });
        }
        if trimmed.len() < bytes.len() {
            return Ok(Self { directory: open(path)?, name: ".".into(), top: last.to_vec() });
        }
        let above = OsStr::from_bytes(&bytes[..bytes.len() - last.len()]);
        Ok(Self { directory: open(Path::new(above))?, name: OsStr::from_bytes(last).to_owned(), top: last.to_vec() })
    }
}

/// No magic link of /proc leads out of what `/` is for this process.
fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// A path without the slashes at its end.
fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_name_is_what_the_tree_is_called() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("dir/sub")).unwrap();
        std::os::unix::fs::symlink("dir", directory.path().join("link")).unwrap();
        let opened = |path: &str| Source::open(&directory.path().join(path)).map(|source| (source.name, source.top));
        let named = |name: &str, top: &str| Ok((name.into(), top.as_bytes().to_vec()));
        assert_eq!(opened("dir/sub"), named("sub", "sub"));
        assert_eq!(opened("link"), named("link", "link"));
        assert_eq!(opened("link/"), named(".", "link"));
        assert_eq!(opened("link//"), named(".", "link"));
        assert_eq!(opened("link/."), named(".", "."));
        assert_eq!(opened("dir/sub/.."), named(".", "."));
        assert_eq!(opened("none/x"), Err(Errno::NOENT));
        assert_eq!(Source::open(Path::new("/")).map(|source| source.top).unwrap(), b".");
        let own = format!("/proc/self/root{}", directory.path().display());
        assert_eq!(Source::open(Path::new(&own)).map(drop).unwrap_err(), Errno::LOOP, "a magic link");
    }
}
