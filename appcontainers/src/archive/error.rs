//! Why an archive is refused. Which archive it is the caller says.

use std::io;

/// Why an archive is refused. Members are shown as text; bytes that are no UTF-8 are replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file could not be read, or its compression is broken.
    #[error("cannot read the archive{}", after(member))]
    Read {
        /// The last member that was read.
        member: Option<String>,
        /// What the system or the decompressor said.
        #[source]
        source: io::Error,
    },
    /// Not one member.
    #[error("the archive is empty")]
    Empty,
    /// No tar, compressed or not.
    #[error("it is no tar archive, plain or compressed with gzip, zstd or xz")]
    NotATar,
    /// A compression that is not supported.
    #[error("it is compressed with {format}, which is not supported: use gzip, zstd or xz")]
    Compression {
        /// The program that made it.
        format: &'static str,
    },
    /// The archive ends within a member or a header.
    #[error("the archive is truncated{}", after(member))]
    Truncated {
        /// The last member that was read.
        member: Option<String>,
    },
    /// A header that can't be.
    #[error("the archive is corrupt{}: {why}", after(member))]
    Corrupt {
        /// The last member that was read.
        member: Option<String>,
        /// What is wrong.
        why: &'static str,
    },
    /// A member has `..` in its name.
    #[error("member {member:?} has '..' in its name")]
    ParentInName {
        /// The member.
        member: String,
    },
    /// A hard link's target has `..` in it.
    #[error("member {member:?} is a hard link to {target:?}, which has '..' in it")]
    LinkLeaves {
        /// The member.
        member: String,
        /// The target.
        target: String,
    },
    /// A device node.
    #[error("member {member:?} is a {kind} device, which an archive must not have")]
    Device {
        /// The member.
        member: String,
        /// `block` or `character`.
        kind: &'static str,
    },
    /// A type of member that is not known.
    #[error(
        "member {member:?} is of type {member_type:?}, which is not supported: make the archive with GNU tar or bsdtar"
    )]
    UnsupportedMember {
        /// The member.
        member: String,
        /// Its type, as the header has it.
        member_type: char,
    },
}

fn after(member: &Option<String>) -> String {
    member.as_ref().map_or_else(String::new, |member| format!(" at or after member {member:?}"))
}
