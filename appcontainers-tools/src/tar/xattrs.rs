//! A file's extended attributes (xattr(7)).

use std::os::fd::BorrowedFd;

use rustix::{buffer::spare_capacity, io::Errno};

use crate::archive::Xattr;

/// Longest list of names and longest value that the kernel has.
const LONGEST: usize = 64 * 1024;

/// Most bytes of one file's attributes: what programs that read archives accept.
const MOST_BYTES: usize = 512 * 1024;

/// Reads those that mean something elsewhere too: labels of a host's security policy do not.
pub(super) fn read(file: BorrowedFd<'_>) -> Result<Vec<Xattr>, Errno> {
    // Most files have none.
    if matches!(rustix::fs::flistxattr_query(file), Ok(0) | Err(Errno::OPNOTSUPP)) {
        return Ok(Vec::new());
    }
    let mut names = Vec::with_capacity(LONGEST);
    rustix::fs::flistxattr(file, spare_capacity(&mut names))?;
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"security.") && name != b"security.capability" {
            continue;
        }
        let mut value = Vec::with_capacity(LONGEST);
        match rustix::fs::fgetxattr(file, name, spare_capacity(&mut value)) {
            // Removed meanwhile.
            Err(Errno::NODATA) => continue,
            got => got?,
        };
        value.shrink_to_fit();
        total += name.len() + value.len();
        if total > MOST_BYTES {
            return Err(Errno::TOOBIG);
        }
        xattrs.push((name.to_vec(), value));
    }
    Ok(xattrs)
}
