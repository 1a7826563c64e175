//! Makes a squashfs of a tar, a directory or an overlay's upper directory.
//!
//! Nothing is unpacked on the host, and no name is followed: directories are walked by file descriptor, below
//! the one that was given.

mod delta;
mod directory;
mod error;
mod tar;
mod walk;
pub(crate) mod xattr;

pub use delta::IdShift;
pub(crate) use delta::fate_of_mark;
pub(crate) use directory::next_data;
pub use error::PackError;
pub(crate) use error::shown;
pub(crate) use walk::{FileId, Found, Walk};

use std::{fs::File, os::fd::AsFd};

use appcontainers_sys::squashfs::{Options, Writer};

use crate::{Progress, archive::PlainTar, progress::Step};

/// What was packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// Length of the squashfs.
    pub size_bytes: u64,
    /// Files, directories and all else; hard links count once.
    pub inodes: u32,
    /// What squashfs can't hold and was left out: POSIX ACLs and other attributes of the file system.
    pub left_out: Vec<LeftOut>,
}

/// An attribute that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file, relative to the root of what was packed.
    pub path: Vec<u8>,
    /// The attribute, as `system.posix_acl_access`.
    pub attribute: String,
}

/// Packs a plain tar (see [`crate::archive::open`]) with owners, modes, times, attributes, hard links, devices
/// and holes; `finishing` may change the tree before it is written. Members may be absolute; `..` is an error.
pub(crate) fn tar(
    archive: PlainTar,
    into: File,
    options: &Options,
    finishing: impl FnOnce(&mut Writer) -> Result<(), PackError>,
    progress: &dyn Progress,
) -> Result<Packed, PackError> {
    let step = Step::begin(progress, "packing the archive", None);
    pack(into, options, |writer| {
        let left_out = tar::fill(writer, &mut step.reading(archive))?;
        finishing(writer)?;
        Ok(left_out)
    })
}

/// Packs a directory as it is, without what is mounted in it.
pub(crate) fn directory(
    root: impl AsFd,
    into: File,
    options: &Options,
    finishing: impl FnOnce(&mut Writer) -> Result<(), PackError>,
    progress: &dyn Progress,
) -> Result<Packed, PackError> {
    let step = Step::begin(progress, "packing the directory", None);
    pack(into, options, |writer| {
        let left_out = directory::fill(writer, root.as_fd(), &directory::Plain, &step)?;
        finishing(writer)?;
        Ok(left_out)
    })
}

/// Packs an overlay's upper directory as a delta: whiteouts and opaque marks stay as overlayfs has them, ids
/// are shifted back, marks that name this host's inodes go. The caller keeps others from writing meanwhile.
pub fn delta(
    upper: impl AsFd,
    ids: IdShift,
    into: File,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Packed, PackError> {
    let step = Step::begin(progress, "packing what changed", None);
    pack(into, options, |writer| directory::fill(writer, upper.as_fd(), &delta::Delta { ids }, &step))
}

fn pack(
    into: File,
    options: &Options,
    fill: impl FnOnce(&mut Writer) -> Result<Vec<LeftOut>, PackError>,
) -> Result<Packed, PackError> {
    let mut writer = Writer::create(into, options)?;
    let left_out = fill(&mut writer)?;
    let (_, summary) = writer.finish()?;
    for LeftOut { path, attribute } in &left_out {
        tracing::warn!("squashfs cannot hold {attribute} of {:?}: left out", String::from_utf8_lossy(path));
    }
    Ok(Packed { size_bytes: summary.size_bytes, inodes: summary.inodes, left_out })
}
