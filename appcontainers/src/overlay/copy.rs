//! Copies an upper directory into an empty directory, with all that overlayfs makes of it: whiteouts, opaque marks, hard links,
//! holes, attributes and times. Where the file system can, the copy shares the blocks of the files.
//!
//! Owners may be shifted from one range of ids to another. Nothing in the source leads outside of it, and the destination
//! is the caller's alone.

use std::{
    collections::HashMap,
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    fs::{
        AtFlags, Dev, FileType, Mode, OFlags, ResolveFlags, ioctl_ficlone, linkat, makedev, mkdirat, mknodat, openat,
        openat2, symlinkat,
    },
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{
    attributes::{Attributes, add},
    shift::Shift,
};
use crate::{
    image::{
        Digest, Hasher,
        pack::{FileId, Found, PackError, Walk, next_data, shown},
    },
    progress::Step,
};

/// So much is copied between two reports of progress.
const CHUNK_BYTES: u64 = 64 * 1024 * 1024;

/// What a copy has in it, so that one which is not as it was made can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Files, directories and all else; hard links count once.
    pub(crate) files: u64,
    /// On the disk, if no block were shared.
    pub(crate) size_bytes: u64,
    /// Of all names, owners, modes, lengths, times (in seconds), links and attributes. Not of what is in the files: where blocks
    /// are shared, nothing of that is read.
    pub(crate) digest: Digest,
}

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source can't be read, or can't be copied.
    #[error(transparent)]
    Read(#[from] PackError),
    /// The copy can't be written.
    #[error("cannot {doing} the copy of {path:?}")]
    Write {
        /// What was being done.
        doing: &'static str,
        /// The file, relative to the root of what is copied.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Copies all that is in `source` to `dest`, an empty directory, which becomes what `source` is. The caller keeps others from
/// writing to either, and syncs.
pub(crate) fn copy(
    source: BorrowedFd<'_>,
    dest: BorrowedFd<'_>,
    shift: Shift,
    step: &Step<'_>,
) -> Result<Contents, CopyError> {
    let mut copying = Copying { dest, parent: None, shares_blocks: true };
    let mut walk = Walk::new(source)?;
    let mut linked: HashMap<FileId, Vec<u8>> = HashMap::new();
    let mut directories = Vec::new();
    let (mut files, mut size_bytes, mut hasher) = (0, 0, Hasher::default());
    while let Some(found) = walk.next()? {
        let path = found.path.as_slice();
        let file_type = found.file_type();
        let is_directory = file_type == FileType::Directory;
        if found.is_foreign {
            tracing::warn!("{:?} is mounted over: left out", shown(path));
            continue;
        }
        if !is_directory && found.stat.stx_nlink > 1 {
            match linked.entry(found.id()) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    copying.link(first.get(), path)?;
                    add(&mut hasher, path);
                    add(&mut hasher, first.get());
                    continue;
                }
                std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(path.to_owned())),
            }
        }
        let target = match file_type {
            FileType::Symlink => Some(walk.read_link(path)?),
            _ => None,
        };
        let attributes = Attributes::read(&walk, &found)?;
        attributes.add_to(&mut hasher, &found, target.as_deref());
        files += 1;
        size_bytes += found.stat.stx_blocks * 512;
        let attributes = attributes.shifted(&found, shift)?;
        match (file_type, target) {
            (FileType::Directory, _) => {
                copying.directory(path)?;
                // Last of all: what is made in it changes its time, and takes its default ACL.
                directories.push((path.to_owned(), attributes));
            }
            (FileType::RegularFile, _) => copying.file(&walk, &found, &attributes, step)?,
            (FileType::Symlink, Some(target)) => copying.symlink(path, &target, &attributes)?,
            _ => copying.special(&found, &attributes)?,
        }
    }
    for (path, attributes) in directories.iter().rev() {
        let directory = copying.open_directory(path)?;
        attributes.give_to(directory.as_fd()).map_err(write_error("set the attributes of", path))?;
    }
    Ok(Contents { files, size_bytes, digest: hasher.finish() })
}

/// A copy that is being made.
struct Copying<'fd> {
    dest: BorrowedFd<'fd>,
    /// The directory in which something was made last: most often it is that of the next, too.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Whether the file system may share blocks between files: until it says no.
    shares_blocks: bool,
}

impl Copying<'_> {
    fn directory(&mut self, path: &[u8]) -> Result<(), CopyError> {
        if path.is_empty() {
            return Ok(());
        }
        let (directory, name) = self.place(path)?;
        mkdirat(directory, &name, Mode::RWXU).map_err(write_error("make", path))
    }

    fn file(
        &mut self,
        walk: &Walk<'_>,
        found: &Found,
        attributes: &Attributes,
        step: &Step<'_>,
    ) -> Result<(), CopyError> {
        let source = File::from(walk.open_file(found)?);
        let path = found.path.as_slice();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (directory, name) = self.place(path)?;
        let dest = openat(directory, &name, flags, Mode::RUSR | Mode::WUSR).map_err(write_error("make", path))?;
        let dest = File::from(dest);
        self.data(&source, &dest, found, step).map_err(write_error("write", path))?;
        attributes.give_to(dest.as_fd()).map_err(write_error("set the attributes of", path))
    }

    fn data(&mut self, source: &File, mut dest: &File, found: &Found, step: &Step<'_>) -> io::Result<()> {
        let size = found.stat.stx_size;
        if self.shares_blocks && size > 0 {
            match ioctl_ficlone(dest, source) {
                Ok(()) => {
                    step.advance(size);
                    return Ok(());
                }
                // This file system never does, or not between these two.
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) => self.shares_blocks = false,
                // Not this file.
                Err(_) => {}
            }
        }
        // A file whose blocks could hold it has no hole worth two system calls.
        let may_have_holes = found.stat.stx_blocks.saturating_mul(512) < size;
        let mut at = 0;
        while at < size {
            let (mut data, end) = if may_have_holes { next_data(source, at, size)? } else { (at, size) };
            dest.seek(SeekFrom::Start(data))?;
            while data < end {
                let wanted = CHUNK_BYTES.min(end - data);
                let copied = io::copy(&mut source.take(wanted), &mut dest)?;
                step.advance(copied);
                if copied < wanted {
                    // It became shorter: what is gone reads as zeros.
                    break;
                }
                data += wanted;
            }
            at = end;
        }
        dest.set_len(size)
    }

    fn symlink(&mut self, path: &[u8], target: &[u8], attributes: &Attributes) -> Result<(), CopyError> {
        let (directory, name) = self.place(path)?;
        symlinkat(OsStr::from_bytes(target), directory, &name).map_err(write_error("make", path))?;
        let given = attributes.give_to_name(directory, &name, true);
        given.map_err(write_error("set the attributes of", path))
    }

    /// A device, a pipe or a socket; a whiteout is a device.
    fn special(&mut self, found: &Found, attributes: &Attributes) -> Result<(), CopyError> {
        let path = found.path.as_slice();
        let device: Dev = makedev(found.stat.stx_rdev_major, found.stat.stx_rdev_minor);
        let (directory, name) = self.place(path)?;
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(directory, &name, found.file_type(), mode, device).map_err(write_error("make", path))?;
        let given = attributes.give_to_name(directory, &name, false);
        given.map_err(write_error("set the attributes of", path))
    }

    fn link(&mut self, first: &[u8], path: &[u8]) -> Result<(), CopyError> {
        let (parent, name) = split(first);
        let first_directory = self.open_directory(parent)?;
        let first_name = c_string(name).map_err(write_error("link", path))?;
        let (directory, name) = self.place(path)?;
        let linked = linkat(first_directory, &first_name, directory, &name, AtFlags::empty());
        linked.map_err(write_error("link", path))
    }

    /// The directory that `path` is in, and its name there.
    fn place(&mut self, path: &[u8]) -> Result<(BorrowedFd<'_>, CString), CopyError> {
        let (parent, name) = split(path);
        let name = c_string(name).map_err(write_error("make", path))?;
        if self.parent.as_ref().is_none_or(|(known, _)| known != parent) {
            self.parent = Some((parent.to_owned(), self.open_directory(parent)?));
        }
        let directory = self.parent.as_ref().map_or(self.dest, |(_, directory)| directory.as_fd());
        Ok((directory, name))
    }

    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, CopyError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let name = if path.is_empty() { b".".as_slice() } else { path };
        let opened = openat2(self.dest, OsStr::from_bytes(name), flags, Mode::empty(), resolve);
        opened.map_err(write_error("open", path))
    }
}

/// The directory of a path, and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn c_string(name: &[u8]) -> io::Result<CString> {
    Ok(CString::new(name)?)
}

fn write_error<E: Into<io::Error>>(doing: &'static str, path: &[u8]) -> impl FnOnce(E) -> CopyError {
    let path = shown(path);
    move |source| CopyError::Write { doing, path, source: source.into() }
}
