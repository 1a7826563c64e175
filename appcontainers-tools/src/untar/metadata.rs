//! What a file has beside its data: owner, mode, time, extended attributes.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use crate::{
    archive::{Kind, Member},
    report::Notes,
};

/// Set-user-ID and set-group-ID.
const RIGHTS_BITS: u32 = 0o6000;

/// Why a file can't be as the archive says.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetadataError {
    #[error("{member}: owner {uid}:{gid} is outside of the container's ids")]
    Owner { member: String, uid: u64, gid: u64 },
    #[error("{member}: cannot {step}: {source}")]
    Step { member: String, step: &'static str, source: Errno },
}

/// Gives files what the archive says of them.
pub(super) struct Metadata {
    /// Whether what grants rights is kept: set-user-ID, set-group-ID, file capabilities and the like.
    keep_privileges: bool,
    /// How many files went without it, and the first.
    dropped: Option<(u64, String)>,
    notes: Notes,
}

/// Names a step that failed.
trait At<T> {
    fn at(self, member: &Member, step: &'static str) -> Result<T, MetadataError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, member: &Member, step: &'static str) -> Result<T, MetadataError> {
        self.map_err(|source| MetadataError::Step { member: member.name(), step, source })
    }
}

impl Metadata {
    pub(super) fn new(keep_privileges: bool) -> Self {
        Self { keep_privileges, dropped: None, notes: Notes::default() }
    }

    /// Owner first, because that takes set-user-id bits and capabilities away; the time last.
    pub(super) fn set(&mut self, file: &OwnedFd, member: &Member) -> Result<(), MetadataError> {
        let (uid, gid) = owner(member)?;
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|source| owner_error(member, source))?;
        let mut is_dropped = false;
        for (name, value) in &member.xattrs {
            if !self.keep_privileges && (name.starts_with(b"security.") || name.starts_with(b"trusted.")) {
                is_dropped = true;
                continue;
            }
            let set = rustix::fs::fsetxattr(file.as_fd(), name.as_slice(), value, XattrFlags::empty());
            match set {
                Ok(()) => {}
                Err(source @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => {
                    let step = "set an extended attribute";
                    return Err(MetadataError::Step { member: member.name(), step, source });
                }
                // What a container may not set, such as security.capability, must not stop the rest of the archive.
                Err(source) => {
                    let name = name.escape_ascii();
                    self.notes.add(format_args!("{}: goes without {name}: {source}", member.name()));
                }
            }
        }
        let mut mode = member.mode;
        // On a directory they grant nothing.
        if !self.keep_privileges && member.kind == Kind::File && mode & RIGHTS_BITS != 0 {
            mode &= !RIGHTS_BITS;
            is_dropped = true;
        }
        if is_dropped {
            self.dropped.get_or_insert_with(|| (0, member.name())).0 += 1;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).at(member, "set its mode")?;
        rustix::fs::futimens(file, &times(member)).at(member, "set its time")
    }

    /// The same for what can't be opened.
    pub(super) fn set_by_name(&self, parent: &OwnedFd, name: &str, member: &Member) -> Result<(), MetadataError> {
        let (uid, gid) = owner(member)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), flags).map_err(|source| owner_error(member, source))?;
        if member.kind == Kind::Fifo {
            let mode = Mode::from_raw_mode(member.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).at(member, "set its mode")?;
        }
        rustix::fs::utimensat(parent, name, &times(member), flags).at(member, "set its time")
    }

    /// Says what was left out.
    pub(super) fn finish(mut self) {
        if let Some((count, first)) = self.dropped.take() {
            self.notes.add(format_args!(
                "{first}{}: set-user-ID and set-group-ID bits and attributes that grant rights were not kept",
                if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
            ));
        }
        self.notes.finish();
    }
}

fn owner(member: &Member) -> Result<(Uid, Gid), MetadataError> {
    match (u32::try_from(member.uid), u32::try_from(member.gid)) {
        // The largest number says "unchanged" to chown(2).
        (Ok(uid), Ok(gid)) if uid != u32::MAX && gid != u32::MAX => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(owner_error(member, Errno::INVAL)),
    }
}

fn owner_error(member: &Member, source: Errno) -> MetadataError {
    let (member, uid, gid) = (member.name(), member.uid, member.gid);
    match source {
        Errno::INVAL | Errno::OVERFLOW => MetadataError::Owner { member, uid, gid },
        source => MetadataError::Step { member, step: "set its owner", source },
    }
}

fn times(member: &Member) -> Timestamps {
    let time = Timespec { tv_sec: member.mtime.0, tv_nsec: member.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}
