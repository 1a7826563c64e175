//! Members as files: each under a temporary name first, then renamed to its own.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Read,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    destination::{Destination, DestinationError},
    metadata::{Metadata, MetadataError},
    place::PlaceError,
};
use crate::archive::{Archive, ArchiveError, Kind, Member};

/// How much is written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why a member could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("{member}: device nodes are not extracted")]
    Device { member: String },
    #[error("{member}: there is a directory of that name, which is not replaced")]
    IsDirectory { member: String },
    #[error("{member}: it is a hard link to {to}: {source}")]
    Link { member: String, to: String, source: Errno },
    #[error("{member}: cannot {step}: {source}")]
    Step { member: String, step: &'static str, source: Errno },
}

/// Puts members where they belong.
pub(super) struct Writer {
    destination: Destination,
    metadata: Metadata,
    /// Directories of the archive: they get their modes and times when nothing is written into them any more.
    directories: BTreeMap<PathBuf, Member>,
    /// Each directory's members follow it at once, as in what `tar` writes: one that is left is not come back to.
    is_nested: bool,
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
    pub(super) fn new(destination: Destination, metadata: Metadata, is_nested: bool) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { destination, metadata, directories: BTreeMap::new(), is_nested, temporaries: 0, buffer }
    }

    /// Writes a member; its data is read from the archive.
    pub(super) fn write(&mut self, member: &Member, archive: &mut Archive<impl Read>) -> Result<(), WriteError> {
        let path = self.destination.path(member)?;
        if self.is_nested {
            self.finish_directories(Some(&path))?;
        }
        if path.as_os_str().is_empty() {
            // `./`, the archive's own directory: the one that is extracted into stays as it is.
            return Ok(());
        }
        match &member.kind {
            Kind::Directory => {
                self.destination.place.directory(&path, Mode::RWXU)?;
                self.directories.insert(path, member.clone());
                return Ok(());
            }
            Kind::Device { .. } => return Err(WriteError::Device { member: member.name() }),
            Kind::File | Kind::HardLink { .. } | Kind::Symlink { .. } | Kind::Fifo => {}
        }
        let (parent, name) = self.destination.place.parent(&path)?;
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
        self.destination.place.replaced(&path);
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        self.finish_directories(None)?;
        self.metadata.finish();
        Ok(())
    }

    /// Gives directories their owners, modes and times, the innermost first; not those that `next` lies in.
    fn finish_directories(&mut self, next: Option<&Path>) -> Result<(), WriteError> {
        while let Some(entry) = self.directories.last_entry() {
            if next.is_some_and(|next| next.starts_with(entry.key())) {
                break;
            }
            let (path, member) = entry.remove_entry();
            let directory = self.destination.place.open_existing(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.metadata.set(&directory, &member)?;
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
                Kind::File | Kind::Directory | Kind::Device { .. } => {
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
                Some(file) => self.fill(file, member, archive).and_then(|()| Ok(self.metadata.set(file, member)?)),
                None if matches!(member.kind, Kind::HardLink { .. }) => Ok(()),
                None => self.metadata.set_by_name(parent, &temporary, member).map_err(WriteError::from),
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
        let to = self.destination.link(to)?;
        // Not `parent`, which makes directories.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (above, name) = (to.parent().unwrap_or(Path::new("")), to.file_name().ok_or_else(|| failed(Errno::ISDIR))?);
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let directory = self.destination.place.open_existing(above, flags)?;
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
