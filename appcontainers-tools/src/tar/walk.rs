//! A tree from its top to its leaves, by open directories only: where a name led when it was found, the walk goes on,
//! whatever is renamed, replaced or linked meanwhile.
//!
//! Nothing is held of what is behind: memory grows with the depth of the tree alone, and with files that have names to
//! come.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    fs::{Dir, FileType, Stat},
    io::Errno,
};

use super::{
    entry::{self, Entry, Found, Mounted},
    holes,
    links::Links,
    output::{Data, Output},
    source::Source,
    xattrs,
};
use crate::{
    archive::{Extent, Kind, Member, printable},
    report::Notes,
};

/// Longest path in an archive: what the kernel takes (`PATH_MAX`, with its NUL), so that a reader can make it.
const LONGEST_PATH: usize = 4095;

/// Why there is no whole archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("{path}: {source}")]
    Source { path: String, source: Errno },
    #[error("cannot write the archive: {source}")]
    Output {
        #[from]
        source: io::Error,
    },
}

/// Walks a tree and writes it.
pub(super) struct Walk {
    output: Output,
    links: Links,
    /// What is not as it should be.
    problems: Notes,
    /// What is as it should be, and left out.
    remarks: Notes,
}

/// A directory that is being read.
struct Level {
    directory: Dir,
    /// How much of the path is this directory's.
    length: usize,
}

impl Walk {
    pub(super) fn new(output: Output) -> Self {
        Self { output, links: Links::default(), problems: Notes::default(), remarks: Notes::default() }
    }

    /// Writes all of it; whether everything is in the archive as it was.
    pub(super) fn write(mut self, source: Source, asked: &OsStr) -> Result<bool, WalkError> {
        let of_source = |source| WalkError::Source { path: printable(asked.as_bytes()), source };
        let mut path = source.top;
        let mut levels = Vec::new();
        match entry::open(source.directory.as_fd(), &source.name, Mounted::Included).map_err(of_source)? {
            Found::Entry(entry) if entry.kind() == FileType::Socket => return Err(of_source(Errno::OPNOTSUPP)),
            Found::Entry(entry) => levels.extend(self.add(entry, &path)?),
            Found::Nothing | Found::OtherFileSystem => return Err(of_source(Errno::NOENT)),
        }
        while let Some(level) = levels.last_mut() {
            path.truncate(level.length);
            match next_name(&mut level.directory) {
                Ok(Some(name)) => {
                    path.push(b'/');
                    path.extend(name.as_bytes());
                    let below = self.visit(level.directory.fd().map_err(io::Error::from)?, &name, &path)?;
                    levels.extend(below);
                }
                Ok(None) => drop(levels.pop()),
                Err(errno) => {
                    self.problem(&path, format_args!("cannot list it: {errno}"));
                    levels.pop();
                }
            }
        }
        self.output.finish()?;
        self.problems.finish();
        self.remarks.finish();
        Ok(self.problems.is_empty())
    }

    /// Writes what is at a name of a directory; the directory there, to be read.
    fn visit(&mut self, directory: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> Result<Option<Level>, WalkError> {
        if path.len() > LONGEST_PATH {
            self.problem(path, format_args!("its path is too long"));
            return Ok(None);
        }
        match entry::open(directory, name, Mounted::Files) {
            Ok(Found::Entry(entry)) => self.add(entry, path),
            // As if it had gone before this began.
            Ok(Found::Nothing) => Ok(None),
            Ok(Found::OtherFileSystem) => {
                self.remark(path, "what is mounted there is left out");
                Ok(None)
            }
            Err(errno) => {
                self.problem(path, format_args!("cannot open it: {errno}"));
                Ok(None)
            }
        }
    }

    /// Writes an entry; if it is a directory, it is the next to be read.
    fn add(&mut self, entry: Entry, path: &[u8]) -> Result<Option<Level>, WalkError> {
        let kind = match entry.kind() {
            FileType::Directory => return self.add_directory(entry, path).map(Some),
            FileType::Socket => {
                self.remark(path, "a socket is left out");
                return Ok(None);
            }
            kind => kind,
        };
        if let Some(to) = self.links.find(&entry.stat) {
            self.output.head(&member(path, Kind::HardLink { to }, &entry.stat))?;
            return Ok(None);
        }
        let kind = match kind {
            FileType::RegularFile => {
                self.add_file(&entry, path)?;
                return Ok(None);
            }
            FileType::Symlink => match rustix::fs::readlinkat(&entry.fd, "", Vec::new()) {
                Ok(to) => Kind::Symlink { to: to.into_bytes() },
                Err(errno) => {
                    self.problem(path, format_args!("cannot read the link: {errno}"));
                    return Ok(None);
                }
            },
            FileType::Fifo => Kind::Fifo,
            kind => Kind::Device {
                is_block: kind == FileType::BlockDevice,
                major: rustix::fs::major(entry.stat.st_rdev),
                minor: rustix::fs::minor(entry.stat.st_rdev),
            },
        };
        self.output.head(&member(path, kind, &entry.stat))?;
        self.links.add(&entry.stat, path);
        Ok(None)
    }

    fn add_file(&mut self, entry: &Entry, path: &[u8]) -> Result<(), WalkError> {
        let (file, size) = (entry.fd.as_fd(), entry.stat.st_size as u64);
        let has_holes = (entry.stat.st_blocks as u64).saturating_mul(512) < size;
        let extents = if has_holes { holes::extents(file, size) } else { vec![Extent { offset: 0, length: size }] };
        let xattrs = self.xattrs(file, path);
        let member = Member { xattrs, size, extents, ..member(path, Kind::File, &entry.stat) };
        self.output.head(&member)?;
        self.links.add(&entry.stat, path);
        match self.output.data(file, &member)? {
            Data::Whole => {}
            Data::Short => {
                self.problem(path, format_args!("it shrank while it was read; zeros are in place of the rest"))
            }
            Data::Unreadable(errno) => {
                self.problem(path, format_args!("cannot read it: {errno}; zeros are in place of the rest"));
            }
        }
        match rustix::fs::fstat(file) {
            Ok(after) if after.st_size > entry.stat.st_size => {
                self.problem(path, format_args!("it grew while it was read; what is new is left out"));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_directory(&mut self, entry: Entry, path: &[u8]) -> Result<Level, WalkError> {
        let xattrs = self.xattrs(entry.fd.as_fd(), path);
        let name = [path, b"/"].concat();
        self.output.head(&Member { xattrs, ..member(&name, Kind::Directory, &entry.stat) })?;
        let directory = Dir::new(entry.fd).map_err(io::Error::from)?;
        Ok(Level { directory, length: path.len() })
    }

    fn xattrs(&mut self, file: BorrowedFd<'_>, path: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        xattrs::read(file).unwrap_or_else(|errno| {
            self.problem(path, format_args!("its extended attributes are left out: {errno}"));
            Vec::new()
        })
    }

    fn problem(&mut self, path: &[u8], what: std::fmt::Arguments<'_>) {
        self.problems.add(format_args!("{}: {what}", printable(path)));
    }

    fn remark(&mut self, path: &[u8], what: &str) {
        self.remarks.add(format_args!("{}: {what}", printable(path)));
    }
}

/// The next name in a directory that is not the directory's own or its parent's.
fn next_name(directory: &mut Dir) -> Result<Option<OsString>, Errno> {
    while let Some(entry) = directory.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            return Ok(Some(OsString::from_vec(name.to_vec())));
        }
    }
    Ok(None)
}

/// A member without data and extended attributes.
fn member(path: &[u8], kind: Kind, stat: &Stat) -> Member {
    Member {
        path: path.to_vec(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.into(),
        gid: stat.st_gid.into(),
        owner: None,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        xattrs: Vec::new(),
        size: 0,
        extents: Vec::new(),
    }
}
