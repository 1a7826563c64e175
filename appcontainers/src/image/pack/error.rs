//! Why something could not be packed.

use std::io;

use appcontainers_sys::squashfs::WriteError;

use crate::archive::ArchiveError;

/// Why something could not be packed. Paths are shown as text; bytes that are no UTF-8 are replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The squashfs could not be written, or can't hold what is there.
    #[error("cannot pack")]
    Write(#[from] WriteError),
    /// The archive is refused.
    #[error("cannot pack the archive")]
    Archive(#[from] ArchiveError),
    /// A file could not be read.
    #[error("cannot {doing} {path:?}")]
    Read {
        /// What was being done.
        doing: &'static str,
        /// The file, relative to the root of what is packed.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file changed its type or vanished while it was read.
    #[error("{path:?} changed while it was being packed")]
    Changed {
        /// The file.
        path: String,
    },
    /// A file belongs to someone outside of the container's ids.
    #[error("{path:?} belongs to {kind} {id}, which is not one of the container's {count} from {first}")]
    ForeignId {
        /// The file.
        path: String,
        /// `user` or `group`.
        kind: &'static str,
        /// The id, as the host sees it.
        id: u32,
        /// The container's first id.
        first: u32,
        /// How many it has.
        count: u32,
    },
    /// An overlay was mounted with options that make its upper useless elsewhere.
    #[error("{path:?} has the attribute {attribute}: the overlay was not mounted with redirect_dir=off,metacopy=off")]
    Redirected {
        /// The file.
        path: String,
        /// The attribute.
        attribute: String,
    },
    /// A file capability that is none.
    #[error("{path:?} has a file capability that is not of version 1, 2 or 3")]
    Capability {
        /// The file.
        path: String,
    },
}

impl PackError {
    pub(crate) fn read(doing: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Read { doing, path: shown(path), source: source.into() }
    }
}

/// `path` as text for a message; the root is `/`.
pub(crate) fn shown(path: &[u8]) -> String {
    match path {
        [] => "/".to_owned(),
        path => String::from_utf8_lossy(path).into_owned(),
    }
}
