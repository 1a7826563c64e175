//! Tar archives as streams: what a member is, how it is read from an archive and how it is written to one. Touches no
//! file system.

mod header;
mod pax;
mod read;
mod sparse;
mod write;

pub(crate) use self::{
    pax::Xattr,
    read::{Archive, ArchiveError},
    sparse::Extent,
    write::{END, head, padding},
};

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    HardLink {
        to: Vec<u8>,
    },
    Symlink {
        to: Vec<u8>,
    },
    Fifo,
    /// Character or block.
    Device {
        is_block: bool,
        major: u32,
        minor: u32,
    },
}

/// One member, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As it stands in the archive.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Whose it is to be instead, by name: `USER[:GROUP]`.
    pub(crate) owner: Option<Vec<u8>>,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<Xattr>,
    /// The file's size, holes included.
    pub(crate) size: u64,
    /// Where the data goes; one extent if there are no holes.
    pub(crate) extents: Vec<Extent>,
}

impl Member {
    /// The name, fit for a message.
    pub(crate) fn name(&self) -> String {
        printable(&self.path)
    }
}

/// A path, fit for a message.
pub(crate) fn printable(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}
