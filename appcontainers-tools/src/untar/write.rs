//! Members as files: each under a temporary name first, then renamed to its own.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{
    archive::{Archive, ArchiveError, Kind, Member},
    place::{Place, PlaceError, relative},
};
use crate::report;

/// How much is written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why a member could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("{member}: device nodes are not extracted")]
    Device { member: String },
    #[error("{member}: owner {uid}:{gid} is outside of the container's ids")]
    Owner { member: String, uid: u64, gid: u64 },
    #[error("{member}: there is a directory of that name, which is not replaced")]
    IsDirectory { member: String },
    #[error("{member}: it is a hard link to {to}: {source}")]
    Link { member: String, to: String, source: Errno },
    #[error("{member}: cannot {step}: {source}")]
    Step { member: String, step: &'static str, source: Errno },
}

/// Puts members below a place.
pub(super) struct Writer {
    place: Place,
    /// Directories of the archive: they get their modes and times when nothing is written into them any more.
    directories: BTreeMap<PathBuf, Member>,
    temporaries: u64,
    buffer: Vec<u8>,
}

/// Names a step that failed.
trait At<T> {
    fn at(self, member: &Member, step: &'static str) -> Result<T, WriteError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, member: &Member, step: &'static str) -> Result<T, WriteError> {
        self.map_err(|source| WriteError::Step { member: member.name(), step, source })
    }
}

impl Writer {
    pub(super) fn new(place: Place) -> Self {
        Self { place, directories: BTreeMap::new(), temporaries: 0, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Writes a member; its data is read from the archive.
    pub(super) fn write(&mut self, member: &Member, archive: &mut Archive<impl Read>) -> Result<(), WriteError> {
        let path = relative(&member.path)?;
        if path.as_os_str().is_empty() {
            // `./`, the archive's own directory: the one that is extracted into stays as it is.
            return Ok(());
        }
        match &member.kind {
            Kind::Directory => {
                self.place.directory(&path, Mode::RWXU)?;
                self.directories.insert(path, member.clone());
                return Ok(());
            }
            Kind::Device => return Err(WriteError::Device { member: member.name() }),
            Kind::File | Kind::HardLink { .. } | Kind::Symlink { .. } | Kind::Fifo => {}
        }
        let (parent, name) = self.place.parent(&path)?;
        let temporary = self.create(member, &parent, archive)?;
        if let Err(source) = rustix::fs::renameat(&parent, &temporary, &parent, name) {
            let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
            return Err(match source {
                Errno::ISDIR => WriteError::IsDirectory { member: member.name() },
                source => WriteError::Step { member: member.name(), step: "take its place", source },
            });
        }
        if matches!(member.kind, Kind::HardLink { .. }) {
            // rename(2) does nothing where both names are the same file already.
            let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
        }
        self.place.replaced(&path);
        Ok(())
    }

    /// Gives directories their owners, modes and times, the innermost first.
    pub(super) fn finish(self) -> Result<(), WriteError> {
        for (path, member) in self.directories.iter().rev() {
            let directory = self.place.open_existing(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            set_metadata(&directory, member)?;
        }
        Ok(())
    }

    /// Makes the member under a temporary name; nothing of it is left if that fails.
    fn create(
        &mut self,
        member: &Member,
        parent: &OwnedFd,
        archive: &mut Archive<impl Read>,
    ) -> Result<String, WriteError> {
        loop {
            self.temporaries += 1;
            let temporary = format!(".appc-untar.{}.{}", process::id(), self.temporaries);
            let made = match &member.kind {
                Kind::Symlink { to } => rustix::fs::symlinkat(OsStr::from_bytes(to), parent, &temporary).map(|()| None),
                Kind::HardLink { to } => self.link(member, to, parent, &temporary)?.map(|()| None),
                Kind::Fifo => rustix::fs::mkfifoat(parent, &temporary, Mode::RUSR | Mode::WUSR).map(|()| None),
                Kind::File | Kind::Directory | Kind::Device => {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    rustix::fs::openat(parent, &temporary, flags, Mode::RUSR | Mode::WUSR).map(Some)
                }
            };
            let file = match made {
                Ok(file) => file,
                // Left by an earlier process of the same number that was killed.
                Err(Errno::EXIST) => continue,
                Err(source) => return Err(WriteError::Step { member: member.name(), step: "make it", source }),
            };
            let filled = match &file {
                Some(file) => self.fill(file, member, archive).and_then(|()| set_metadata(file, member)),
                None if matches!(member.kind, Kind::HardLink { .. }) => Ok(()),
                None => set_metadata_by_name(parent, &temporary, member),
            };
            if let Err(error) = filled {
                let _ = rustix::fs::unlinkat(parent, &temporary, AtFlags::empty());
                return Err(error);
            }
            return Ok(temporary);
        }
    }

    /// Links to an earlier member, or to a file that was there.
    fn link(
        &mut self,
        member: &Member,
        to: &[u8],
        parent: &OwnedFd,
        temporary: &str,
    ) -> Result<Result<(), Errno>, WriteError> {
        let failed = |source| WriteError::Link { member: member.name(), to: to.escape_ascii().to_string(), source };
        let to = relative(to)?;
        // Not `parent`, which makes directories.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (above, name) = (to.parent().unwrap_or(Path::new("")), to.file_name().ok_or_else(|| failed(Errno::ISDIR))?);
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let directory = self.place.open_existing(above, flags)?;
        match rustix::fs::linkat(&directory, name, parent, temporary, AtFlags::empty()) {
            Err(Errno::EXIST) => Ok(Err(Errno::EXIST)),
            linked => linked.map(Ok).map_err(failed),
        }
    }

    /// Writes a file's data, holes left out.
    fn fill(&mut self, file: &OwnedFd, member: &Member, archive: &mut Archive<impl Read>) -> Result<(), WriteError> {
        let mut written_to = 0;
        for extent in &member.extents {
            let (mut at, end) = (extent.offset, extent.offset + extent.length);
            while at < end {
                let wanted = (end - at).min(self.buffer.len() as u64) as usize;
                let count = archive.read(&mut self.buffer[..wanted])?;
                let mut bytes = &self.buffer[..count];
                if bytes.is_empty() {
                    return Err(WriteError::Step {
                        member: member.name(),
                        step: "read its data",
                        source: Errno::INVAL,
                    });
                }
                while !bytes.is_empty() {
                    let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, at));
                    let written = written.at(member, "write it")?;
                    bytes = &bytes[written..];
                    at += written as u64;
                    written_to = at;
                }
            }
        }
        // A hole at the end is written as an extent without data, or not at all.
        if written_to < member.size {
            rustix::fs::ftruncate(file, member.size).at(member, "size it")?;
        }
        Ok(())
    }
}

/// Owner first, because that takes set-user-id bits and capabilities away; the time last.
fn set_metadata(file: &OwnedFd, member: &Member) -> Result<(), WriteError> {
    let (uid, gid) = owner(member)?;
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|source| owner_error(member, source))?;
    for (name, value) in &member.xattrs {
        let set = rustix::fs::fsetxattr(file.as_fd(), name.as_slice(), value, XattrFlags::empty());
        match set {
            Ok(()) => {}
            Err(source @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => {
                return Err(WriteError::Step { member: member.name(), step: "set an extended attribute", source });
            }
            // What a container may not set, such as security.capability, must not stop the rest of the archive.
            Err(source) => warn(member, format_args!("goes without {}: {source}", name.escape_ascii())),
        }
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(member.mode)).at(member, "set its mode")?;
    rustix::fs::futimens(file, &times(member)).at(member, "set its time")
}

/// The same for what can't be opened.
fn set_metadata_by_name(parent: &OwnedFd, name: &str, member: &Member) -> Result<(), WriteError> {
    let (uid, gid) = owner(member)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), flags).map_err(|source| owner_error(member, source))?;
    if member.kind == Kind::Fifo {
        let mode = Mode::from_raw_mode(member.mode);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).at(member, "set its mode")?;
    }
    rustix::fs::utimensat(parent, name, &times(member), flags).at(member, "set its time")
}

fn owner(member: &Member) -> Result<(Uid, Gid), WriteError> {
    match (u32::try_from(member.uid), u32::try_from(member.gid)) {
        // The largest number says "unchanged" to chown(2).
        (Ok(uid), Ok(gid)) if uid != u32::MAX && gid != u32::MAX => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(owner_error(member, Errno::INVAL)),
    }
}

fn owner_error(member: &Member, source: Errno) -> WriteError {
    let (member, uid, gid) = (member.name(), member.uid, member.gid);
    match source {
        Errno::INVAL | Errno::OVERFLOW => WriteError::Owner { member, uid, gid },
        source => WriteError::Step { member, step: "set its owner", source },
    }
}

fn times(member: &Member) -> Timestamps {
    let time = Timespec { tv_sec: member.mtime.0, tv_nsec: member.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn warn(member: &Member, what: fmt::Arguments<'_>) {
    report::error(format_args!("{}: {what}", member.name()));
}
