//! Writes squashfs 4.0 file systems with libsquashfs: data is compressed while it streams in, the
//! tree is kept here and written at the end.
//!
//! The same calls in the same order give the same bytes, whatever the number of threads. Reading a
//! squashfs is the kernel's job.

mod error;
mod finish;
mod handle;
mod output;
mod tree;
mod writer;

pub use error::{LibraryError, WriteError};
pub use tree::{Device, Metadata, Special, Xattr};
pub use writer::{FileWriter, MAX_COMPRESSION_LEVEL, Options, Summary, Writer};

/// What bindgen made of libsquashfs's headers.
#[allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, dead_code, unreachable_pub)]
#[allow(unsafe_code, unsafe_op_in_unsafe_fn, clippy::all, rustdoc::all)]
mod sys {
    include!(concat!(env!("OUT_DIR"), "/libsquashfs.rs"));
}
