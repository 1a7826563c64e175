//! Checks a whole archive before anything of it is used.

use std::io::Read;

use super::{ArchiveError, Member, MemberKind, TarReader};

/// What is in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// How many members.
    pub members: u64,
    /// How many bytes their files have, without holes.
    pub bytes: u64,
}

/// Reads a plain tar (see [`super::open`]) to its very end and refuses what is truncated, corrupt or empty, has `..` in
/// a member's name or a hard link's target, or holds a device. A missing end mark is no error, as with GNU tar; an
/// end within a member is.
///
/// Absolute names pass: they are taken relative to where the archive is unpacked.
pub fn verify(tar: impl Read) -> Result<ArchiveSummary, ArchiveError> {
    let mut reader = TarReader::new(tar);
    let mut summary = ArchiveSummary::default();
    while let Some(member) = reader.next()? {
        summary.members += 1;
        if let MemberKind::File { stored, .. } = member.kind {
            summary.bytes = summary.bytes.saturating_add(stored);
        }
        check(&member)?;
    }
    reader.drain()?;
    Ok(summary)
}

fn check(member: &Member) -> Result<(), ArchiveError> {
    let name = || String::from_utf8_lossy(&member.path).into_owned();
    if has_parent(&member.path) {
        return Err(ArchiveError::ParentInName { member: name() });
    }
    match &member.kind {
        MemberKind::HardLink(target) if has_parent(target) => {
            let target = String::from_utf8_lossy(target).into_owned();
            Err(ArchiveError::LinkLeaves { member: name(), target })
        }
        MemberKind::Character(_) => Err(ArchiveError::Device { member: name(), kind: "character" }),
        MemberKind::Block(_) => Err(ArchiveError::Device { member: name(), kind: "block" }),
        MemberKind::HardLink(_)
        | MemberKind::Symlink(_)
        | MemberKind::File { .. }
        | MemberKind::Directory
        | MemberKind::Fifo => Ok(()),
    }
}

fn has_parent(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| name == b"..")
}
