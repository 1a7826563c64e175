//! Mounts put into a container that runs, and taken out of it: from within its namespaces, by names that are looked up there.
//!
//! What is shown is taken before the container is entered, as a file descriptor: no path of the host's is looked up inside, and none of
//! the container's outside. Of a name inside, no component may be a symbolic link: a container that changes one meanwhile
//! fails the call, or shows the mount at another place of its own.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags},
    process::Pid,
    thread::LinkNameSpaceType,
};

use crate::mount::set_attributes;

/// No link, no way out, no way through /proc.
const STRICT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Since Linux 6.5 (`move_mount(2)`).
const MOVE_MOUNT_BENEATH: u32 = 0x200;

/// A copy of a mount, or of one of its files, that is not attached anywhere.
#[derive(Debug)]
pub struct Detached {
    tree: OwnedFd,
    is_directory: bool,
    device: u64,
}

impl Detached {
    /// A copy of what is at `source`: read-only, without devices, set-user-id programs and programs at all.
    pub fn read_only(source: &Path) -> io::Result<Self> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let tree = rustix::mount::open_tree(CWD, source, flags)?;
        let attributes =
            libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        set_attributes(tree.as_fd(), attributes, 0, None)?;
        let status = rustix::fs::fstat(&tree)?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        Ok(Self { tree, is_directory, device: status.st_dev as u64 })
    }
}

/// The namespaces of a container that runs.
#[derive(Debug)]
pub struct Namespaces {
    mount: OwnedFd,
    user: Option<OwnedFd>,
}

impl Namespaces {
    /// Those of the process `init`; `user`: it has a user namespace of its own.
    pub fn of(init: Pid, user: bool) -> io::Result<Self> {
        let open = |kind: &str| -> io::Result<OwnedFd> {
            Ok(File::open(format!("/proc/{}/ns/{kind}", init.as_raw_nonzero()))?.into())
        };
        Ok(Self { mount: open("mnt")?, user: if user { Some(open("user")?) } else { None } })
    }

    /// Enters them, as the root in there, for good. Only for programs with one thread.
    pub fn enter(self) -> io::Result<Inside> {
        rustix::thread::move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))?;
        if let Some(user) = self.user {
            rustix::thread::move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
            // Files that are made belong to the container's root, not to somebody whom it does not know.
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
            rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        }
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        Ok(Inside { root: rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())? })
    }
}

/// A process that has entered a container's namespaces.
#[derive(Debug)]
pub struct Inside {
    root: OwnedFd,
}

impl Inside {
    /// Shows `tree` at `path`. What is missing of the path is made: directories, and an empty file or directory at its end.
    /// Where something of the same file system is mounted there already, `tree` takes its place: nobody finds nothing there
    /// meanwhile (before Linux 6.5 that one stays beneath).
    pub fn attach(&self, tree: &Detached, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path, true)?;
        let target = self.target(&parent, name, tree.is_directory)?;
        let is_ours = rustix::fs::fstat(&target)?.st_dev as u64 == tree.device;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        if is_ours {
            let beneath = MoveMountFlags::from_bits_retain(flags.bits() | MOVE_MOUNT_BENEATH);
            match rustix::mount::move_mount(&tree.tree, "", &target, "", beneath) {
                Ok(()) => return unmount(&parent, name),
                Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(rustix::mount::move_mount(&tree.tree, "", &target, "", flags)?)
    }

    /// Takes away all that is mounted at `path` itself from the file system with the number `device`.
    pub fn detach(&self, path: &Path, device: u64) -> io::Result<()> {
        let (parent, name) = match self.parent(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        loop {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let there = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(()),
                opened => opened?,
            };
            if rustix::fs::fstat(&there)?.st_dev as u64 != device {
                return Ok(());
            }
            drop(there);
            unmount(&parent, name)?;
        }
    }

    /// The directory in which `path` is, and its last name. With `make`, directories that are missing are made.
    fn parent<'a>(&self, path: &'a Path, make: bool) -> io::Result<(OwnedFd, &'a OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        let mut directory = self.root.try_clone()?;
        for step in parent.iter().filter(|step| step.as_bytes() != b"/") {
            if make {
                match rustix::fs::mkdirat(&directory, step, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = rustix::fs::openat2(&directory, step, flags, Mode::empty(), STRICT)?;
        }
        Ok((directory, name))
    }

    /// What the mount goes over, made where it is missing.
    fn target(&self, parent: &OwnedFd, name: &OsStr, is_directory: bool) -> io::Result<OwnedFd> {
        let made = if is_directory {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map(drop)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat2(parent, name, flags, Mode::empty(), STRICT)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode);
        match (kind, is_directory) {
            (FileType::Directory, true) | (FileType::RegularFile, false) => Ok(target),
            (FileType::Symlink, _) => Err(Errno::LOOP.into()),
            (_, true) => Err(Errno::NOTDIR.into()),
            (FileType::Directory, false) => Err(Errno::ISDIR.into()),
            _ => Err(io::Error::other("what is there is no regular file")),
        }
    }
}

fn unmount(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    rustix::process::fchdir(parent)?;
    Ok(rustix::mount::unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// The number of the file system that a file is on, as [`Inside::detach`] takes it.
pub fn device(file: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::fs::fstat(file)?.st_dev as u64)
}

/// A file of another root, read whole: at most `most` bytes, of a regular file on that root's own file system. Symbolic links
/// are followed within that root. None if it is not there.
pub fn read_in_root(root: &Path, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(Some(bytes))
}
