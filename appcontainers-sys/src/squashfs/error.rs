//! Why a squashfs could not be written.

use std::{fmt, io, os::raw::c_int};

use super::sys;

/// Why a squashfs could not be written. Paths are shown as text; bytes that are no UTF-8 are replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file could not be written or read back.
    #[error("cannot write the squashfs: {doing}")]
    Io {
        /// The step that failed.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// libsquashfs refused.
    #[error("libsquashfs cannot {doing}")]
    Library {
        /// The step that failed.
        doing: &'static str,
        /// What it said.
        #[source]
        source: LibraryError,
    },
    /// A path has `..`, a NUL or no name in it.
    #[error("{path:?} is not a path in a squashfs: no '..', no NUL and not the root")]
    InvalidPath {
        /// The path.
        path: String,
    },
    /// A name is longer than 255 bytes, or a path or a link's target longer than 4095.
    #[error("{path:?} is too long: 255 bytes are a name's, 4095 a path's and a link target's limit")]
    TooLong {
        /// The path.
        path: String,
    },
    /// What is above the path is there and is no directory.
    #[error("{path:?} lies below something that is not a directory")]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// A hard link's target is not there.
    #[error("hard link {path:?} names {target:?}, which is not there")]
    NoLinkTarget {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// A hard link's target is a directory.
    #[error("hard link {path:?} names {target:?}, which is a directory")]
    LinkToDirectory {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// An extended attribute's name is not `user.`, `trusted.` or `security.`.
    #[error("squashfs cannot hold the extended attribute {name:?} of {path:?}")]
    Xattr {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
    },
    /// A device number does not fit.
    #[error("{path:?} is device {major}:{minor}: squashfs holds majors below 4096 and minors below 1048576")]
    DeviceNumber {
        /// The file.
        path: String,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// More than 65,535 different owners and groups.
    #[error("more than 65535 different owners and groups: squashfs holds no more")]
    TooManyIds,
    /// More nodes than a squashfs numbers.
    #[error("more than 4294967294 files: squashfs holds no more")]
    TooManyNodes,
    /// A file was begun and not finished, or an earlier call failed.
    #[error("the squashfs is incomplete: writing a file failed before")]
    Incomplete,
}

impl WriteError {
    pub(super) fn invalid(path: &[u8]) -> Self {
        Self::InvalidPath { path: shown(path) }
    }
}

/// `path` as text for a message.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// An error code of libsquashfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibraryError(pub(super) c_int);

impl std::error::Error for LibraryError {}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sys::SQFS_ERROR_ALLOC => f.write_str("out of memory"),
            sys::SQFS_ERROR_IO => f.write_str("input or output failed"),
            sys::SQFS_ERROR_COMPRESSOR => f.write_str("compression failed"),
            sys::SQFS_ERROR_OVERFLOW => f.write_str("a number is too big for squashfs"),
            sys::SQFS_ERROR_UNSUPPORTED => f.write_str("not supported by this libsquashfs"),
            sys::SQFS_ERROR_SEQUENCE => f.write_str("calls in a wrong order"),
            code => write!(f, "libsquashfs error {code}"),
        }
    }
}
