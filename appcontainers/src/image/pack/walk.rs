//! Walks a directory by file descriptor: nothing in it, however it changes meanwhile, leads outside.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use appcontainers_sys::squashfs::Device;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2, statx},
    io::Errno,
};

use super::{PackError, error::shown};

/// What makes two names one file.
pub(crate) type FileId = (u32, u32, u64);

/// Something that was found.
pub(crate) struct Found {
    /// Relative to the root, which is empty.
    pub(crate) path: Vec<u8>,
    pub(crate) stat: Statx,
    /// Another file system is mounted here; nothing below it comes.
    pub(crate) is_foreign: bool,
}

impl Found {
    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    pub(crate) fn id(&self) -> FileId {
        (self.stat.stx_dev_major, self.stat.stx_dev_minor, self.stat.stx_ino)
    }

    pub(crate) fn device(&self) -> Device {
        Device { major: self.stat.stx_rdev_major, minor: self.stat.stx_rdev_minor }
    }

    /// overlayfs's mark for "what is here in a lower layer is gone".
    pub(crate) fn is_whiteout(&self) -> bool {
        self.file_type() == FileType::CharacterDevice && self.device() == Device { major: 0, minor: 0 }
    }
}

/// Everything below a directory and the directory itself, each directory before what is in it, names in the
/// order of their bytes.
pub(crate) struct Walk<'fd> {
    root: BorrowedFd<'fd>,
    mount: u64,
    /// Paths to come, the next one last.
    pending: Vec<Vec<u8>>,
}

impl<'fd> Walk<'fd> {
    pub(crate) fn new(root: BorrowedFd<'fd>) -> Result<Self, PackError> {
        let stat = stat(root, c"").map_err(|source| PackError::read("look at", b"", source))?;
        Ok(Self { root, mount: stat.stx_mnt_id, pending: vec![Vec::new()] })
    }

    /// The next one; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, PackError> {
        let Some(path) = self.pending.pop() else { return Ok(None) };
        let parent = self.open_parent(&path)?;
        let (directory, name) = parent.at(self.root);
        let stat = stat(directory, &name).map_err(|source| PackError::read("look at", &path, source))?;
        let found = Found { is_foreign: stat.stx_mnt_id != self.mount, stat, path };
        if found.file_type() == FileType::Directory && !found.is_foreign {
            self.descend(&found.path)?;
        }
        Ok(Some(found))
    }

    /// Leaves out what is below a directory that was found just now.
    pub(crate) fn skip_below(&mut self, path: &[u8]) {
        let is_below = |pending: &Vec<u8>| pending.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"));
        while self.pending.last().is_some_and(is_below) {
            self.pending.pop();
        }
    }

    /// Opens a file that was found for reading, and makes sure that it is still the same.
    pub(crate) fn open_file(&self, found: &Found) -> Result<OwnedFd, PackError> {
        // NONBLOCK: someone may have put a pipe in its place.
        let file = self.open(&found.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let now = stat(borrow(&file), c"").map_err(|source| PackError::read("look at", &found.path, source))?;
        match (now.stx_ino, now.stx_mode & 0o170_000) == (found.stat.stx_ino, found.stat.stx_mode & 0o170_000) {
            true => Ok(file),
            false => Err(PackError::Changed { path: shown(&found.path) }),
        }
    }

    /// Where a link points.
    pub(crate) fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, PackError> {
        let parent = self.open_parent(path)?;
        let (directory, name) = parent.at(self.root);
        let target = rustix::fs::readlinkat(directory, name, Vec::new());
        target.map(CString::into_bytes).map_err(|errno| PackError::read("read the link", path, errno))
    }

    /// A path by which system calls that know no descriptors reach a file without following it.
    pub(crate) fn with_proc_path<T>(
        &self,
        path: &[u8],
        doing: &'static str,
        call: impl FnOnce(&CStr) -> io::Result<T>,
    ) -> Result<T, PackError> {
        let parent = self.open_parent(path)?;
        let (directory, name) = parent.at(self.root);
        let prefix = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        let path_in_proc = CString::new([prefix.as_slice(), name.to_bytes()].concat()).map_err(io::Error::from);
        path_in_proc.and_then(|path| call(&path)).map_err(|source| PackError::read(doing, path, source))
    }

    fn descend(&mut self, path: &[u8]) -> Result<(), PackError> {
        let failed = |errno: Errno| PackError::read("list", path, errno);
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::new(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.pending.extend(names.into_iter().map(|name| join(path, &name)));
        Ok(())
    }

    fn open_parent(&self, path: &[u8]) -> Result<Parent, PackError> {
        let failed = |source: io::Error| PackError::read("look at", path, source);
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Some(&path[..slash]), &path[slash + 1..]),
            None => (None, path),
        };
        let name = CString::new(name).map_err(|error| failed(error.into()))?;
        let directory = parent.map(|parent| self.open(parent, OFlags::PATH | OFlags::DIRECTORY)).transpose()?;
        Ok(Parent { directory, name })
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, PackError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let name = if path.is_empty() { b".".as_slice() } else { path };
        openat2(self.root, std::ffi::OsStr::from_bytes(name), flags, Mode::empty(), resolve)
            .map_err(|errno| PackError::read("open", path, errno))
    }
}

/// The directory that a file is in; none if that is the root.
struct Parent {
    directory: Option<OwnedFd>,
    name: CString,
}

impl Parent {
    fn at<'a>(&'a self, root: BorrowedFd<'a>) -> (BorrowedFd<'a>, CString) {
        let directory = self.directory.as_ref().map_or(root, borrow);
        (directory, self.name.clone())
    }
}

fn borrow(fd: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

fn stat(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    Ok(statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_owned() } else { [directory, b"/", name].concat() }
}
