//! One file of a tree, opened by its name in an open directory. No link is followed, and what is read is what was found:
//! a name that means something else by then is looked at again.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat, openat2},
    io::Errno,
};

/// How often a name that others change meanwhile is looked at.
const TRIES: usize = 64;

/// What there is at a name.
#[derive(Debug)]
pub(super) struct Entry {
    /// For reading if it is a file or a directory; a handle otherwise.
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

/// Whether what is mounted at a name belongs to the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounted {
    /// Yes: the name is the one that was asked for.
    Included,
    /// A file does, for a container's own /etc/hosts is one; all else is [`Found::OtherFileSystem`].
    Files,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Entry(Entry),
    OtherFileSystem,
    /// It is gone.
    Nothing,
}

impl Entry {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Opens what is there.
pub(super) fn open(directory: BorrowedFd<'_>, name: &OsStr, mounted: Mounted) -> Result<Found, Errno> {
    for _ in 0..TRIES {
        match try_open(directory, name, mounted) {
            // Another took its place between two looks.
            Err(Errno::AGAIN | Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::INTR) => {}
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            found => return found,
        }
    }
    Err(Errno::AGAIN)
}

fn try_open(directory: BorrowedFd<'_>, name: &OsStr, mounted: Mounted) -> Result<Found, Errno> {
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = |flags, resolve| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(directory, name, flags, Mode::empty(), below | resolve)
    };
    let handle = match open(OFlags::PATH, ResolveFlags::NO_XDEV) {
        Err(Errno::XDEV) => None,
        handle => Some(handle?),
    };
    let is_mounted = handle.is_none();
    let handle = handle.map_or_else(|| open(OFlags::PATH, ResolveFlags::empty()), Ok)?;
    let stat = rustix::fs::fstat(&handle)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if is_mounted && mounted == Mounted::Files && kind != FileType::RegularFile {
        return Ok(Found::OtherFileSystem);
    }
    // Nothing else is opened: that a fifo or a device is may change something.
    let flags = match kind {
        FileType::RegularFile => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
        FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
        _ => return Ok(Found::Entry(Entry { fd: handle, stat })),
    };
    let fd = open(flags, ResolveFlags::empty())?;
    let again = rustix::fs::fstat(fd.as_fd())?;
    if (again.st_dev, again.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(Errno::AGAIN);
    }
    Ok(Found::Entry(Entry { fd, stat: again }))
}
