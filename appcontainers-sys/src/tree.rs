//! Mounts that are nowhere yet: clones of what a directory or a file shows, and file systems in images. They are given
//! their attributes before anybody sees them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use crate::mount::set_attributes;

/// A mount that is attached nowhere. Unless it is attached, it goes with this.
#[derive(Debug)]
pub struct DetachedMount {
    tree: OwnedFd,
}

impl DetachedMount {
    /// What is at `source` (a directory or a file, opened with `O_PATH` at least), without what is mounted below it.
    pub fn of(source: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self { tree: rustix::mount::open_tree(source, "", flags)? })
    }

    /// The ext4 file system on a block device. Of one that is mounted already this is one more mount: the kernel has one
    /// file system for each device.
    pub fn ext4(device: &Path) -> io::Result<Self> {
        let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", device)?;
        // Tables of inodes that are not used yet read as zeros anyway: in a file, clearing them gives room back that was taken for it.
        rustix::mount::fsconfig_set_flag(context.as_fd(), "noinit_itable")?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
        let tree = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok(Self { tree })
    }

    /// Without devices and set-user-id programs, apart from what is mounted at its source from now on, and read-only if that
    /// is asked for. With a user namespace, ids are mapped as it maps them.
    ///
    /// EINVAL: the file system can't be id-mapped on this kernel (`mount_setattr(2)`). EPERM: the mount is an id-mapped one
    /// already.
    pub fn restrict(&self, read_only: bool, user_namespace: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let read_only = if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
        let set = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | read_only;
        set_attributes(self.tree.as_fd(), set, libc::MS_PRIVATE, None)?;
        match user_namespace {
            Some(_) => set_attributes(self.tree.as_fd(), libc::MOUNT_ATTR_IDMAP, 0, user_namespace),
            None => Ok(()),
        }
    }

    /// For data that nobody in there has to write or run: read-only, without devices, set-user-id programs and programs at all.
    pub fn restrict_to_reading(&self) -> io::Result<()> {
        let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        set_attributes(self.tree.as_fd(), set, libc::MS_PRIVATE, None)
    }
}

impl AsFd for DetachedMount {
    /// The mount's root, opened with `O_PATH`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }
}
