//! A file that nobody sees until it is whole, and that leaves nothing behind when its writer is killed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat},
    io::Errno,
};

/// A file without a name (`O_TMPFILE`), or with a temporary one where the file system knows no such thing.
/// Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    temporary: Option<PathBuf>,
}

impl NewFile {
    /// Creates one in the directory that it shall be in, with `mode` less the umask.
    pub(crate) fn create(directory: &Path, mode: u32) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(mode);
        match openat(CWD, directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => Ok(Self { file: file.into(), temporary: None }),
            // ISDIR is what a kernel says whose file system ignores the flag.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let path = temporary_beside(&directory.join("new"))?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                let file = openat(CWD, &path, flags, mode)?.into();
                Ok(Self { file, temporary: Some(path) })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the file and gives it its name. If the name is taken, `AlreadyExists`.
    pub(crate) fn link(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        self.enter(path)?;
        sync_parent(path)
    }

    /// Syncs the file and gives it its name, over what has it now. For that it has another name for a moment: what a writer left
    /// that was killed in it, the next one removes.
    pub(crate) fn replace(self, path: &Path) -> io::Result<()> {
        remove_dead(path);
        self.file.sync_all()?;
        match self.enter(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let temporary = temporary_beside(path)?;
                self.enter(&temporary)?;
                if let Err(error) = fs::rename(&temporary, path) {
                    let _ = fs::remove_file(&temporary);
                    return Err(error);
                }
            }
            result => result?,
        }
        sync_parent(path)
    }

    fn enter(&self, path: &Path) -> io::Result<()> {
        match &self.temporary {
            Some(temporary) => linkat(CWD, temporary, CWD, path, AtFlags::empty())?,
            None => {
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, file, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
            }
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(error) = fs::remove_file(temporary)
        {
            tracing::warn!("cannot remove {}: {error}", temporary.display());
        }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// The directory that `path` lies in; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes temporary files of `path` whose writers have ended.
fn remove_dead(path: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let is_dead = |entry: &str| {
        let rest = entry.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?;
        let pid: u32 = rest.strip_suffix(".tmp")?.split_once('-')?.0.parse().ok()?;
        Some(!Path::new("/proc").join(pid.to_string()).exists())
    };
    for entry in fs::read_dir(parent(path)).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(is_dead) == Some(true) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A name beside `path` that is not taken; `gc` knows it by its ending.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(temporary),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let new = NewFile::create(place.path(), 0o600).unwrap();
        new.file().write_all(b"x").unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        drop(new);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_taken_name_stays_with_its_file_unless_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("f");
        let write = |text: &str| {
            let new = NewFile::create(place.path(), 0o600).unwrap();
            new.file().write_all(text.as_bytes()).unwrap();
            new
        };
        write("one").link(&path).unwrap();
        assert_eq!(write("two").link(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write("three").replace(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
