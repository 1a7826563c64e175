//! File systems in files: what gives a volume, or a container's writable layer, a size that it can't grow beyond.
//!
//! The room is taken from the host's disk when the file is made. So who fills it gets ENOSPC from a file system of its own, and
//! never an error of writing back what the host has no room for.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use appcontainers_sys::{ext4, loopdev::LoopDevice, tree::DetachedMount};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate, unlinkat};

use crate::program::{Program, ProgramError};

/// Makes ext4.
pub(crate) const MKFS: Program = Program { name: "mkfs.ext4", package: "e2fsprogs" };

/// Below that there is no room for a journal.
pub const MIN_BYTES: u64 = 16 << 20;

/// More than any disk has.
pub const MAX_BYTES: u64 = 1 << 50;

const BLOCK_BYTES: u64 = 4096;

/// Why there is no file system in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskImageError {
    /// A size that makes no sense.
    #[error("a size of {bytes} bytes is not possible: use 16M to 1024T")]
    Size {
        /// What was asked for.
        bytes: u64,
    },
    /// The host's disk has not the room, or another step failed.
    #[error("cannot {doing} {}", path.display())]
    Step {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A root without `CAP_SYS_RESOURCE`, as on some virtual machines.
    #[error(
        "this system's root may not give a file system in use more room (it has no CAP_SYS_RESOURCE); stop what uses it, and try again"
    )]
    MayNotGrow,
    /// The program that makes it.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

fn step(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskImageError {
    let path = path.to_owned();
    move |source| DiskImageError::Step { doing, path, source }
}

/// An error unless a file system of this size can be made.
pub(crate) fn check_size(bytes: u64) -> Result<(), DiskImageError> {
    if (MIN_BYTES..=MAX_BYTES).contains(&bytes) { Ok(()) } else { Err(DiskImageError::Size { bytes }) }
}

/// Makes an empty file system of so many bytes, all of whose files may belong to anybody, in a new file.
pub(crate) fn create(path: &Path, bytes: u64) -> Result<(), DiskImageError> {
    check_size(bytes)?;
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(step("create", path))?;
    take_room(&file, bytes).map_err(step("take the room for", path))?;
    // `nodiscard`: what was taken is kept. No blocks are kept back for the host's root.
    let words =
        ["-q", "-F", "-m", "0", "-b", "4096", "-E", "nodiscard,root_owner=0:0,lazy_itable_init=1", "-L", "appc"];
    let text = path.to_string_lossy();
    MKFS.run(&[words.as_slice(), &[&text]].concat(), "")?;
    // It would be in the way of programs that want an empty directory; e2fsck makes another one when it needs it.
    let root = mount(path).and_then(|mount| open_root(&mount)).map_err(step("mount", path))?;
    unlinkat(&root, "lost+found", AtFlags::REMOVEDIR).map_err(|errno| step("prepare", path)(errno.into()))?;
    drop(root);
    file.sync_all().map_err(step("sync", path))
}

/// The file system in a file, mounted nowhere yet. It is one, however often it is mounted.
pub(crate) fn mount(path: &Path) -> io::Result<DetachedMount> {
    let file = File::options().read(true).write(true).open(path)?;
    let device = LoopDevice::share(&file)?;
    DetachedMount::ext4(device.path())
}

/// The root of a mount, opened as a directory.
pub(crate) fn open_root(mount: &DetachedMount) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(mount.as_fd(), ".", flags, Mode::empty())?)
}

/// Gives the file system in a file more room, also while it is used.
pub(crate) fn grow(path: &Path, bytes: u64) -> Result<(), DiskImageError> {
    check_size(bytes)?;
    let failed = |doing| step(doing, path);
    let file = File::options().read(true).write(true).open(path).map_err(failed("open"))?;
    take_room(&file, bytes).map_err(failed("take the room for"))?;
    file.sync_all().map_err(failed("sync"))?;
    let device = LoopDevice::share(&file).map_err(failed("show"))?;
    device.follow_size().map_err(failed("show all of"))?;
    let root = DetachedMount::ext4(device.path()).and_then(|mount| open_root(&mount)).map_err(failed("mount"))?;
    match ext4::grow(root.as_fd(), bytes / BLOCK_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(DiskImageError::MayNotGrow),
        grown => grown.map_err(failed("give more room to")),
    }
}

/// So many bytes that the file has for good; without that, where the file system below can't promise any.
fn take_room(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = bytes / BLOCK_BYTES * BLOCK_BYTES;
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes),
        Err(errno) => Err(errno.into()),
    }
}
