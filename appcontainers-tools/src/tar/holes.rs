//! Where a file has data, as its file system tells (lseek(2), `SEEK_DATA`).

use std::os::fd::BorrowedFd;

use rustix::{fs::SeekFrom, io::Errno};

use crate::archive::Extent;

/// Most parts of one file, so that no file takes more than a few megabytes of memory: the last one has all that is
/// left, holes and all.
const MOST_EXTENTS: usize = 100_000;

/// The parts of a file of `size` bytes that have data. One that changes meanwhile gets some answer that fits the size.
pub(super) fn extents(file: BorrowedFd<'_>, size: u64) -> Vec<Extent> {
    find(file, size).unwrap_or_else(|_| vec![Extent { offset: 0, length: size }])
}

fn find(file: BorrowedFd<'_>, size: u64) -> Result<Vec<Extent>, Errno> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(offset) if offset < size => offset,
            // There is none behind this.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        let end = match extents.len() + 1 < MOST_EXTENTS {
            true => rustix::fs::seek(file, SeekFrom::Hole(offset))?.min(size),
            false => size,
        };
        if end <= offset || offset < at {
            break;
        }
        extents.push(Extent { offset, length: end - offset });
        at = end;
    }
    Ok(extents)
}
