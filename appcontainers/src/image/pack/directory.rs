//! Fills a squashfs from a directory.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::fd::BorrowedFd,
};

use appcontainers_sys::squashfs::{Metadata, Special, Writer, Xattr};
use rustix::{fs::FileType, io::Errno};

use super::{
    FileId, Found, LeftOut, PackError, Walk,
    error::shown,
    xattr::{self, Fate},
};
use crate::progress::Step;

const BUFFER_BYTES: usize = 128 * 1024;

/// What differs between a directory and an overlay's upper.
pub(super) trait Rules {
    /// The owner that is stored.
    fn owner(&self, found: &Found) -> Result<(u32, u32), PackError>;
    /// What happens to an attribute of overlayfs.
    fn overlay_attribute(&self, path: &[u8], name: &[u8]) -> Result<Fate, PackError>;
}

/// A directory as it is. What overlayfs left in it means nothing in a lowest layer, and could mislead in another.
pub(super) struct Plain;

impl Rules for Plain {
    fn owner(&self, found: &Found) -> Result<(u32, u32), PackError> {
        Ok((found.stat.stx_uid, found.stat.stx_gid))
    }

    fn overlay_attribute(&self, _path: &[u8], _name: &[u8]) -> Result<Fate, PackError> {
        Ok(Fate::Drop)
    }
}

/// Adds all that is below `root`; returns what squashfs can't hold.
pub(super) fn fill(
    writer: &mut Writer,
    root: BorrowedFd<'_>,
    rules: &impl Rules,
    step: &Step<'_>,
) -> Result<Vec<LeftOut>, PackError> {
    let mut walk = Walk::new(root)?;
    let mut left_out = Vec::new();
    let mut linked: HashMap<FileId, Vec<u8>> = HashMap::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Some(found) = walk.next()? {
        let path = found.path.as_slice();
        let file_type = found.file_type();
        if found.is_foreign && file_type != FileType::Directory {
            tracing::warn!("{:?} is mounted over: left out", shown(path));
            continue;
        }
        if file_type != FileType::Directory && found.stat.stx_nlink > 1 {
            match linked.entry(found.id()) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    writer.hard_link(path, first.get())?;
                    continue;
                }
                std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(path.to_owned())),
            }
        }
        let metadata = metadata(&walk, &found, rules, &mut left_out)?;
        let special = match file_type {
            FileType::Directory => {
                writer.directory(path, &metadata)?;
                continue;
            }
            FileType::RegularFile => {
                file(writer, &walk, &found, &metadata, step, &mut buffer)?;
                continue;
            }
            FileType::Symlink => Special::Symlink(walk.read_link(path)?),
            FileType::CharacterDevice => Special::Character(found.device()),
            FileType::BlockDevice => Special::Block(found.device()),
            FileType::Fifo => Special::Fifo,
            FileType::Socket => Special::Socket,
            _ => return Err(PackError::Changed { path: shown(path) }),
        };
        writer.special(path, &special, &metadata)?;
    }
    Ok(left_out)
}

fn metadata(
    walk: &Walk<'_>,
    found: &Found,
    rules: &impl Rules,
    left_out: &mut Vec<LeftOut>,
) -> Result<Metadata, PackError> {
    let path = found.path.as_slice();
    let (uid, gid) = rules.owner(found)?;
    let all = match found.is_foreign {
        true => Vec::new(),
        false => walk.with_proc_path(path, "read the attributes of", xattr::read)?,
    };
    let mut xattrs: Vec<Xattr> = Vec::new();
    for xattr in all {
        let fate = match xattr.name.starts_with(xattr::OVERLAY) {
            true => rules.overlay_attribute(path, &xattr.name)?,
            false => xattr::fate(&xattr.name),
        };
        match fate {
            Fate::Drop => {}
            Fate::Report => {
                let attribute = String::from_utf8_lossy(&xattr.name).into_owned();
                left_out.push(LeftOut { path: path.to_owned(), attribute });
            }
            Fate::Keep => {
                let portable = xattr::portable(xattr);
                xattrs.push(portable.ok_or_else(|| PackError::Capability { path: shown(path) })?);
            }
        }
    }
    let permissions = u32::from(found.stat.stx_mode) & 0o7777;
    Ok(Metadata { permissions, uid, gid, modified: found.stat.stx_mtime.tv_sec, xattrs })
}

/// Adds a file's content. Holes are asked for, not read.
fn file(
    writer: &mut Writer,
    walk: &Walk<'_>,
    found: &Found,
    metadata: &Metadata,
    step: &Step<'_>,
    buffer: &mut [u8],
) -> Result<(), PackError> {
    let failed = |source: io::Error| PackError::read("read", &found.path, source);
    let source = File::from(walk.open_file(found)?);
    let size = found.stat.stx_size;
    // A file whose blocks could hold it has no hole worth two system calls.
    let may_have_holes = found.stat.stx_blocks.saturating_mul(512) < size;
    let mut dest = writer.file(&found.path, metadata)?;
    let mut at = 0;
    while at < size {
        let (data, hole) = match may_have_holes {
            true => next_data(&source, at, size).map_err(failed)?,
            false => (at, size),
        };
        dest.hole(data - at)?;
        let mut left = hole - data;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match (&source).read(&mut buffer[..wanted]).map_err(failed)? {
                // It became shorter: what is gone reads as zeros.
                0 => break,
                count => {
                    dest.write(&buffer[..count])?;
                    step.advance(count as u64);
                    left -= count as u64;
                }
            }
        }
        dest.hole(left)?;
        at = hole;
    }
    Ok(dest.finish()?)
}

/// Where the next data begins and ends, and moves the file there.
pub(crate) fn next_data(mut file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    use rustix::fs::{SeekFrom as Seeking, seek};
    let data = match seek(file, Seeking::Data(at)) {
        Ok(data) => data.min(size),
        Err(Errno::NXIO) => size,
        // A file system without holes.
        Err(Errno::INVAL) => at,
        Err(errno) => return Err(errno.into()),
    };
    let end = match seek(file, Seeking::Hole(data)) {
        Ok(end) => end.min(size),
        Err(Errno::NXIO | Errno::INVAL) => size,
        Err(errno) => return Err(errno.into()),
    };
    file.seek(SeekFrom::Start(data))?;
    Ok((data, end))
}
