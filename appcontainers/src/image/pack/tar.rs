//! Fills a squashfs from a tar.

use std::io::Read;

use appcontainers_sys::squashfs::{FileWriter, Metadata, Special, Writer};

use super::{
    LeftOut, PackError,
    error::shown,
    xattr::{self, Fate},
};
use crate::archive::{Member, MemberKind, TarReader};

const BUFFER_BYTES: usize = 128 * 1024;

/// Adds all members; returns what squashfs can't hold.
pub(super) fn fill(writer: &mut Writer, archive: &mut impl Read) -> Result<Vec<LeftOut>, PackError> {
    let mut reader = TarReader::new(archive);
    let mut left_out = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Some(member) = reader.next()? {
        let path = member.path.as_slice();
        let metadata = metadata(&member, &mut left_out)?;
        let special = match &member.kind {
            MemberKind::Directory => {
                writer.directory(path, &metadata)?;
                continue;
            }
            MemberKind::HardLink(target) => {
                writer.hard_link(path, target)?;
                continue;
            }
            MemberKind::File { stored, sparse } => {
                let mut file = writer.file(path, &metadata)?;
                match sparse {
                    None => copy(&mut reader, &mut file, *stored, &mut buffer)?,
                    Some(map) => {
                        let mut at = 0;
                        for (offset, length) in &map.chunks {
                            file.hole(offset - at)?;
                            copy(&mut reader, &mut file, *length, &mut buffer)?;
                            at = offset + length;
                        }
                        file.hole(map.real_size - at)?;
                    }
                }
                file.finish()?;
                continue;
            }
            MemberKind::Symlink(target) => Special::Symlink(target.clone()),
            MemberKind::Character(device) => Special::Character(*device),
            MemberKind::Block(device) => Special::Block(*device),
            MemberKind::Fifo => Special::Fifo,
        };
        writer.special(path, &special, &metadata)?;
    }
    reader.drain()?;
    Ok(left_out)
}

fn metadata(member: &Member, left_out: &mut Vec<LeftOut>) -> Result<Metadata, PackError> {
    let Member { path, permissions, uid, gid, modified, .. } = member;
    let mut xattrs = Vec::new();
    for xattr in &member.xattrs {
        // overlayfs's marks mean nothing in a lowest layer, and could mislead in another.
        match xattr::fate(&xattr.name) {
            _ if xattr.name.starts_with(xattr::OVERLAY) => {}
            Fate::Drop => {}
            Fate::Report => {
                let attribute = String::from_utf8_lossy(&xattr.name).into_owned();
                left_out.push(LeftOut { path: path.clone(), attribute });
            }
            Fate::Keep => {
                let portable = xattr::portable(xattr.clone());
                xattrs.push(portable.ok_or_else(|| PackError::Capability { path: shown(path) })?);
            }
        }
    }
    Ok(Metadata { permissions: *permissions, uid: *uid, gid: *gid, modified: *modified, xattrs })
}

fn copy<R: Read>(
    reader: &mut TarReader<R>,
    file: &mut FileWriter<'_>,
    mut length: u64,
    buffer: &mut [u8],
) -> Result<(), PackError> {
    while length > 0 {
        let wanted = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let count = match reader.read_data(&mut buffer[..wanted]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result.map_err(|error| reader.read_error(error))?,
        };
        file.write(&buffer[..count])?;
        length -= count as u64;
    }
    Ok(())
}
