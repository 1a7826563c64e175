//! What only ext4 does.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `EXT4_IOC_RESIZE_FS` (fs/ext4/ext4.h): `_IOW('f', 16, __u64)`.
const RESIZE_FS: u32 = 0x4008_6610;

/// Lets the file system of which `root` is an open directory grow to so many of its blocks, while it is used. Its device must be
/// that large.
pub fn grow(root: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the ioctl reads one `__u64`, which lives during the call.
    match unsafe { libc::ioctl(root.as_raw_fd(), RESIZE_FS as _, &raw const blocks) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
