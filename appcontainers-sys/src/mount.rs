//! Mounts: namespaces of them, layers, id-mapped copies, overlays.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags},
    thread::UnshareFlags,
};

use crate::loopdev::LoopDevice;

/// Gives the calling process a mount namespace in which the host's mounts and unmounts still
/// arrive and out of which none go.
pub fn enter_slave_namespace() -> io::Result<()> {
    // SAFETY: a new mount namespace shares no memory or descriptor tables; std's paths go on to mean the same.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    Ok(())
}

/// Mounts the squashfs in `file` at `target`: read-only, no devices, no set-user-id programs.
///
/// The kernel parses what is in the file.
pub fn squashfs(file: &File, target: &Path) -> io::Result<()> {
    let device = LoopDevice::attach(file)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    rustix::mount::mount(device.path(), target, "squashfs", flags, None)?;
    Ok(())
}

/// Shows the mount at `source` once more at `target`, its ids mapped as `user_namespace` maps them,
/// or unchanged without one. The copy has the flags of `source`'s mount.
///
/// EINVAL: the file system can't be id-mapped on this kernel (squashfs can from about 6.2 on).
pub fn copy(source: &Path, target: &Path, user_namespace: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    if let Some(namespace) = user_namespace {
        set_attributes(tree.as_fd(), libc::MOUNT_ATTR_IDMAP, 0, Some(namespace))?;
    }
    rustix::mount::move_mount(&tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Shows the file `source`, read-only, over what is at `inside` in the tree below `root`; whether there is something.
/// Names are looked up as a process would whose root `root` is, and a symbolic link at `inside` itself is not followed
/// but covered: also one that leads nowhere.
pub fn cover(source: &Path, root: BorrowedFd<'_>, inside: &Path) -> io::Result<bool> {
    let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // Nothing before the name: the root itself.
    let parent = Path::new(".").join(parent);
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let link_or_file = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat2(root, parent, directory, Mode::empty(), ResolveFlags::IN_ROOT)
        .and_then(|parent| rustix::fs::openat(parent, name, link_or_file, Mode::empty()));
    let target = match target {
        Ok(target) => target,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    let tree =
        rustix::mount::open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    set_attributes(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, None)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&tree, "", &target, "", flags)?;
    Ok(true)
}

/// Whether the mount at `source` can be id-mapped on this kernel. Changes nothing.
pub fn can_map_ids(source: &Path, user_namespace: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    match set_attributes(tree.as_fd(), libc::MOUNT_ATTR_IDMAP, 0, Some(user_namespace)) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets attributes of a mount; with a `propagation` other than 0, that too (`MS_PRIVATE`, for example).
pub(crate) fn set_attributes(
    tree: BorrowedFd<'_>,
    set: u64,
    propagation: u64,
    namespace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: namespace.map_or(0, |namespace| namespace.as_raw_fd() as u64),
    };
    // SAFETY: the path is an empty C string and `attributes` a whole `struct mount_attr`
    // (mount_setattr(2)), both alive during the call; its size goes with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What an overlay is made of. Relative paths are taken from the current directory, which keeps
/// many layers within the one page that `mount(2)` takes as options.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// Lower directories, the uppermost first; at least one.
    pub lowers: &'a [&'a Path],
    /// The writable directory and the kernel's work directory beside it, or none: read-only.
    pub upper_and_work: Option<(&'a Path, &'a Path)>,
    /// Whether the kernel may skip all syncs: for what a crash may take.
    pub volatile: bool,
}

/// Mounts an overlay at `target`, without devices (DESIGN: a block device node in an image would
/// let the container's root write the host's disk).
pub fn overlay(overlay: &Overlay<'_>, target: &Path) -> io::Result<()> {
    let mut options = b"xino=on,redirect_dir=off,metacopy=off,index=off,lowerdir=".to_vec();
    for (position, lower) in overlay.lowers.iter().enumerate() {
        if position > 0 {
            options.push(b':');
        }
        push_escaped(&mut options, lower);
    }
    if let Some((upper, work)) = overlay.upper_and_work {
        options.extend_from_slice(b",upperdir=");
        push_escaped(&mut options, upper);
        options.extend_from_slice(b",workdir=");
        push_escaped(&mut options, work);
    }
    if overlay.volatile {
        options.extend_from_slice(b",volatile");
    }
    let options = CString::new(options).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    rustix::mount::mount("overlay", target, "overlay", MountFlags::NODEV, options.as_c_str())?;
    Ok(())
}

/// A path inside overlayfs options: `\`, `:` and `,` get a `\` (kernel, overlayfs.rst).
fn push_escaped(options: &mut Vec<u8>, path: &Path) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            options.push(b'\\');
        }
        options.push(byte);
    }
}

/// Mounts a file system in memory at `target`: its root for the caller alone, nothing in it a device or a program, and not to be
/// swapped out where the kernel can be told so (Linux 6.4). Whether it was.
pub fn private_memory(target: &Path, size_bytes: u64) -> io::Result<bool> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let mount = |options: String| {
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("appcontainers", target, "tmpfs", flags, options.as_c_str())
    };
    let plain = format!("mode=0700,size={size_bytes}");
    match mount(format!("{plain},noswap")) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(mount(plain).map(|()| false)?),
        Err(errno) => Err(errno.into()),
    }
}

/// Unmounts what is at `target` as soon as nothing uses it.
pub fn unmount_lazily(target: &Path) -> io::Result<()> {
    rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    Ok(())
}

/// Whether something is mounted at `path` itself (`statx(2)`, `STATX_ATTR_MOUNT_ROOT`).
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE) {
        Ok(status) => Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_colon_stays_one_path() {
        let mut options = Vec::new();
        push_escaped(&mut options, Path::new("/a:b,c\\d"));
        assert_eq!(options, br"/a\:b\,c\\d");
    }
}
