//! Edits `/etc/subuid` and `/etc/subgid` as the shadow programs (useradd, usermod) do: under their lock,
//! whole, everything else kept.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat},
    io::Errno,
};

use crate::state::{Durability, replace};

/// How long another program may hold the lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// A locked file of accounts.
#[derive(Debug)]
pub(super) struct AccountFile {
    path: PathBuf,
    lock: PathBuf,
}

impl AccountFile {
    /// Locks the file as lckpwdf's kin do: `FILE.lock` holds the pid of who has it.
    pub(super) fn lock(path: &Path) -> io::Result<Self> {
        // A link is kept: what it points to is edited.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut lock = path.clone().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let begin = Instant::now();
        loop {
            match make_lock(&lock) {
                Ok(()) => return Ok(Self { path, lock }),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) if is_stale(&lock) => match fs::remove_file(&lock) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
                Err(error) if begin.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Appends a line unless it is there. `false` if it was.
    pub(super) fn add_line(&self, line: &str) -> io::Result<bool> {
        let mut text = self.read()?;
        if has_line(&text, line) {
            return Ok(false);
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
        self.write(&text)?;
        Ok(true)
    }

    /// Takes a line out. `false` if it was not there.
    pub(super) fn remove_line(&self, line: &str) -> io::Result<bool> {
        let text = self.read()?;
        if !has_line(&text, line) {
            return Ok(false);
        }
        let kept: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').filter(|l| !is_line(l, line)).collect();
        self.write(&kept.concat())?;
        Ok(true)
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mode = self.path.metadata().map_or(0o644, |metadata| metadata.mode() & 0o7777);
        match replace(&self.path, text, mode, Durability::Durable) {
            // A file that is a mount point (a host that is itself a container) can only be written in place.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => fs::write(&self.path, text),
            replaced => replaced,
        }
    }
}

impl Drop for AccountFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.lock) {
            tracing::warn!(path = %self.lock.display(), %error, "cannot remove the lock");
        }
    }
}

/// Makes the lock's file with this process's pid in it, whole or not at all: an empty one would be nobody's for ever if this
/// process was killed before it had written.
fn make_lock(lock: &Path) -> io::Result<()> {
    let pid = std::process::id();
    let text = format!("{pid}\0");
    let directory = lock.parent().unwrap_or(Path::new("/"));
    let (flags, mode) = (OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match rustix::fs::open(directory, flags, mode) {
        Ok(file) => {
            let mut file = File::from(file);
            file.write_all(text.as_bytes())?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(linkat(CWD, unnamed, CWD, lock, AtFlags::SYMLINK_FOLLOW)?)
        }
        // A file system that knows no files without names: as the shadow programs do.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let beside = lock.with_extension(pid.to_string());
            let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside);
            let linked =
                made.and_then(|mut file| file.write_all(text.as_bytes())).and_then(|()| fs::hard_link(&beside, lock));
            fs::remove_file(&beside)?;
            linked
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether who wrote its pid there is dead.
fn is_stale(lock: &Path) -> bool {
    let text = fs::read_to_string(lock).unwrap_or_default();
    match text.trim_end_matches(['\0', '\n']).parse::<u32>() {
        Ok(pid) => !Path::new("/proc").join(pid.to_string()).exists(),
        // Not a lock of this kind.
        Err(_) => false,
    }
}

fn has_line(text: &[u8], line: &str) -> bool {
    text.split_inclusive(|byte| *byte == b'\n').any(|l| is_line(l, line))
}

fn is_line(bytes: &[u8], line: &str) -> bool {
    bytes.strip_suffix(b"\n").unwrap_or(bytes) == line.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_line_comes_and_goes_and_all_else_stays_byte_for_byte() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("subuid");
        let before = b"ann:100000:65536\n# caf\xe9\nroot:1:1";
        fs::write(&path, before).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let file = AccountFile::lock(&path).unwrap();
        assert!(file.add_line("root:7:8").unwrap());
        assert!(!file.add_line("root:7:8").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"ann:100000:65536\n# caf\xe9\nroot:1:1\nroot:7:8\n");
        assert!(file.remove_line("root:7:8").unwrap());
        assert!(!file.remove_line("root:7:8").unwrap());
        assert_eq!(fs::read(&path).unwrap(), [before.as_slice(), b"\n"].concat());
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_to_string(place.path().join("subuid.lock")).unwrap(), format!("{}\0", std::process::id()));
        drop(file);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "the lock was left");
    }

    #[test]
    fn a_missing_file_is_made_readable_and_a_link_stays_a_link() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("subgid");
        AccountFile::lock(&path).unwrap().add_line("root:7:8").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        AccountFile::lock(&link).unwrap().add_line("root:9:9").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"root:7:8\nroot:9:9\n");
    }

    #[test]
    fn a_dead_programs_lock_is_taken_over() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("subuid");
        // No pid is this large (proc(5), pid_max).
        fs::write(place.path().join("subuid.lock"), "4194305\0").unwrap();
        AccountFile::lock(&path).unwrap().add_line("root:7:8").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"root:7:8\n");
    }
}
